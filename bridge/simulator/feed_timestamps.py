"""Timestamps in the formats of the feed, and the type of the clock that is passed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

#: Returns milliseconds since the epoch.
Clock = Callable[[], int]

#: The vendor's examples carry New York's summer offset. It is fixed so that no time zone data is needed.
_NEW_YORK: Final = timezone(timedelta(hours=-4))


def wall_clock_ms() -> int:
    """Return the wall clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=4)
def _second(epoch_seconds: int, zone: timezone) -> str:
    return datetime.fromtimestamp(epoch_seconds, zone).strftime("%Y-%m-%dT%H:%M:%S")


def iso_with_offset(epoch_ms: int) -> str:
    """Format a quote's or trade's time, such as ``2025-06-25T04:12:14.327-04:00``."""
    return f"{_second(epoch_ms // 1000, _NEW_YORK)}.{epoch_ms % 1000:03d}-04:00"


def iso_utc(epoch_ms: int) -> str:
    """Format a market status's time, such as ``2025-07-17T03:33:11.000Z``."""
    return f"{_second(epoch_ms // 1000, UTC)}.{epoch_ms % 1000:03d}Z"
