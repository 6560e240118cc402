"""Tell the kind of an update by its fields, if its ``type`` is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.market_data import FIELDS, MARKET_STATUS_FIELDS, EventType, UpdateKind

if TYPE_CHECKING:
    from collections.abc import Collection

_EXECUTION = frozenset({"tradeSeq", "price", "size"})
_FIELDS = {event: frozenset(names) for event, names in FIELDS.items()}
_TRADE_ALONE = _FIELDS[EventType.TRADES] - _FIELDS[EventType.TIMESALES]
#: The names of a market status are common words: a single one says little.
_STATUS_FIELDS = 2


def classify(names: Collection[str]) -> UpdateKind | None:
    """Return the kind that fields of these names belong to; None if none does (protocol §3)."""

    def has(event: EventType) -> bool:
        return not _FIELDS[event].isdisjoint(names)

    if has(EventType.L2):
        return UpdateKind.LEVEL2
    if has(EventType.GREEKS):
        return UpdateKind.GREEKS
    if has(EventType.QUOTES):
        return UpdateKind.QUOTE
    if has(EventType.TRADES):
        # A last sale may have the fields of an execution, and more; as an execution it would lose them.
        is_execution = _EXECUTION.issubset(names) and _TRADE_ALONE.isdisjoint(names)
        return UpdateKind.TIMESALE if is_execution else UpdateKind.TRADE
    if len(set(MARKET_STATUS_FIELDS) & set(names)) >= _STATUS_FIELDS:
        return UpdateKind.MARKET_STATUS
    return None
