"""The topics the bridge writes, and what they are called in this deployment."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bridge.market_data import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Topic(StrEnum):
    """Name one kind of record; the value is the topic's name behind the prefix."""

    QUOTES = "quotes"
    TRADES = "trades"
    TIMESALES = "timesales"
    L2 = "l2"
    GREEKS = "greeks"
    MARKET_STATUS = "market-status"
    CONTROL = "control"
    DLQ = "dlq"

    @property
    def setting(self) -> str:
        """Return the topic's part of a setting's name: ``KAFKA_TOPIC_<this>``."""
        return self.value.upper().replace("-", "_")


#: What a subscription can ask for, as ``ARIES_EVENTS`` spells it.
SUBSCRIBABLE = (Topic.QUOTES, Topic.TRADES, Topic.TIMESALES, Topic.L2, Topic.GREEKS)
#: The topics that every bridge writes, whatever it subscribes to.
ALWAYS = (Topic.MARKET_STATUS, Topic.CONTROL, Topic.DLQ)
#: Records made from lines of the feed; keyed by symbol (market status: the word ``market``).
MARKET_DATA = (*SUBSCRIBABLE, Topic.MARKET_STATUS)
#: The ``seq`` of a market record that has no place in the sequence of its symbol: a redriven one.
NOT_PLACED: Final = -1


_TOPIC_OF = {event: Topic(event.value) for event in EventType}


def topics_for(events: Iterable[EventType]) -> frozenset[Topic]:
    """Return the topics that events of these types are published to."""
    return frozenset(_TOPIC_OF[event] for event in events)


def topic_names(prefix: str, renamed: Mapping[Topic, str]) -> dict[Topic, str]:
    """Return the Kafka name of every topic."""
    return {topic: renamed.get(topic) or f"{prefix}.{topic}" for topic in Topic}
