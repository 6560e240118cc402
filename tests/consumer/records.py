"""Records as the bridge makes them, in short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.consumer import Updated
from bridge.market_data import MARKET, Update, UpdateKind
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.records import IngestMetadata, build_record
from bridge.serialization.schemas import load
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.consumer import Event
    from bridge.serialization.schemas import AvroRecord

SCHEMAS = load()
SERIALIZER = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS))


def record(
    topic: Topic,
    fields: dict[str, object],
    *,
    seq: int = 0,
    session: int = 7,
    after_gap: bool | None = None,
    symbol: str = "AAPL",
    is_full: bool | None = None,
) -> AvroRecord:
    """Return a record of a feed's fields as a consumer reads it; the first of a session is after a gap."""
    metadata = IngestMetadata(1_000_000 + seq, session, seq, seq == 0 if after_gap is None else after_gap, is_full)
    is_status = topic is Topic.MARKET_STATUS
    update = Update(
        UpdateKind.MARKET_STATUS if is_status else UpdateKind.COMPOSITE, MARKET if is_status else symbol, fields
    )
    built = build_record(topic, update, metadata, DecimalEncoder())
    return SERIALIZER.decode(topic, SERIALIZER.encode(topic, built))


def control(kind: str, *, session: int | None = 7, instance: str = "bridge-0", **more: object) -> AvroRecord:
    """Return a control record as a consumer reads it."""
    fields = {"kind": kind, "instance": instance, "session_id": session, "time_us": 1, **more}
    return SERIALIZER.decode(Topic.CONTROL, SERIALIZER.encode(Topic.CONTROL, fields))


def notable(events: Iterable[Event]) -> list[Event]:
    """Return the events besides those of records that were taken."""
    return [event for event in events if not isinstance(event, Updated)]
