"""Delays with full jitter."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.backoff import MAX_RETRY_AFTER_SECONDS, Backoff, retry_after_seconds


class Highest(random.Random):
    """A random generator that always returns the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        """Return the upper bound."""
        return b


def test_the_ceiling_doubles_up_to_its_cap() -> None:
    """The ceiling of each delay is twice the one before, but never above the cap."""
    backoff = Backoff(0.5, 30.0, Highest())
    assert [backoff.next_seconds() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    backoff.reset()
    assert backoff.next_seconds() == 0.5


@given(st.integers(), st.integers(1, 40))
def test_the_jitter_is_full(seed: int, attempts: int) -> None:
    """A delay is between 0 and its ceiling."""
    backoff = Backoff(0.5, 30.0, random.Random(seed))
    for attempt in range(attempts):
        assert 0 <= backoff.next_seconds() <= min(30.0, 0.5 * 2**attempt)


def test_delays_are_spread_over_the_whole_range() -> None:
    """Clients that fail at the same time do not retry at the same time."""
    draws = []
    for seed in range(500):
        backoff = Backoff(30.0, 30.0, random.Random(seed))
        draws.append(backoff.next_seconds())
    assert min(draws) < 1
    assert max(draws) > 29
    assert sum(draws) / len(draws) == pytest.approx(15, abs=1.5)


def test_the_number_of_attempts_is_unlimited() -> None:
    """A delay can be computed after any number of failed attempts."""
    backoff = Backoff(0.5, 30.0, Highest())
    assert {backoff.next_seconds() for _ in range(5000)} == {0.5, 1, 2, 4, 8, 16, 30}


def test_delays_of_two_backoffs_differ() -> None:
    """By default, each back-off has its own random generator."""
    one, other = Backoff(30.0, 30.0), Backoff(30.0, 30.0)
    assert [one.next_seconds() for _ in range(5)] != [other.next_seconds() for _ in range(5)]


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        ("7", None, 7.0),
        (" 7 ", DATE, 7.0),
        ("9" * 500, None, MAX_RETRY_AFTER_SECONDS),
        ("Wed, 21 Oct 2015 07:28:30 GMT", DATE, 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", DATE, 0.0),
        ("Thu, 21 Oct 2055 07:28:00 GMT", DATE, MAX_RETRY_AFTER_SECONDS),
        ("Wed, 21 Oct 2015 07:28:30 GMT", None, None),
        ("soon", DATE, None),
        ("-7", DATE, None),
        ("\u0663", DATE, None),
        ("", DATE, None),
        (None, DATE, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_of_the_servers_clock(
    header: str | None, date: str | None, seconds: float | None
) -> None:
    """It is at most a day; an invalid header is ignored."""
    assert retry_after_seconds(header, date) == seconds
