"""Delays before retries: exponential, capped, with full jitter.

Full jitter (a uniform draw between 0 and the exponential ceiling) spreads the reconnects of many clients to a server
that has recovered: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random


class Backoff:
    """A generator of random delays whose upper bound doubles with each attempt until ``reset``."""

    def __init__(self, min_seconds: float, max_seconds: float, rng: random.Random | None = None) -> None:
        self.attempts = 0
        self.max_seconds = max_seconds
        self._min_seconds = min_seconds
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, protects no secret

    def next_seconds(self) -> float:
        """Return the delay before the next attempt, in seconds."""
        # The exponent is bounded: 2.0 ** 1024 overflows, and the cap is reached long before.
        ceiling = min(self.max_seconds, self._min_seconds * 2.0 ** min(self.attempts, 64))
        self.attempts += 1
        return self._rng.uniform(0, ceiling)

    def reset(self) -> None:
        """Start again from the shortest delay."""
        self.attempts = 0
