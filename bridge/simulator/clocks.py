"""Times as the server writes them; the clock itself is passed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final, Literal

#: Give milliseconds since the epoch.
Clock = Callable[[], int]
#: How quote and trade timestamps are written.
TimestampStyle = Literal["iso", "ms", "us", "ns"]

#: The vendor's examples carry New York's summer offset. It is fixed so that no time zone data is needed.
_NEW_YORK: Final = timezone(timedelta(hours=-4))


def wall_clock_ms() -> int:
    """Return the time of day in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=4)
def _second(epoch_seconds: int, zone: timezone) -> str:
    return datetime.fromtimestamp(epoch_seconds, zone).strftime("%Y-%m-%dT%H:%M:%S")


def iso_with_offset(epoch_ms: int) -> str:
    """Write ``2025-06-25T04:12:14.327-04:00``."""
    return f"{_second(epoch_ms // 1000, _NEW_YORK)}.{epoch_ms % 1000:03d}-04:00"


def iso_utc(epoch_ms: int) -> str:
    """Write ``2025-07-17T03:33:11.000Z``."""
    return f"{_second(epoch_ms // 1000, UTC)}.{epoch_ms % 1000:03d}Z"


def timestamp_writer(style: TimestampStyle) -> Callable[[int], object]:
    """Return what turns epoch milliseconds into a field's value."""
    if style == "iso":
        return iso_with_offset
    factor = {"ms": 1, "us": 1_000, "ns": 1_000_000}[style]
    return lambda epoch_ms: epoch_ms * factor
