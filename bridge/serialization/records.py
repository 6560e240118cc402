"""Records built from the updates of the feed: the reference that the generated code in ``fast`` must equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bridge.errors import BadField
from bridge.market_data import UpdateKind
from bridge.serialization.field_mappings import (
    FIELD_MAPPINGS,
    RECORD_MAPPINGS,
    SHARED_FIELD_MAPPINGS,
    TOPICS_WITH_CLEARED,
)
from bridge.serialization.timestamps import epoch_ms
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bridge.market_data import JsonObject, Update
    from bridge.serialization.decimals import DecimalEncoder
    from bridge.serialization.schemas import AvroRecord

_FLAT = (Topic.QUOTES, Topic.TRADES, Topic.GREEKS)
_TOPICS: Mapping[UpdateKind, tuple[Topic, ...]] = {
    UpdateKind.QUOTE: _FLAT,
    UpdateKind.TRADE: _FLAT,
    UpdateKind.COMPOSITE: _FLAT,
    UpdateKind.TIMESALE: (Topic.TIMESALES,),
    UpdateKind.LEVEL2: (Topic.L2,),
    UpdateKind.GREEKS: (Topic.GREEKS,),
    UpdateKind.MARKET_STATUS: (Topic.MARKET_STATUS,),
}
#: The fields of the feed that make a record of the topic.
_TOPIC_FIELDS = {topic: frozenset(mappings) for topic, mappings in FIELD_MAPPINGS.items()}
_KNOWN_FIELDS = {
    kind: frozenset({"symbol", *SHARED_FIELD_MAPPINGS}.union(*(FIELD_MAPPINGS[topic] for topic in topics)))
    for kind, topics in _TOPICS.items()
}


class IngestMetadata(msgspec.Struct, frozen=True, gc=False):
    """What the bridge adds to a record: when it read it, the record's position, and whether one before it is missing.

    Times are in µs since 1970-01-01 UTC. ``is_full``: whether a level-2 message has all rows, if that is known.
    """

    ingest_time_us: int
    session_id: int
    seq: int
    after_gap: bool
    is_full: bool | None = None


def record_topics(kind: UpdateKind, names: Collection[str]) -> tuple[Topic, ...]:
    """Return the topics that get a record of an update with fields of these names: those that have one of them.

    The fields of a quote, trade or greeks update decide, whichever of these kinds it says it is.
    """
    return tuple(topic for topic in _TOPICS[kind] if not _TOPIC_FIELDS[topic].isdisjoint(names))


def is_empty(topic: Topic, fields: JsonObject) -> bool:
    """Return whether a record of these fields would say nothing: all are null, and it cannot say that they are."""
    return topic is Topic.MARKET_STATUS and all(fields.get(name) is None for name in _TOPIC_FIELDS[topic])


def unknown_fields(kind: UpdateKind, names: Collection[str]) -> frozenset[str]:
    """Return those of an update's field names that fill no record.

    The sender chooses them: bound their number and length before storing them.
    """
    return frozenset(names) - _KNOWN_FIELDS[kind]


def build_record(topic: Topic, update: Update, metadata: IngestMetadata, decimals: DecimalEncoder) -> AvroRecord:
    """Return the record of a market-data topic.

    Fields that are null or missing in the update are left out; the serializer then writes null. ``cleared`` names those
    that are null, or an empty list of rows, on the topics that have it. Raise BadField for a value that does not fit
    its field: give it what ``readable`` returns.
    """
    record: AvroRecord = {
        "symbol": update.symbol,
        "feed_time": None if update.feed_time is None else epoch_ms(update.feed_time),
        "ingest_time_us": metadata.ingest_time_us,
        "session_id": metadata.session_id,
        "seq": metadata.seq,
        "after_gap": metadata.after_gap,
    }
    mappings = RECORD_MAPPINGS[topic]
    cleared: list[str] = []
    for name, value in update.fields.items():
        if name in mappings:
            record_field, convert = mappings[name]
            if value is None or (value == [] and topic is Topic.L2):
                cleared.append(record_field)
                continue
            try:
                record[record_field] = convert(value, decimals)
            except ValueError as error:
                raise BadField(name, value, str(error)) from None
    if topic is Topic.L2:
        record["is_full"] = metadata.is_full
    if topic in TOPICS_WITH_CLEARED:
        record["cleared"] = cleared
    return record
