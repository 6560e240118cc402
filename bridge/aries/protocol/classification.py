"""The kind of an update whose ``type`` is unknown, found by the names of its fields.

A cancel or correction has the fields of an execution, and consumers would count it as one more: so it has no kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.market_data import CORRECTION_WORD, FIELDS, MARKET_STATUS_FIELDS, EventType, UpdateKind, correction_field

if TYPE_CHECKING:
    from collections.abc import Collection

    from bridge.market_data import JsonObject

_EXECUTION = frozenset({"tradeSeq", "price", "size"})
_FIELDS = {event: frozenset(names) for event, names in FIELDS.items()}
_ONLY_IN_TRADES = _FIELDS[EventType.TRADES] - _FIELDS[EventType.TIMESALES]
#: The field names of a market status are common words, so that a single one proves little.
_MIN_STATUS_FIELDS = 2


def correction(wire_type: object, fields: JsonObject) -> str | None:
    """Return what says that an update of unknown type cancels or corrects an earlier one; None if nothing does [A]."""
    if type(wire_type) is str and CORRECTION_WORD.search(wire_type):
        return "its type"
    name = correction_field(fields)
    return None if name is None else f"its field {name}"


def classify(names: Collection[str]) -> UpdateKind | None:
    """Return the kind of update that has fields of these names, or None (protocol §3) [A]."""

    def has(event: EventType) -> bool:
        return not _FIELDS[event].isdisjoint(names)

    if has(EventType.L2):
        return UpdateKind.LEVEL2
    if has(EventType.GREEKS):
        return UpdateKind.GREEKS
    if has(EventType.QUOTES):
        return UpdateKind.QUOTE
    if has(EventType.TRADES):
        # A trade may have all fields of an execution, and more, which would be lost if it were taken for one.
        is_execution = _EXECUTION.issubset(names) and _ONLY_IN_TRADES.isdisjoint(names)
        return UpdateKind.TIMESALE if is_execution else UpdateKind.TRADE
    if len(set(MARKET_STATUS_FIELDS) & set(names)) >= _MIN_STATUS_FIELDS:
        return UpdateKind.MARKET_STATUS
    return None
