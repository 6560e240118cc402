from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Undecodable
from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.serialization.schema_registry import Registry
from bridge.serialization.serializer import Serializer, confluent_prefix, single_object_prefixes
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import MARKET_DATA, Topic
from bridge.verify.record_header import HeaderReader, RecordHeader
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from bridge.serialization.schemas import AvroRecord

SCHEMAS = schemas.load()
CODEC = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS))
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
TIMES_MS = st.none() | st.integers(0, 4_000_000_000_000)

records = st.fixed_dictionaries(
    {
        "symbol": st.text(max_size=200),
        "event_time": TIMES_MS,
        "feed_time": TIMES_MS,
        "ingest_time_us": LONGS,
        "session_id": LONGS,
        "seq": LONGS,
        "after_gap": st.booleans(),
    }
)
QUOTE: AvroRecord = {
    "symbol": "AAPL",
    "feed_time": 1_701_450_000_123,
    "ingest_time_us": 1_701_450_000_123_456,
    "session_id": 1_701_450_000_000_000,
    "seq": 300,
    "after_gap": True,
}
HEADER: RecordHeader = (b"AAPL", 1_701_450_000_123_456, 1_701_450_000_000_000, 300, True)


def reader(topic: Topic = Topic.QUOTES, registry: Registry | None = None) -> HeaderReader:
    return HeaderReader(topic, SCHEMAS[topic], Deserializer(SCHEMAS, registry))


@given(topic=st.sampled_from(MARKET_DATA), record=records)
async def test_the_header_is_what_the_full_decoder_decodes(topic: Topic, record: AvroRecord) -> None:
    """On every market topic, whatever the fields hold, both decode the same header."""
    value = CODEC.encode(topic, record)
    fast = reader(topic)

    decoded = await fast.decode(value)

    assert fast.read(value) == decoded
    assert decoded == (
        str(record["symbol"]).encode(),
        record["ingest_time_us"],
        record["session_id"],
        record["seq"],
        record["after_gap"],
    )


@given(data=st.binary(max_size=60))
async def test_garbage_behind_a_known_prefix_has_a_header_or_none(data: bytes) -> None:
    """Bytes that are no record never raise."""
    fast = reader()
    value = CODEC.encode(Topic.QUOTES, QUOTE)
    await fast.decode(value)

    header = fast.read(value[:10] + data)

    assert header is None or len(header) == 5


async def test_nothing_is_read_before_the_schema_is_known() -> None:
    """A schema's prefix is trusted once the full decoder has decoded the same header."""
    fast = reader()
    value = CODEC.encode(Topic.QUOTES, QUOTE)

    assert (fast.read(None), fast.read(b""), fast.read(value)) == (None, None, None)
    assert await fast.decode(value) == HEADER
    assert fast.read(value) == HEADER


@pytest.mark.parametrize("value", [None, b"", b"\xc3\x01", b"hello", CODEC.encode(Topic.TRADES, QUOTE)])
async def test_a_value_that_is_no_record_of_the_topic_is_rejected(value: bytes | None) -> None:
    """Empty values, other applications' values, and records of another topic are rejected."""
    with pytest.raises(Undecodable):
        await reader().decode(value)


async def test_a_schema_with_other_first_fields_is_read_by_the_full_decoder() -> None:
    """If a schema has moved the common fields, the header is decoded in full, and right all the same."""
    declared = json.loads(SCHEMAS[Topic.QUOTES].text)
    declared["fields"].insert(2, {"name": "newcomer", "type": ["null", "long"], "default": None})
    async with FakeRegistry().serving() as fake:
        moved, same = fake.add("moved", json.dumps(declared)), fake.add("same", SCHEMAS[Topic.QUOTES].text)
        settings = kafka_settings("localhost:9092", {"SCHEMA_REGISTRY_URL": fake.url})
        assert settings.schema_registry_url is not None
        async with Registry.of(settings, settings.schema_registry_url) as registry:
            fast = reader(registry=registry)
            for text, schema_id, is_fast in ((json.dumps(declared), moved, False), (None, same, True)):
                schema = SCHEMAS[Topic.QUOTES] if text is None else schemas.parse_schema(text)
                serializer = Serializer({**SCHEMAS, Topic.QUOTES: schema}, {Topic.QUOTES: confluent_prefix(schema_id)})
                value = serializer.encode(Topic.QUOTES, QUOTE)
                assert await fast.decode(value) == HEADER
                assert fast.read(value) == (HEADER if is_fast else None)
