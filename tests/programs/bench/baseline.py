"""A simple bridge for comparison: ``python -m tests.programs.bench.baseline``.

What a competent engineer writes first with the same libraries: ``json.loads``, a dict per record, ``fastavro``,
``producer.send()``. It takes the bridge's settings, loop, schemas and topics and writes the same records byte for
byte (see ``test_baseline.py``). It is not deliberately slow anywhere; what it lacks, beside speed, is everything
else: it does not reconnect, rebuild, conflate, account for or dead-letter anything, and has no budget, no metrics.
"""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sys
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop
from aiokafka import AIOKafkaProducer
from fastavro import schemaless_writer
from websockets.asyncio.client import connect

from bridge import settings
from bridge.serialization import schemas
from bridge.serialization.serializer import single_object_prefixes
from bridge.topics import Topic
from tests.programs.bench.latencies import Latencies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from websockets.asyncio.client import ClientConnection

    from bridge.settings import Settings

Json = dict[str, Any]

PRICE, QUANTITY, SIZE, TEXT, TIME = Decimal, Decimal, int, str, datetime.fromisoformat
Names = dict[str, tuple[str, Any]]
SHARED: Names = {"instrumentType": ("instrument_type", TEXT)}
EXECUTION: Names = {
    "price": ("price", PRICE),
    "size": ("size", QUANTITY),
    "tradeExchange": ("trade_exchange", TEXT),
    "tradeTimestamp": ("event_time", TIME),
    "tradeSeq": ("trade_seq", SIZE),
    "tick": ("tick", TEXT),
}
QUOTE: Names = {
    "bidPrice": ("bid_price", PRICE),
    "bidSize": ("bid_size", SIZE),
    "bidExchange": ("bid_exchange", TEXT),
    "bidChange": ("bid_change", PRICE),
    "bidSizeChange": ("bid_size_change", SIZE),
    "askPrice": ("ask_price", PRICE),
    "askSize": ("ask_size", SIZE),
    "askExchange": ("ask_exchange", TEXT),
    "askChange": ("ask_change", PRICE),
    "askSizeChange": ("ask_size_change", SIZE),
    "quoteTimestamp": ("event_time", TIME),
}
TRADE: Names = {
    **EXECUTION,
    "lastPrice": ("last_price", PRICE),
    "totalVolume": ("total_volume", QUANTITY),
    "tickVolume": ("tick_volume", SIZE),
    "openPrice": ("open_price", PRICE),
    "highPrice": ("high_price", PRICE),
    "lowPrice": ("low_price", PRICE),
    "netChange": ("net_change", PRICE),
    "high52Week": ("high_52_week", PRICE),
    "low52Week": ("low_52_week", PRICE),
    "openInterest": ("open_interest", SIZE),
    "dividend": ("dividend", PRICE),
}


def fields_of(names: Names) -> Callable[[Json], Json]:
    """Return a function that makes a record's fields of a message's data."""
    known = {**names, **SHARED}

    def convert(data: Json) -> Json:
        record = {}
        for wire, value in data.items():
            if wire in known and value is not None:
                name, make = known[wire]
                record[name] = make(value)
        return record

    return convert


def level2(data: Json) -> Json:
    """Return the rows of a book and of the exchanges."""
    return {
        "book": [level(row) for row in data.get("orderBook", ())],
        "quotes": [exchange_quote(row) for row in data.get("quotes", ())],
    }


def level(row: str) -> Json:
    ask_size, price, bid_size = row.split(":")
    return {"price": Decimal(price), "bid_size": size(bid_size), "ask_size": size(ask_size)}


def exchange_quote(row: str) -> Json:
    exchange, ask_price, ask_size, bid_price, bid_size = row.split(":")
    return {
        "exchange": exchange,
        "bid_price": Decimal(bid_price) if bid_price else None,
        "bid_size": size(bid_size),
        "ask_price": Decimal(ask_price) if ask_price else None,
        "ask_size": size(ask_size),
    }


def size(text: str) -> int | None:
    return int(text) if text else None


CONVERTERS: Final[Mapping[Topic, Callable[[Json], Json]]] = {
    Topic.QUOTES: fields_of(QUOTE),
    Topic.TRADES: fields_of(TRADE),
    Topic.TIMESALES: fields_of(EXECUTION),
    Topic.L2: level2,
}
#: What each kind of message becomes, in the newer dialect and in the older one.
TOPICS: Final = {
    "quote": Topic.QUOTES,
    "trade": Topic.TRADES,
    "timeAndSales": Topic.TIMESALES,
    "level2": Topic.L2,
}
COMPOSITES: Final = ("equityComposite", "optionComposite")


class Translation:
    """A converter of lines to encoded records."""

    def __init__(self) -> None:
        loaded = schemas.load()
        self._prefixes = single_object_prefixes(loaded)
        self._schemas = {topic: schema.parsed for topic, schema in loaded.items()}
        self._sequences: dict[tuple[Topic, str], int] = {}

    def records(self, line: str | bytes, ingest_us: int, session_id: int) -> Iterator[tuple[Topic, bytes, bytes]]:
        """Yield topic, key and value of each record of a line."""
        message = json.loads(line, parse_float=Decimal)
        for topic, data, feed_time in updates(message):
            symbol = data["symbol"]
            seq = self._sequences.get((topic, symbol), 0)
            self._sequences[topic, symbol] = seq + 1
            record = CONVERTERS[topic](data)
            record["symbol"] = symbol
            record["feed_time"] = feed_time
            record["ingest_time_us"] = ingest_us
            record["session_id"] = session_id
            record["seq"] = seq
            record["after_gap"] = seq == 0
            buffer = io.BytesIO()
            buffer.write(self._prefixes[topic])
            schemaless_writer(buffer, self._schemas[topic], record)
            yield topic, symbol.encode(), buffer.getvalue()


def updates(message: Json) -> Iterator[tuple[Topic, Json, int | None]]:
    """Yield topic, data and time of each update in a message of either dialect."""
    payload = message.get("payload")
    if payload is not None:
        if payload.get("action") == "update":
            yield TOPICS[payload["type"]], payload["data"], payload["timestamp"]
        return
    kind = message.get("type")
    if kind in COMPOSITES:
        data = message["data"]
        if not QUOTE.keys().isdisjoint(data):
            yield Topic.QUOTES, data, None
        if not TRADE.keys().isdisjoint(data):
            yield Topic.TRADES, data, None
    elif kind is not None:
        yield TOPICS[kind], message["data"], None


async def run(configured: Settings, latencies: Latencies | None) -> None:
    """Bridge until the socket closes or a signal comes."""
    producer = AIOKafkaProducer(
        bootstrap_servers=configured.kafka_bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        compression_type=None if configured.kafka_compression == "none" else configured.kafka_compression,
        linger_ms=configured.kafka_linger_ms,
        max_batch_size=configured.kafka_batch_bytes,
    )
    await producer.start()
    try:
        async with connect(
            configured.aries_ws_url,
            compression=None,
            max_size=16 * 1024 * 1024,
            ping_interval=None,  # under a full load its pongs come so late that it would cut its own connection
        ) as socket:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(socket.close()))
            session_id = await open_session(socket, configured)
            await stream(socket, producer, configured, session_id, latencies)
    finally:
        await producer.stop()


async def open_session(socket: ClientConnection, configured: Settings) -> int:
    """Authenticate and subscribe to everything; return the session's id."""
    assert configured.aries_access_token is not None
    token = configured.aries_access_token.reveal()
    listed = list(configured.plan())
    if configured.dialect == "envelope":
        body = {"action": "auth", "token": token}
        auth = {"type": "request", "id": "auth", "payload": {"method": "post", "path": "/auth", "body": body}}
        wanted = {"quoteFields": "*", "tradeFields": "*", "timeAndSalesFields": "*", "level2": True}
        symbols = [{"symbol": symbol, **wanted} for symbol in listed]
        requests: list[Json] = [{"type": "subscribe", "id": "sub", "payload": symbols}]
    else:
        auth = {"action": "auth", "token": token}
        symbols = [{"symbol": symbol, "fields": ["*"]} for symbol in listed]
        kinds = ("equityComposite", "timeAndSales", "level2")
        requests = [{"action": "subscribe", "type": kind, "data": symbols} for kind in kinds]
    await socket.send(json.dumps(auth))
    await socket.recv()
    session_id = time.time_ns() // 1000
    for request in requests:
        await socket.send(json.dumps(request))
    return session_id


async def stream(
    socket: ClientConnection,
    producer: AIOKafkaProducer,
    configured: Settings,
    session_id: int,
    latencies: Latencies | None,
) -> None:
    """Send a record for each update until the socket closes."""
    translation = Translation()
    names = configured.topics
    async for message in socket:
        ingest_us = time.time_ns() // 1000
        for line in message.split("\n"):  # type: ignore[arg-type]  # text, as it was sent
            if not line:
                continue
            for topic, key, value in translation.records(line, ingest_us, session_id):
                sent = await producer.send(names[topic], value, key=key, timestamp_ms=ingest_us // 1000)
                if latencies is not None:
                    sent.add_done_callback(latencies.noting(ingest_us))


def main(arguments: list[str]) -> None:
    """Run with the bridge's settings; an argument names the file for latencies, where they are measured."""
    latencies = Latencies() if arguments else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings.load(), latencies))
    if latencies is not None:
        latencies.save(Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
