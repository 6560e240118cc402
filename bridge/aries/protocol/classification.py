"""Tell the kind of a message by what it holds, where its name is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.aries.protocol.messages import Kind
from bridge.serialization.records import FIELDS
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Collection

_EXECUTION = frozenset({"tradeSeq", "price", "size"})
_TRADE_ALONE = FIELDS[Topic.TRADES].keys() - FIELDS[Topic.TIMESALES].keys()
#: The words of a market status are common ones: a single one says little.
_STATUS_FIELDS = 2


def classify(names: Collection[str]) -> Kind | None:
    """Return the kind that fields of these names belong to; None where they say nothing (protocol §3)."""

    def has(topic: Topic) -> bool:
        return not FIELDS[topic].keys().isdisjoint(names)

    if has(Topic.L2):
        return Kind.LEVEL2
    if has(Topic.GREEKS):
        return Kind.GREEKS
    if has(Topic.QUOTES):
        return Kind.QUOTE
    if has(Topic.TRADES):
        # A last sale may have the fields of an execution, and more; as an execution it would lose them.
        return Kind.TIMESALE if _EXECUTION.issubset(names) and _TRADE_ALONE.isdisjoint(names) else Kind.TRADE
    if len(FIELDS[Topic.MARKET_STATUS].keys() & set(names)) >= _STATUS_FIELDS:
        return Kind.MARKET_STATUS
    return None
