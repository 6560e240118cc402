"""Chains are resolved every morning of the exchange, in summer and in winter."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from bridge.aries.chains.times import exchange_date, next_resolution


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("after", "due"),
    [
        ("2026-11-27T13:29", "2026-11-27T13:30"),  # winter: 5 hours behind UTC
        ("2026-11-27T13:30", "2026-11-28T13:30"),
        ("2026-07-01T12:29", "2026-07-01T12:30"),  # summer: 4 hours
        ("2026-03-07T14:00", "2026-03-08T12:30"),  # the clocks go forward in between
        ("2026-10-31T14:00", "2026-11-01T13:30"),  # and back
        ("2026-12-31T23:00", "2027-01-01T13:30"),
    ],
)
def test_daily(after: str, due: str) -> None:
    """The next time is an hour before the open, also across a change of the clocks."""
    assert next_resolution(at(after)) == at(due)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-11-28T04:59", date(2026, 11, 27)),
        ("2026-11-28T05:00", date(2026, 11, 28)),
        ("2026-07-02T03:59", date(2026, 7, 1)),
        ("2026-07-02T04:00", date(2026, 7, 2)),
    ],
)
def test_date(now: str, day: date) -> None:
    """The date is that of the exchange."""
    assert exchange_date(at(now)) == day
