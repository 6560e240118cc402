"""Delays before retries: exponential, capped, with full jitter, or as long as the server asks to wait.

Full jitter (a uniform draw between 0 and the exponential ceiling) spreads the reconnects of many clients to a server
that has recovered: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from email.utils import parsedate_to_datetime

#: A server that asks for more has a wrong header rather than a longer outage.
MAX_RETRY_AFTER_SECONDS = 86_400.0


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


def retry_after_seconds(header: str | None, date: str | None) -> float | None:
    """Return how long an HTTP response asks to wait by its ``Retry-After`` (RFC 9110 section 10.2.3), if it does.

    A date is compared with the ``date`` of the response's own header, as our clock may differ from the server's.
    """
    text = (header or "").strip(" ")
    if text.isascii() and text.isdecimal():
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(date or "")
    except (ValueError, TypeError, OverflowError):  # not a date, or only one of the two has a time zone
        return None
    return min(max(0.0, wait.total_seconds()), MAX_RETRY_AFTER_SECONDS)
