"""Delays with full jitter."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.backoff import Backoff


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
