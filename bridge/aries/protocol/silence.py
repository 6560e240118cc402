"""Silence: what to do if no data is received although pings are answered.

Symbols may be quiet, or the server may have lost the subscriptions or its stream. These cannot be distinguished, so the
steps start with the cheapest and become rarer: subscribe again, then reconnect, and wait twice as long before the next.
"""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import Final

#: Minimum time between two reconnects because of silence alone.
MIN_RECONNECT_SECONDS: Final = 300.0
#: Maximum silence before a step, unless a longer one is configured.
MAX_PATIENCE_SECONDS: Final = 3600.0
#: Data without a pause for this time resets the patience; the snapshot after a subscription alone does not.
FLOWING_SECONDS: Final = 600.0
#: How often a pause is looked at, to know when it was over.
PAUSE_CHECK_SECONDS: Final = 1.0


class SilenceStep(StrEnum):
    """What to do about silence."""

    SUBSCRIBE_AGAIN = "subscribe again"
    RECONNECT = "reconnect"


class SilencePolicy:
    """When to take which step, over all connections of a client; without ``stale_after_seconds`` there is none."""

    def __init__(self, stale_after_seconds: float) -> None:
        self.patience_seconds = stale_after_seconds  # from the start of the silence, or from the last step
        self._stale_after_seconds = stale_after_seconds
        self._stepped_at = self._reconnected_at = self._asked_at = -inf
        self._quiet_at: float | None = None  # when the last pause was seen

    def is_due(self, quiet_since: float, now: float) -> bool:
        """Return whether a step is due, if a ping is answered."""
        self._asked_at = now
        self._observe(quiet_since, now)
        if not self._stale_after_seconds or now - max(quiet_since, self._stepped_at) < self.patience_seconds:
            return False
        return not self._subscribed_again(quiet_since) or now - self._reconnected_at >= MIN_RECONNECT_SECONDS

    def next_tick(self, quiet_since: float) -> float:
        """Return when ``is_due`` is to be asked again, unless there is data before."""
        if not self._stale_after_seconds:
            return inf
        if self._asked_at - quiet_since < self._stale_after_seconds:
            return quiet_since + self._stale_after_seconds
        due = max(quiet_since, self._stepped_at) + self.patience_seconds
        return min(due if due > self._asked_at else inf, self._asked_at + PAUSE_CHECK_SECONDS)

    def take_step(self, quiet_since: float, now: float) -> SilenceStep:
        """Return the step that is due, once."""
        step = SilenceStep.SUBSCRIBE_AGAIN
        if self._subscribed_again(quiet_since):
            step, self._reconnected_at = SilenceStep.RECONNECT, now
        self._stepped_at = now
        longest = max(MAX_PATIENCE_SECONDS, self._stale_after_seconds)
        self.patience_seconds = min(2 * self.patience_seconds, longest)
        return step

    def _subscribed_again(self, quiet_since: float) -> bool:
        return self._stepped_at > quiet_since

    def _observe(self, quiet_since: float, now: float) -> None:
        if self._quiet_at is None or now - quiet_since >= self._stale_after_seconds:
            self._quiet_at = now
        elif now - self._quiet_at >= FLOWING_SECONDS:
            self.patience_seconds = self._stale_after_seconds
