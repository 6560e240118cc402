"""Connections to a host with two addresses, the first of which swallows packets, and to two brokers likewise.

The timeout of a test is far below the two minutes after which Linux gives up an address.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from websockets.asyncio.client import ClientConnection

from bridge.aries.connect import close, connect
from bridge.kafka.aiokafka_internals import Client
from bridge.kafka.cluster import open_client
from bridge.kafka.consumer import open_consumer
from bridge.oauth.endpoint import TokenEndpoint, TokenRequest
from bridge.settings import Settings
from bridge.simulator.server import Simulator
from tests.network.conftest import TWO_ADDRESSES
from tests.support import black_hole
from tests.support.background import cancel_after
from tests.support.black_hole import black_hole as swallowing
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.timeout(20)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_the_address_that_answers_is_used(tls: bool) -> None:  # noqa: FBT001 - a parameter
    """With TLS, the certificate is still checked against the name."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(TWO_ADDRESSES).configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context if tls else None) as server:
        port = server.sockets[0].getsockname()[1]
        with swallowing(port=port):
            reader, writer = await asyncio.open_connection(TWO_ADDRESSES, port, ssl=trust if tls else None)
            assert await reader.read(5) == b"hello"
            writer.close()


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancellation_is_not_lost(steps: int) -> None:
    """A connection that is cancelled while one of its addresses has just answered ends as cancelled."""
    accepted = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        writer.close()

    async def connect(port: int) -> None:
        _, writer = await asyncio.open_connection(TWO_ADDRESSES, port)
        writer.transport.abort()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with swallowing(port=port):
            connecting = asyncio.create_task(connect(port))
            await accepted.wait()
            await cancel_after(connecting, steps)


async def test_the_feed() -> None:
    """A WebSocket is opened by the second address."""
    async with Simulator() as simulator:
        with swallowing(port=simulator.port):
            url = f"ws://{TWO_ADDRESSES}:{simulator.port}/v1/market/ws"
            await close(await connect(url, ClientConnection, 10))


async def test_a_token_endpoint() -> None:
    """A token is granted by the second address."""
    async with token_endpoint() as endpoint:
        port = int(endpoint.url.rpartition(":")[2].partition("/")[0])
        with swallowing(port=port):
            url = endpoint.url.replace("localhost", TWO_ADDRESSES).replace("127.0.0.1", TWO_ADDRESSES)
            grant = await TokenEndpoint(url, "ARIES_TOKEN_URL", {}).grant(TokenRequest({}))
    assert grant.access_token == "access-1"


async def test_a_broker(broker: EmbeddedBroker) -> None:
    """Metadata are requested by the second address."""
    port = int(broker.bootstrap_servers.rpartition(":")[2])
    with swallowing(port=port):
        async with open_client({"bootstrap_servers": f"{TWO_ADDRESSES}:{port}"}) as client:
            assert client.cluster.brokers()


@pytest.mark.parametrize("position", [0, 1])
async def test_a_bootstrap_server_that_swallows_packets(
    broker: EmbeddedBroker, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is asked soon, by the producer's client and by a consumer, in whatever order."""
    with swallowing() as port:
        servers = [broker.bootstrap_servers]
        servers.insert(position, f"{black_hole.HOST}:{port}")
        hosts = [(host, int(number), 0) for host, _, number in (server.rpartition(":") for server in servers)]
        monkeypatch.setattr(Client, "hosts", hosts)  # aiokafka shuffles them
        async with open_client({"bootstrap_servers": servers}) as client:
            assert client.cluster.brokers()
        async with open_consumer(Settings(kafka_bootstrap_servers=tuple(servers)), "test") as consumer:
            assert await consumer.topics() == set()
