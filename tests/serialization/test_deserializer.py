"""Kafka values become readable records again, or say why not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from bridge.errors import RegistryUnreachable, Undecodable
from bridge.market_data import Update, UpdateKind
from bridge.serialization.decimals import Prices
from bridge.serialization.deserializer import Deserializer, to_json
from bridge.serialization.records import Record, Stamp, build
from bridge.serialization.schema_registry import Registry
from bridge.serialization.schemas import load
from bridge.serialization.serializer import Serializer, confluent_prefix, single_object_prefixes
from bridge.topics import Topic
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCHEMAS = load()
STAMP = Stamp(ingest_time_us=1701450000123456, session_id=1701440000000000, seq=7, after_gap=True)
FIELDS = {"bidPrice": "101.250", "askPrice": "1e2", "bidSize": 5, "quoteTimestamp": "2025-06-25T04:12:14.300-04:00"}
QUOTE = build(Topic.QUOTES, Update(UpdateKind.QUOTE, "AAPL", dict(FIELDS)), STAMP, Prices())
VALUE = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS)).encode(Topic.QUOTES, QUOTE)


@pytest.fixture
async def server() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry().serving() as registry:
        yield registry


@pytest.fixture
def decoder() -> Deserializer:
    return Deserializer(SCHEMAS)


def framed(schema_id: int, topic: Topic = Topic.QUOTES, record: Record = QUOTE) -> bytes:
    return Serializer(SCHEMAS, {topic: confluent_prefix(schema_id)}).encode(topic, record)


async def test_values_are_told_by_their_fingerprint(decoder: Deserializer) -> None:
    """Single-object encoding needs no registry."""
    name, record = await decoder.decode(VALUE)
    assert name == "aries.marketdata.Quote"
    assert record["bid_price"] == Decimal("101.25")
    assert record["event_time"] == datetime(2025, 6, 25, 8, 12, 14, 300000, tzinfo=UTC)
    assert record["seq"] == 7


async def test_values_are_told_by_their_registry_id(server: FakeRegistry) -> None:
    """A Confluent value is read with the registry's schema, fetched once, also when the registry is gone later."""
    schema_id = server.add("aries.quotes-value", SCHEMAS[Topic.QUOTES].text)
    async with Registry(server.url) as registry:
        decoder = Deserializer(SCHEMAS, registry)
        for _ in range(3):
            name, record = await decoder.decode(framed(schema_id))
            assert (name, record["ask_price"]) == ("aries.marketdata.Quote", Decimal(100))
    assert len(server.requests) == 1


async def test_schemas_of_others_are_read_too(server: FakeRegistry) -> None:
    """Any record schema of the registry serves: an older or newer version of ours, or a stranger."""
    schema_id = server.add("x-value", '{"type":"record","name":"Other","fields":[{"name":"n","type":"int"}]}')
    async with Registry(server.url) as registry:
        decoded = await Deserializer(SCHEMAS, registry).decode(confluent_prefix(schema_id) + b"\x0e")
    assert decoded == ("Other", {"n": 7})


async def test_json_loses_nothing(decoder: Deserializer) -> None:
    """Decimals are exact text, times ISO-8601 in UTC, microseconds and session stay numbers."""
    _, record = await decoder.decode(VALUE)
    plain = to_json(record)
    assert json.loads(json.dumps(plain)) == plain
    assert {name: value for name, value in plain.items() if value is not None} == {
        "symbol": "AAPL",
        "event_time": "2025-06-25T08:12:14.300Z",
        "ingest_time_us": 1701450000123456,
        "session_id": 1701440000000000,
        "seq": 7,
        "after_gap": True,
        "bid_price": "101.25",
        "bid_size": 5,
        "ask_price": "100",
    }
    assert list(plain)[:2] == ["symbol", "event_time"]


@pytest.mark.parametrize(
    ("value", "plain"),
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
def test_values_in_json(value: object, plain: Any) -> None:
    """Each type has one readable form; bytes that are no text are marked as base64."""
    assert to_json({"value": value}) == {"value": plain}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b'{"a": 1}', "7b22"),
        (b"\xc3", "c3"),
        (b"\xc3\x01", "no schema of this version"),
        (b"\xc3\x01" + bytes(8), "0000000000000000"),
        (VALUE[:10], "no aries.marketdata.Quote"),
        (VALUE[:-1], "no aries.marketdata.Quote"),
        (VALUE + b"\x00", "1 bytes behind"),
        (VALUE[:10] + b"\xff" * 40, "no aries.marketdata.Quote"),
        (VALUE[:10] + b"\x02\xff" + VALUE[15:], "no aries.marketdata.Quote"),
        (b"\x00\x00", "within its schema id"),
        (b"\x00\x00\x00\x00\x07abc", "set SCHEMA_REGISTRY_URL"),
    ],
)
async def test_what_is_not_ours_is_undecodable(decoder: Deserializer, value: bytes | None, why: str) -> None:
    """Empty, foreign, cut, prolonged and garbled values say what is wrong with them."""
    with pytest.raises(Undecodable, match=why):
        await decoder.decode(value)


async def test_an_unknown_id_is_undecodable(server: FakeRegistry) -> None:
    """An id that the registry does not have is told by its number."""
    async with Registry(server.url) as registry:
        with pytest.raises(Undecodable, match="no schema 7"):
            await Deserializer(SCHEMAS, registry).decode(framed(7))


@pytest.mark.parametrize(
    "text", ['"string"', "syntax = proto3;", '{"type":"record","name":"R","fields":[{"name":"a","type":"B"}]}']
)
async def test_a_schema_of_another_kind_is_undecodable(server: FakeRegistry, text: str) -> None:
    """Protobuf, scalars and schemas that refer to others are not read."""
    schema_id = server.add("x-value", text)
    async with Registry(server.url) as registry:
        with pytest.raises(Undecodable, match="no Avro record schema"):
            await Deserializer(SCHEMAS, registry).decode(framed(schema_id))


async def test_a_missing_registry_is_not_the_values_fault() -> None:
    """While the registry is away the value is not called garbage: it can be tried again."""
    async with FakeRegistry().serving() as server:
        url = server.url
    async with Registry(url) as registry:
        with pytest.raises(RegistryUnreachable):
            await Deserializer(SCHEMAS, registry).decode(framed(7))
