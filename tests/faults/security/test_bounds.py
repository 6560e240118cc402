"""Whatever the feed, HTTP clients or a registry send, only a bounded part of it is kept."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from bridge.errors import RegistryUnreachable
from bridge.observability import connection_limit
from bridge.observability.connection_limit import MAX_CONNECTIONS
from bridge.serialization.schema_registry import Registry
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.proof import prove
from tests.observability.http_client import client
from tests.support.fake_registry import FakeRegistry
from tests.support.service import DEADLINE_SECONDS, environment, eventually, read, running, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.app import Service
    from bridge.kafka.embedded_broker import EmbeddedBroker


def _update(kind: str, **data: object) -> str:
    payload = {"action": "update", "type": kind, "data": {"symbol": "AAPL", **data}, "timestamp": 1701450000123}
    return json.dumps({"type": "event", "payload": payload})


def _hostile() -> Iterator[tuple[str, str]]:
    """Yield lines that no feed should send, with the reason for which each is dead-lettered."""
    yield "[" * 200_000, "not_json"
    yield '{"type":' * 100_000 + "1" + "}" * 100_000, "not_json"
    yield '{"type":"event","payload":{"action":"update","x":' + "9" * 5_000 + "}}", "not_json"
    yield _update("quote", symbol="A" * 1_000_000, bidPrice="1"), "bad_symbol"
    yield _update("quote", symbol="A\nB", bidPrice="1"), "bad_symbol"
    yield _update("quote", bidPrice="9" * 1_000_000), "bad_field"
    yield _update("quote", bidPrice="1e999999999"), "bad_field"
    yield _update("quote", bidSize=10**30), "bad_field"
    yield _update("level2", orderBook=["1:1:1"] * 20_000), "bad_field"
    yield _update("level2", orderBook=["1:1:1:1:1:1"]), "bad_field"
    yield (
        _update("marketStatus", market="open", exchanges={f"exchange {n}": "o" * 20 for n in range(50_000)}),
        "record_too_large",
    )
    yield _update("quote", bidExchange="N" * 2_000_000), "record_too_large"
    yield json.dumps({"type": "x" * 1_000_000}), "unknown_message"


async def test_oversized_lines_are_dead_letters_and_their_neighbours_are_not(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Excessive depth, digits, names, rows, maps and sizes end in their account, and the feed continues."""
    lines = list(_hostile())
    async with Simulator() as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            for line, _ in lines:
                await simulator.inject(faults.Garbage(line=line))
            await eventually(lambda: bridge.accounts.lines_received == simulator.sent.lines, "all lines")
            assert bridge.client.reconnects == {}
    expected: dict[str, int] = {}
    for _, reason in lines:
        expected[reason] = expected.get(reason, 0) + 1
    assert dict(bridge.accounts.dead_lettered) == expected
    await prove(broker.bootstrap_servers, topic_prefix, bridge)
    letters = await read(broker.bootstrap_servers, topic_prefix, Topic.DLQ)
    assert all(len(one.record["raw"]) <= 512 * 1024 and len(one.record["error"]) < 1_000 for one in letters)


async def test_unknown_fields_have_a_bounded_number_of_labels(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Thousands of unknown fields fill neither the metrics nor the status."""
    async with Simulator() as simulator:
        async with serving(environment(simulator, broker.bootstrap_servers, topic_prefix)) as service:
            bridge = service.bridge
            await simulator.subscribed("AAPL", "MSFT")
            names = {f"made up {number} " + "x" * 500: 1 for number in range(5_000)}
            await simulator.inject(faults.Garbage(line=_update("quote", bidPrice="1", **names)))
            await eventually(lambda: bridge.ingest.unknown_fields, "the names")
            async with client(service) as http:
                metrics, status = (await http.get("/metrics")).text, await http.get("/status")
    labels = [line for line in metrics.splitlines() if line.startswith("aries_bridge_unknown_fields_total{")]
    assert 2 <= len(labels) <= 101
    assert max(map(len, labels)) < 200
    assert len(status.document["accounts"]["unknown_fields"]) == len(labels)
    assert len(status.text) < 100_000


async def test_requests_that_are_too_large_are_rejected(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Long lines, many or long headers and bodies end with a response or a close, and others are served."""
    requests = (
        b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: 1\r\n" % n for n in range(10_000)) + b"\r\n",
        b"\x16\x03\x01" + os.urandom(10_000),
        b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n" + b"x" * 1_000_000,
    )
    async with Simulator() as simulator:
        async with serving(environment(simulator, broker.bootstrap_servers, topic_prefix)) as service:
            async with client(service) as http:
                for request in requests:
                    assert (await _asked(service, request)).split()[1] in {b"400", b"405", b"431"}
                    assert (await http.get("/livez")).status == 200


async def _asked(service: Service, request: bytes) -> bytes:
    """Send bytes, and return the beginning of the response."""
    reader, writer = await _connected(service)
    async with asyncio.timeout(DEADLINE_SECONDS):
        writer.write(request)
        answer = await reader.readline()
    await _closed(writer)
    return answer


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):  # the other side was first
        await writer.wait_closed()


async def _connected(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(service.http.url or "")
    return await asyncio.open_connection(url.hostname, url.port)


async def test_idle_connections_do_not_block_others(broker: EmbeddedBroker, topics: None, topic_prefix: str) -> None:
    """The number of connections is bounded, the oldest are closed first: probes are answered."""
    async with Simulator() as simulator:
        async with serving(environment(simulator, broker.bootstrap_servers, topic_prefix)) as service:
            async with client(service) as http, AsyncExitStack() as idle:
                await http.becomes(200)
                held = []
                for number in range(3 * MAX_CONNECTIONS):
                    reader, writer = await _connected(service)
                    idle.push_async_callback(_closed, writer)
                    writer.write(b"GET /livez HTTP/1.1\r\nHost: " + b"x" * number)
                    held.append(reader)
                    if number % MAX_CONNECTIONS == 0:
                        assert (await http.get("/livez")).status == 200
                await eventually(lambda: sum(map(_is_open, held)) <= MAX_CONNECTIONS, "the oldest to be closed")
                assert (await http.get("/livez")).status == 200
                assert _is_open(held[-1])
                assert not _is_open(held[0])


async def _asked_again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a probe's request on an open connection, and return the status and length of the response."""
    writer.write(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    async with asyncio.timeout(DEADLINE_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        await reader.readexactly(int(length.split()[1]))
    return head.split()[1]


async def test_a_probe_keeps_its_connection_however_many_another_client_opens(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """The address with the most connections loses them, not the one that has sent a request."""
    async with Simulator() as simulator:
        async with serving(environment(simulator, broker.bootstrap_servers, topic_prefix)) as service:
            async with client(service) as http, AsyncExitStack() as idle:
                await http.becomes(200)
                probe = await _connected(service)
                idle.push_async_callback(_closed, probe[1])
                assert await _asked_again(*probe) == b"200"
                url = urlsplit(service.http.url or "")
                held = []
                for _ in range(3 * MAX_CONNECTIONS):
                    reader, writer = await asyncio.open_connection(url.hostname, url.port, local_addr=("127.0.0.2", 0))
                    idle.push_async_callback(_closed, writer)
                    held.append(reader)
                assert await _asked_again(*probe) == b"200"
                await eventually(lambda: sum(map(_is_open, held)) < MAX_CONNECTIONS, "idle ones to be closed")
                assert await _asked_again(*probe) == b"200"


async def test_requests_sent_byte_by_byte_are_closed(
    broker: EmbeddedBroker, topics: None, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection without a complete request is closed after seconds, whatever it sends meanwhile."""
    monkeypatch.setattr(connection_limit, "FIRST_REQUEST_SECONDS", 0.05)
    async with Simulator() as simulator:
        async with serving(environment(simulator, broker.bootstrap_servers, topic_prefix)) as service:
            async with client(service) as http, AsyncExitStack() as slow:
                await http.becomes(200)
                reader, writer = await _connected(service)
                slow.push_async_callback(_closed, writer)
                probe = await _connected(service)
                slow.push_async_callback(_closed, probe[1])
                assert await _asked_again(*probe) == b"200"
                writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ")

                def dribble() -> bool:
                    if _is_open(reader):
                        writer.write(b"y")
                    return not _is_open(reader)

                await eventually(dribble, "the slow one to be closed")
                assert await _asked_again(*probe) == b"200"


def _is_open(reader: asyncio.StreamReader) -> bool:
    return not reader.at_eof() and reader.exception() is None


@pytest.mark.parametrize("answer", [b"[" * 4_000_000, b'{"id":1' + b" " * 4_000_000 + b"}"])
async def test_an_endless_registry_response_is_not_read_to_the_end(answer: bytes) -> None:
    """A response larger than any schema is an error that says so."""
    async with FakeRegistry().serving() as server, Registry(server.url) as registry:
        server.answers.append(web.Response(body=answer))
        with pytest.raises(RegistryUnreachable, match="HTTP 200 with more than 2097152 bytes"):
            await registry.fetch(1)
