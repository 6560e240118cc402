"""The topics the bridge writes, and what they are called in this deployment."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from bridge.market_data import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable


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


class LatestTopic(StrEnum):
    """Name one kind of latest state, on a compacted topic; the value is the topic's name behind the prefix."""

    QUOTES = "quotes.latest"
    TRADES = "trades.latest"

    @property
    def setting(self) -> str:
        """Return the topic's part of a setting's name: ``KAFKA_TOPIC_<this>``."""
        return self.value.upper().replace(".", "_")


AnyTopic = Topic | LatestTopic
#: Names and numbers of topics of one kind or of both: a mapping's type is invariant in its keys.
TopicNames = Mapping[Any, str]
TopicCounts = Mapping[Any, int]
#: The topic of the latest states, of those that have one.
LATEST_OF: Final[Mapping[Topic, LatestTopic]] = MappingProxyType(
    {Topic.QUOTES: LatestTopic.QUOTES, Topic.TRADES: LatestTopic.TRADES}
)
#: The topic by which the bridges of a group agree on who owns a shard. It has no market data, and the publisher never
#: writes to it, so it is no ``Topic``.
SHARDS_TOPIC: Final = "shards"
#: Records of our own: they are made of no line, or are copies, and stand outside the accounts of lines.
OWN_RECORDS: Final = frozenset({Topic.CONTROL, *LatestTopic})

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


def latest_topic_names(prefix: str, renamed: Mapping[LatestTopic, str]) -> dict[LatestTopic, str]:
    """Return the Kafka name of every topic of latest states."""
    return {topic: renamed.get(topic) or f"{prefix}.{topic}" for topic in LatestTopic}


def latest_topics_for(topics: Iterable[AnyTopic]) -> frozenset[LatestTopic]:
    """Return the topics of the latest states of what these topics have."""
    return frozenset(LATEST_OF[topic] for topic in topics if isinstance(topic, Topic) and topic in LATEST_OF)
