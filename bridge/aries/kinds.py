"""Tell the kind of a message by what it holds, where its name is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.aries.events import Kind
from bridge.records import FIELDS
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Collection


_EXECUTION = frozenset({"tradeSeq", "price", "size"})


def classify(names: Collection[str]) -> Kind | None:
    """Return the kind that fields of these names belong to; None where they say nothing."""

    def has(topic: Topic) -> bool:
        return not FIELDS[topic].keys().isdisjoint(names)

    if has(Topic.L2):
        return Kind.LEVEL2
    if has(Topic.GREEKS):
        return Kind.GREEKS
    if has(Topic.QUOTES):
        return Kind.QUOTE
    if has(Topic.TRADES):
        return Kind.TIMESALE if _EXECUTION.issubset(names) else Kind.TRADE
    if len(FIELDS[Topic.MARKET_STATUS].keys() & set(names)) > 1:
        return Kind.MARKET_STATUS
    return None
