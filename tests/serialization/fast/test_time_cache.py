"""Times encoded with cached minutes are those of ``epoch_ms``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.serialization.fast.binary import encode_long
from bridge.serialization.fast.time_cache import time_encoder
from bridge.serialization.timestamps import epoch_ms

#: Shared by all examples, so that later ones find the minutes of earlier ones in the cache.
ENCODE = time_encoder()
PARTS = [
    st.sampled_from(
        ["2025-06-25", "20250625", "2025-W26-3", "1970-01-01", "2262-04-11", "2262-04-12", "2025-02-30", "25"]
    ),
    st.sampled_from(["T", " ", "x", ""]),
    st.sampled_from(["00:00:", "04:12:", "23:47:", "24:00:", "0412", "04:12.", "04:", "23:59:", ""]),
    st.sampled_from(["00", "14", "16", "59", "60", "9", "\u0661\u0662", ""]),
    st.sampled_from([".", ",", ":", ""]),
    st.sampled_from(["327", "000", "999", "32", "327123", "854", "855", "+03", ""]),
    st.sampled_from(["-04:00", "+05:30", "Z", "", "+00:00:30", "+0530", "123Z", "z", " Z", "\n"]),
]
TEXTS = st.builds(lambda *parts: "".join(parts), *PARTS)


def reference(value: object) -> bytes | None:
    try:
        return b"\x02" + encode_long(epoch_ms(value))
    except ValueError:
        return None


def encoded(value: object) -> bytes | None:
    try:
        return ENCODE(value)
    except ValueError:
        return None


@given(st.lists(TEXTS, max_size=8))
def test_any_notation(texts: list[str]) -> None:
    """Notations that the feed does not use are accepted or rejected as by ``epoch_ms``."""
    for text in texts:
        assert encoded(text) == reference(text)


@given(st.datetimes(), st.sampled_from(["Z", "-04:00", "+05:30", "+23:59"]))
def test_any_time(time: object, offset: str) -> None:
    """Any date and time in the feed's notation, in and out of range, is encoded as by ``epoch_ms``."""
    text = f"{str(time)[:10]}T{str(time)[11:19]}.042{offset}"
    assert encoded(text) == reference(text)


@pytest.mark.parametrize(
    "value",
    [
        0,
        1,
        10**10 - 1,
        10**10,
        1750839134327,
        9 * 10**12,
        2**63 // 10**6,
        10**13 - 1,
        10**16,
        10**19,
        -1,
        True,
        1.0,
        [],
        {},
    ],
)
def test_other_types(value: object) -> None:
    """Numbers and other types are accepted or rejected as by ``epoch_ms``."""
    assert encoded(value) == reference(value)


def test_null() -> None:
    """A missing time is encoded as null."""
    assert ENCODE(None) == b"\x00"


def test_more_minutes_than_are_cached() -> None:
    """Times of more minutes than the cache holds are encoded as by ``epoch_ms``."""
    for minute in range(1000):
        text = f"2025-06-{minute // 60 + 1:02d}T10:{minute % 60:02d}:01.500Z"
        assert encoded(text) == reference(text)
