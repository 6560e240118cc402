"""Wall-clock time in µs since 1970, and session ids that only increase."""

from __future__ import annotations

import time


def wall_us() -> int:
    """Return the wall-clock time in µs since 1970-01-01 UTC."""
    return time.time_ns() // 1000


class SessionIds:
    """A generator of session ids: the time in µs, or the last id plus one if the clock was set back."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, above: int = 0) -> int:
        """Return a new id, larger than all before, and than ``above``."""
        self._last = max(wall_us(), self._last + 1, above + 1)
        return self._last
