"""Dead letters as a bridge writes them, for tests of what becomes of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer

from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.topics import SUBSCRIBABLE, Topic
from tests.support.consumer import Message, read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

SCHEMAS = schemas.load()
SERIALIZER = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS))
SESSION = 1_701_450_000_000_000
INGEST_US = SESSION + 5_000_123


def trade_line(symbol: str = "AAPL", price: str = "187.25", dialect: str = "envelope") -> bytes:
    data = {"symbol": symbol, "price": price, "size": 10, "tradeSeq": 1}
    if dialect == "envelope":
        return json.dumps(
            {"type": "event", "payload": {"action": "update", "type": "timeAndSales", "data": data}}
        ).encode()
    return json.dumps({"action": "update", "type": "timeAndSale", "data": data}).encode()


def letter(raw: bytes, **fields: object) -> dict[str, Any]:
    """Return a dead letter of a line, with other values in some fields."""
    return {
        "reason": "unknown_kind",
        "error": "an earlier version could not read it",
        "raw": raw,
        "symbol": None,
        "dialect": "envelope",
        "session_id": SESSION,
        "ingest_time_us": INGEST_US,
        "bridge_version": "0.0.1",
        **fields,
    }


@asynccontextmanager
async def producing(bootstrap_servers: str) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all") as producer:
        yield producer


async def write_letters(bootstrap_servers: str, prefix: str, letters: Sequence[dict[str, Any]]) -> None:
    """Write dead letters to all partitions in turn, at the times of their lines."""
    name = f"{prefix}.{Topic.DLQ}"
    async with producing(bootstrap_servers) as producer:
        numbers = sorted(await producer.partitions_for(name))
        for place, one in enumerate(letters):
            value = SERIALIZER.encode(Topic.DLQ, one)
            where = numbers[place % len(numbers)]
            await producer.send(name, value, partition=where, timestamp_ms=one["ingest_time_us"] // 1000)
        await producer.flush()


async def raw_records(bootstrap_servers: str, prefix: str, *topics: Topic) -> list[Message]:
    names = [f"{prefix}.{topic}" for topic in topics or SUBSCRIBABLE]
    return await asyncio.to_thread(read_all, bootstrap_servers, names)


async def decoded(message: Message) -> dict[str, Any]:
    return (await Deserializer(SCHEMAS).decode(message.value)).record
