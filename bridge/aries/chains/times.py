"""When chains are resolved, by the calendar of the exchange.

Every day, as this needs no calendar of holidays: on a day without trading the answer is the same, and changes nothing.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EXCHANGE_ZONE: Final = "America/New_York"
#: An hour before the open, which leaves time for retries; new listings are known by then.
RESOLVE_AT: Final = time(8, 30)


def exchange_date(now: float) -> date:
    """Return the date at the exchange, of a time in seconds since the epoch."""
    return _local(now).date()


def next_resolution(after: float) -> float:
    """Return the next time to resolve, later than a time; both in seconds since the epoch."""
    day = exchange_date(after)
    today = datetime.combine(day, RESOLVE_AT, _zone()).timestamp()
    if today > after:
        return today
    return datetime.combine(day + timedelta(days=1), RESOLVE_AT, _zone()).timestamp()


def has_zone() -> bool:
    """Return whether this machine knows the time zone of the exchange."""
    try:
        _zone()
    except (ZoneInfoNotFoundError, OSError):
        return False
    return True


@cache
def _zone() -> ZoneInfo:
    return ZoneInfo(EXCHANGE_ZONE)


def _local(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC).astimezone(_zone())
