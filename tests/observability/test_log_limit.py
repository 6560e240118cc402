"""A log line is never longer than the limit, is valid JSON, and says what was left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.observability.log_limit import MAX_LINE_BYTES, limited, render

ALWAYS = {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "severity": "INFO", "logger": "l", "event": "e"}


class Long(str):
    """A text whose representation is short, in reports of failures."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Long({self[:5]!r}…{len(self)})"


class Wide(list[object]):
    """A list whose representation is short."""

    def __repr__(self) -> str:
        return f"Wide({self[0]!r}…{len(self)})" if self else "Wide()"


#: Values of every JSON type, some of them long, wide or deep.
LONG = st.builds(
    lambda text, times: Long(text * times), st.text(min_size=1, max_size=5), st.sampled_from([1, 100, 3000])
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | LONG,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: Wide(items * 12))
        | st.dictionaries(LONG, inner, max_size=4)
        | inner.map(lambda value: {"a": [value]})
    ),
    max_leaves=4,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=9), VALUES, max_size=6), st.dictionaries(st.sampled_from([*ALWAYS]), LONG))
def test_a_line_is_short_valid_json_with_its_event(fields: dict[str, object], always: dict[str, str]) -> None:
    """Whatever the fields are, time, level, logger and the start of the event are there."""
    event: dict[str, Any] = {**fields, **ALWAYS, **always}
    line = render(event)
    found = json.loads(line)
    assert len(line.encode()) < MAX_LINE_BYTES
    assert found == json.loads(json.dumps(limited(event)))
    if len(json.dumps(event)) < MAX_LINE_BYTES:
        assert found == json.loads(json.dumps(event))
    else:
        assert found["left_out"]
        for key in ALWAYS:
            assert found[key][:40] == event[key][:40]


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (list(range(100_000)), "x: 99800 items"),
        ({f"key{number}": number for number in range(10_000)}, "x: 9800 items"),
        ("y" * 9000, "x: 7000 characters"),
        ([{"text": "y" * 9000}], "x.0.text: 7000 characters"),
        pytest.param(1 << 40_000, "x: 8003 characters", id="integer"),
    ],
)
def test_what_is_left_out_is_counted(value: object, note: str) -> None:
    """The place and the number of items or characters are in ``left_out``; as much as fits is kept."""
    assert json.loads(render({**ALWAYS, "x": value}))["left_out"] == [note]


def test_notes_are_few() -> None:
    """A thousand long texts do not fill the line with notes."""
    found = json.loads(render({**ALWAYS, "x": ["y" * 9000] * 1000}))
    assert 0 < len(found["left_out"]) <= 10
    assert found["x"][0].startswith("yyy")


def test_nothing_that_fits_is_changed() -> None:
    """An event of usual length is the same, and has no note."""
    event: dict[str, Any] = {**ALWAYS, "list": [1, {"a": None}], "text": "ü" * 1000}
    assert json.loads(render(event)) == event
