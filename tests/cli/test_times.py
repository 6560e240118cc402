"""Points of time on the command line."""

from __future__ import annotations

import pytest
import typer

from bridge.cli.times import time_range_us, utc_text
from bridge.clock import wall_us

FIRST_US = 1_769_887_800_000_000  # 2026-01-31T19:30:00Z


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T19:30:00Z",
        "2026-01-31T14:30:00-05:00",
        "2026-01-31 20:30+01:00",
        "20260131T193000Z",
        "2026-01-31T19:30",  # without an offset: UTC
        "1769887800",
        "1769887800.000",
        "1769887800000",
        "1769887800000000",
    ],
)
def test_a_point_of_time(text: str) -> None:
    """ISO-8601 with any offset, and numbers of seconds, milliseconds or microseconds since 1970 are the same time."""
    assert time_range_us(text, None) == (FIRST_US, None)
    assert time_range_us(None, text) == (None, FIRST_US)


def test_a_date_is_its_begin() -> None:
    """A date in digits is no number of seconds."""
    assert time_range_us("20260131", "2026-02-01") == (1_769_817_600_000_000, 1_769_904_000_000_000)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("10m ago", 600), ("1.5h", 5400), ("2d", 172_800)]
)
def test_a_time_ago(text: str, seconds: int) -> None:
    """A duration is that long before now."""
    before_us = wall_us()
    since_us, _ = time_range_us(text, None)
    assert since_us is not None
    assert before_us <= since_us + seconds * 1_000_000 <= wall_us()


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "10", "10w", "-5m", "m", "2026-13-01", "25:00", "1e99", "9" * 40, "nan", "1769-07-01", "99999d"],
)
def test_what_is_no_time(text: str) -> None:
    """Anything else is an error of usage that shows the forms, or says that it is before 1970."""
    with pytest.raises(typer.BadParameter, match=r"is not a time like 2026-|is before 1970"):
        time_range_us(text, None)


def test_an_empty_range() -> None:
    """Nothing is between a time and an earlier one."""
    with pytest.raises(typer.BadParameter, match="--until 1769887800 is not after --since 1769887800"):
        time_range_us("1769887800", "1769887800")


def test_a_time_as_text() -> None:
    """It is shown in UTC, to the millisecond."""
    assert utc_text(FIRST_US + 1_999) == "2026-01-31T19:30:00.001Z"
