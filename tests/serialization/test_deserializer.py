"""Kafka values are decoded, or rejected with the reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from bridge.errors import RegistryUnreachable, Undecodable
from bridge.market_data import Update, UpdateKind
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.deserializer import Deserializer, to_json
from bridge.serialization.records import IngestMetadata, build_record
from bridge.serialization.schema_registry import Registry
from bridge.serialization.schemas import load
from bridge.serialization.serializer import Serializer, confluent_prefix, single_object_prefixes
from bridge.topics import Topic
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.serialization.schemas import AvroRecord

SCHEMAS = load()
METADATA = IngestMetadata(ingest_time_us=1701450000123456, session_id=1701440000000000, seq=7, after_gap=True)
FIELDS = {"bidPrice": "101.250", "askPrice": "1e2", "bidSize": 5, "quoteTimestamp": "2025-06-25T04:12:14.300-04:00"}
QUOTE = build_record(Topic.QUOTES, Update(UpdateKind.QUOTE, "AAPL", dict(FIELDS)), METADATA, DecimalEncoder())
VALUE = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS)).encode(Topic.QUOTES, QUOTE)


@pytest.fixture
async def server() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry().serving() as registry:
        yield registry


@pytest.fixture
def deserializer() -> Deserializer:
    return Deserializer(SCHEMAS)


def confluent_value(schema_id: int, topic: Topic = Topic.QUOTES, record: AvroRecord = QUOTE) -> bytes:
    return Serializer(SCHEMAS, {topic: confluent_prefix(schema_id)}).encode(topic, record)


async def test_a_fingerprint_identifies_the_schema(deserializer: Deserializer) -> None:
    """Single-object encoding is decoded without a registry."""
    name, record = await deserializer.decode(VALUE)
    assert name == "aries.marketdata.Quote"
    assert record["bid_price"] == Decimal("101.25")
    assert record["event_time"] == datetime(2025, 6, 25, 8, 12, 14, 300000, tzinfo=UTC)
    assert record["seq"] == 7


async def test_a_registry_id_identifies_the_schema(server: FakeRegistry) -> None:
    """A value in the Confluent wire format is decoded with the registry's schema, which is fetched only once."""
    schema_id = server.add("aries.quotes-value", SCHEMAS[Topic.QUOTES].text)
    async with Registry(server.url) as registry:
        deserializer = Deserializer(SCHEMAS, registry)
        for _ in range(3):
            name, record = await deserializer.decode(confluent_value(schema_id))
            assert (name, record["ask_price"]) == ("aries.marketdata.Quote", Decimal(100))
    assert len(server.requests) == 1


async def test_an_id_without_a_schema_is_asked_for_once(server: FakeRegistry) -> None:
    """However many values have it, each is rejected, and the registry gets one request."""
    async with Registry(server.url) as registry:
        deserializer = Deserializer(SCHEMAS, registry)
        for _ in range(3):
            with pytest.raises(Undecodable, match="the schema registry has no schema 77"):
                await deserializer.decode(confluent_value(77))
    assert len(server.requests) == 1


def test_values_are_decoded_without_an_event_loop(deserializer: Deserializer) -> None:
    """By fingerprint no registry is needed, and nothing to wait for."""
    assert deserializer.decode_known(VALUE).record["bid_size"] == 5
    with pytest.raises(Undecodable, match="schema id 3: set SCHEMA_REGISTRY_URL"):
        deserializer.decode_known(confluent_value(3))


async def test_a_record_of_another_topic(deserializer: Deserializer) -> None:
    """A topic has the records of its schema only."""
    assert (await deserializer.decode_as(Topic.QUOTES, VALUE))["seq"] == 7
    with pytest.raises(Undecodable, match=r"is a aries\.marketdata\.Quote, not a aries\.marketdata\.Trade"):
        await deserializer.decode_as(Topic.TRADES, VALUE)


async def test_schemas_of_other_applications(server: FakeRegistry) -> None:
    """Any record schema of the registry is used: other versions of the bridge's, or another application's."""
    schema_id = server.add("x-value", '{"type":"record","name":"Other","fields":[{"name":"n","type":"int"}]}')
    async with Registry(server.url) as registry:
        decoded = await Deserializer(SCHEMAS, registry).decode(confluent_prefix(schema_id) + b"\x0e")
    assert decoded == ("Other", {"n": 7})


async def test_json_is_lossless(deserializer: Deserializer) -> None:
    """Decimals become exact text, timestamps ISO-8601 in UTC; times in microseconds and session ids stay numbers."""
    _, record = await deserializer.decode(VALUE)
    converted = to_json(record)
    assert json.loads(json.dumps(converted)) == converted
    assert {name: value for name, value in converted.items() if value is not None} == {
        "symbol": "AAPL",
        "event_time": "2025-06-25T08:12:14.300Z",
        "ingest_time_us": 1701450000123456,
        "session_id": 1701440000000000,
        "seq": 7,
        "after_gap": True,
        "bid_price": "101.25",
        "bid_size": 5,
        "ask_price": "100",
        "cleared": [],
    }
    assert list(converted)[:2] == ["symbol", "event_time"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("0E-9"), "0"),
        (Decimal("-0.000000001"), "-0.000000001"),
        (Decimal("999999999.999999999"), "999999999.999999999"),
        (Decimal("1E+3"), "1000"),
        (datetime(2025, 6, 25, 8, 12, 14, tzinfo=UTC), "2025-06-25T08:12:14.000Z"),
        ("HEARTBEAT", "HEARTBEAT"),
        ('{"a": "ü"}\n'.encode(), '{"a": "ü"}\n'),
        (b"", ""),
        (b"\xff\x00", "base64:/wA="),
        (b"base64:/wA=", "base64:YmFzZTY0Oi93QT0="),
        ([{"price": Decimal("1.50")}], [{"price": "1.5"}]),
        ({"nyse": "open"}, {"nyse": "open"}),
        (None, None),
        (0.1, 0.1),
    ],
)
def test_json_values(value: object, expected: Any) -> None:
    """Each type has one representation; bytes that are not UTF-8 are marked as base64."""
    assert to_json({"value": value}) == {"value": expected}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b'{"a": 1}', "7b22"),
        (b"\xc3", "c3"),
        (b"\xc3\x01", "no schema of this version"),
        (b"\xc3\x01" + bytes(8), "0000000000000000"),
        (VALUE[:10], "not a valid aries.marketdata.Quote"),
        (VALUE[:-1], "not a valid aries.marketdata.Quote"),
        (VALUE + b"\x00", "1 more bytes after"),
        (VALUE[:10] + b"\xff" * 40, "not a valid aries.marketdata.Quote"),
        (VALUE[:10] + b"\x02\xff" + VALUE[15:], "not a valid aries.marketdata.Quote"),
        (b"\x00\x00", "within its schema id"),
        (b"\x00\x00\x00\x00\x07abc", "set SCHEMA_REGISTRY_URL"),
    ],
)
async def test_other_values_are_undecodable(deserializer: Deserializer, value: bytes | None, reason: str) -> None:
    """The error of an empty, foreign, truncated, extended or corrupt value says what is wrong with it."""
    with pytest.raises(Undecodable, match=reason):
        await deserializer.decode(value)


async def test_an_unknown_id_is_undecodable(server: FakeRegistry) -> None:
    """The error names an id that the registry does not have."""
    async with Registry(server.url) as registry:
        with pytest.raises(Undecodable, match="no schema 7"):
            await Deserializer(SCHEMAS, registry).decode(confluent_value(7))


@pytest.mark.parametrize(
    "text", ['"string"', "syntax = proto3;", '{"type":"record","name":"R","fields":[{"name":"a","type":"B"}]}']
)
async def test_other_types_of_schemas_are_undecodable(server: FakeRegistry, text: str) -> None:
    """Protobuf schemas, primitive types and schemas that refer to others are not supported."""
    schema_id = server.add("x-value", text)
    async with Registry(server.url) as registry:
        with pytest.raises(Undecodable, match="not an Avro record schema"):
            await Deserializer(SCHEMAS, registry).decode(confluent_value(schema_id))


async def test_an_unreachable_registry_does_not_make_a_value_undecodable() -> None:
    """If the registry cannot be reached, the error says that, so that the value can be decoded later."""
    async with FakeRegistry().serving() as server:
        url = server.url
    async with Registry(url) as registry:
        with pytest.raises(RegistryUnreachable):
            await Deserializer(SCHEMAS, registry).decode(confluent_value(7))
