"""Wall-clock time in µs since the epoch, and session ids that only grow."""

from __future__ import annotations

import time


def wall_us() -> int:
    """Return the wall clock in µs since the epoch."""
    return time.time_ns() // 1000


class SessionIds:
    """Give each session its id: the time in µs, or one more than the last where the clock was set back."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """Return a new id, larger than all before."""
        self._last = max(wall_us(), self._last + 1)
        return self._last
