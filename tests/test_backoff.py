"""Delays with full jitter."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.backoff import Backoff


class Highest(random.Random):
    """Draw the upper end of each range."""

    def uniform(self, a: float, b: float) -> float:
        """Return the ceiling."""
        return b


def test_the_ceiling_doubles_up_to_its_cap() -> None:
    """Each attempt may wait twice as long as the one before, and none longer than the cap."""
    backoff = Backoff(0.5, 30.0, Highest())
    assert [backoff.next_seconds() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    backoff.reset()
    assert backoff.next_seconds() == 0.5


@given(st.integers(), st.integers(1, 40))
def test_the_jitter_is_full(seed: int, attempts: int) -> None:
    """A delay lies anywhere between nothing and its ceiling."""
    backoff = Backoff(0.5, 30.0, random.Random(seed))
    for attempt in range(attempts):
        assert 0 <= backoff.next_seconds() <= min(30.0, 0.5 * 2**attempt)


def test_the_draws_use_all_of_the_range() -> None:
    """Clients that fail together do not come back together."""
    draws = []
    for seed in range(500):
        backoff = Backoff(30.0, 30.0, random.Random(seed))
        draws.append(backoff.next_seconds())
    assert min(draws) < 1
    assert max(draws) > 29
    assert sum(draws) / len(draws) == pytest.approx(15, abs=1.5)


def test_it_goes_on_for_ever() -> None:
    """However many attempts fail, the next delay can be computed."""
    backoff = Backoff(0.5, 30.0, Highest())
    assert {backoff.next_seconds() for _ in range(5000)} == {0.5, 1, 2, 4, 8, 16, 30}


def test_without_a_generator_each_draws_its_own() -> None:
    """Two backoffs do not wait in step."""
    one, other = Backoff(30.0, 30.0), Backoff(30.0, 30.0)
    assert [one.next_seconds() for _ in range(5)] != [other.next_seconds() for _ in range(5)]
