"""Wall-clock time in µs since 1970, session ids that only increase, and a clock for leases."""

from __future__ import annotations

import time
from typing import Final

#: Linux: as the monotonic clock, but it does not stand still while the machine is suspended.
_BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


def wall_us() -> int:
    """Return the wall-clock time in µs since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def boot_seconds() -> float:
    """Return the seconds of a clock that is never set, and goes on while the machine is suspended if there is one."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


class SessionIds:
    """A generator of session ids: the time in µs, or the last id plus one if the clock was set back."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, above: int = 0) -> int:
        """Return a new id, larger than all before, and than ``above``."""
        self._last = max(wall_us(), self._last + 1, above + 1)
        return self._last
