"""The limits of ``ARIES_STALE_SYMBOL_SECONDS``: for how long a symbol may have no data, by event and type."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from bridge.aries.subscriptions.symbols import SymbolType
from bridge.market_data import EventType
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.aries.subscriptions import Plan

#: By instrument type (None: all types) and event type.
QuietLimits = dict[tuple[SymbolType | None, EventType], float]

MAX_SECONDS: Final = 86_400
#: A shorter time would need a check of every symbol more often than once a second.
MIN_SECONDS: Final = 1


def parse(text: str) -> QuietLimits:
    """Return the limits in a text like ``quotes=900,option.quotes=0``; one number is for all. Raises ValueError."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    if len(items) == 1 and "=" not in items[0]:
        seconds = _seconds(items[0])
        return {(None, event): seconds for event in EventType}
    limits: QuietLimits = {}
    for item in items:
        name, equals, seconds_text = (part.strip() for part in item.partition("="))
        if not equals:
            raise ValueError(f"{item!r} is not event=seconds; write quotes=900,option.quotes=0, or one number for all")
        key = _key(name)
        if key in limits:
            raise ValueError(f"{name!r} is listed twice")
        limits[key] = _seconds(seconds_text)
    return limits


def checked(text: str) -> str:
    """Return a valid text as it is; raise ValueError for any other."""
    parse(text)
    return text


def shortest(limits: QuietLimits) -> float:
    """Return the shortest limit, 0 if there is none."""
    return min((seconds for seconds in limits.values() if seconds), default=0)


def by_topic(limits: QuietLimits, plan: Plan) -> Mapping[Topic, Mapping[str, float]]:
    """Return the limit of each symbol of a plan on each topic; those without a limit are left out."""
    found: dict[Topic, dict[str, float]] = {}
    for symbol, subscription in plan.items():
        for event in subscription.events:
            seconds = limits.get((subscription.type, event), limits.get((None, event), 0))
            if seconds:
                found.setdefault(Topic(event.value), {})[symbol] = seconds
    return found


def _key(name: str) -> tuple[SymbolType | None, EventType]:
    type_name, dot, event_name = name.rpartition(".")
    try:
        return SymbolType(type_name.lower()) if dot else None, EventType(event_name.lower())
    except ValueError:
        raise ValueError(
            f"{name!r} is no event type; the event types are {', '.join(EventType)}, "
            f"also for one type of symbol, like option.quotes ({', '.join(SymbolType)})"
        ) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if seconds == 0 or MIN_SECONDS <= seconds <= MAX_SECONDS:
        return seconds
    raise ValueError(f"{text!r} is not a number of seconds from {MIN_SECONDS} to {MAX_SECONDS}, or 0 = off")
