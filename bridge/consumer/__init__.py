"""A library for consumers of the topics: it decodes records, and builds the state of each symbol from them.

``MarketView`` is the core, for any Kafka client; ``bridge.consumer.kafka`` reads the topics with aiokafka.
"""

from bridge.consumer.events import (
    BridgeHeard,
    BridgeSilent,
    BridgeStopped,
    Event,
    FeedLost,
    FeedResumed,
    Merged,
    Missed,
    Redriven,
    Restarted,
    ShardClaimed,
    ShardReleased,
    Unreadable,
    Updated,
)
from bridge.consumer.level2_book import Level2Book
from bridge.consumer.market_view import MarketView
from bridge.consumer.symbol_state import SymbolState
from bridge.errors import Undecodable
from bridge.serialization.decoding import open_deserializer, single_object_deserializer
from bridge.serialization.deserializer import Decoded, Deserializer
from bridge.topics import Topic

__all__ = [
    "BridgeHeard",
    "BridgeSilent",
    "BridgeStopped",
    "Decoded",
    "Deserializer",
    "Event",
    "FeedLost",
    "FeedResumed",
    "Level2Book",
    "MarketView",
    "Merged",
    "Missed",
    "Redriven",
    "Restarted",
    "ShardClaimed",
    "ShardReleased",
    "SymbolState",
    "Topic",
    "Undecodable",
    "Unreadable",
    "Updated",
    "open_deserializer",
    "single_object_deserializer",
]
