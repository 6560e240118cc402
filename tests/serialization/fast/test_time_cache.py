"""Times written with the minute remembered are those of ``epoch_ms``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.serialization.fast.binary import long_bytes
from bridge.serialization.fast.time_cache import time_writer
from bridge.serialization.timestamps import epoch_ms

#: Serves all examples, so that later ones find the minutes of earlier ones.
WRITE = time_writer()
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


def slow(value: object) -> bytes | None:
    try:
        return b"\x02" + long_bytes(epoch_ms(value))
    except ValueError:
        return None


def fast(value: object) -> bytes | None:
    try:
        return WRITE(value)
    except ValueError:
        return None


@given(st.lists(TEXTS, max_size=8))
def test_every_notation(texts: list[str]) -> None:
    """Notations the feed does not use are read, or refused, as before."""
    for text in texts:
        assert fast(text) == slow(text)


@given(st.datetimes(), st.sampled_from(["Z", "-04:00", "+05:30", "+23:59"]))
def test_every_time(time: object, offset: str) -> None:
    """Any date and time in the feed's notation, in and out of range, is the time it says."""
    text = f"{str(time)[:10]}T{str(time)[11:19]}.042{offset}"
    assert fast(text) == slow(text)


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
    """Numbers are told by their magnitude, and what is neither number nor text is refused."""
    assert fast(value) == slow(value)


def test_null_is_a_branch_of_its_own() -> None:
    """A time that is not there is null."""
    assert WRITE(None) == b"\x00"


def test_more_minutes_than_are_remembered() -> None:
    """A feed that jumps through time is read all the same."""
    for minute in range(1000):
        text = f"2025-06-{minute // 60 + 1:02d}T10:{minute % 60:02d}:01.500Z"
        assert fast(text) == slow(text)
