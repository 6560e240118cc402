"""The socket does not open: HTTP responses, servers of other protocols, TLS, host names and ports."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
import trustme

from bridge.aries import connect
from bridge.errors import DisconnectCause
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from tests.check.results import authority_file, server_tls
from tests.faults.feed.scene import take_away_jitter
from tests.faults.proxy import BOTH, Proxy

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from pathlib import Path

    from tests.faults.feed.scene import Stage


@pytest.mark.parametrize(
    ("status", "retry_after", "cause", "words"),
    [
        (429, None, DisconnectCause.THROTTLED, "other clients use this account"),
        (429, 1, DisconnectCause.THROTTLED, "HTTP 429"),
        (500, None, DisconnectCause.HANDSHAKE, "The server failed"),
        (503, None, DisconnectCause.HANDSHAKE, "The server failed"),
        (503, 0, DisconnectCause.THROTTLED, "HTTP 503"),
        (404, None, DisconnectCause.HANDSHAKE, "the path of the other dialect is /v1/marketdata/ws"),
    ],
)
async def test_an_http_response_is_reported_and_retried(
    status: int, retry_after: int | None, cause: DisconnectCause, words: str, stage: Stage
) -> None:
    """An HTTP response instead of a WebSocket is reported with a hint, and retried after Retry-After."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.Http(status=status, retry_after=retry_after, times=1))
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
        [lost] = scene.losses
        assert lost["cause"] is cause
        assert words in lost["reason"]
        assert lost["retry_seconds"] >= (retry_after or 0)
    await scene.proof()


async def test_retry_after_may_be_a_date(stage: Stage) -> None:
    """A date is compared with the server's clock, so the bridge's may be wrong."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.Http(status=429, retry_after=formatdate(time.time() + 1, usegmt=True), times=1))
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            assert scene.bridge.client.last_loss is not None
            assert scene.bridge.client.last_loss.retry_after_seconds in {0, 1}
        assert scene.causes == [DisconnectCause.THROTTLED]
    await scene.proof()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_forbidden_handshake_is_not_a_rejected_token(status: int, stage: Stage) -> None:
    """No token was sent yet: it is retried slowly for ever, although the token is fixed."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.Http(status=status, times=4))
        async with stage.bridge(simulator, ARIES_BACKOFF_MIN_SECONDS="0.01") as scene:
            take_away_jitter(scene.bridge)
            await scene.flows(sessions=1)
        assert scene.causes == [DisconnectCause.AUTH_REFUSED] * 4
        assert [line["retry_seconds"] for line in scene.losses] == [0.04, 0.08, 0.16, 0.32]
        assert "rejects this machine's address" in scene.losses[0]["reason"]
    await scene.proof()


async def test_a_redirect_is_not_followed(stage: Stage) -> None:
    """The token is sent to the configured server only, whatever that server responds."""
    async with Simulator(dialect="envelope") as elsewhere, Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.Http(status=302, location=elsewhere.url, times=2))
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
        assert scene.causes == [DisconnectCause.HANDSHAKE] * 2
        assert "Redirects are not followed" in scene.losses[0]["reason"]
        assert not elsewhere.received
        with pytest.raises(TimeoutError):
            await elsewhere.connected(timeout_seconds=0)
    await scene.proof()


@pytest.mark.parametrize(
    ("answer", "cause", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", DisconnectCause.HANDSHAKE, "HTTP 200"),
        (b"220 mail.example ESMTP\r\n", DisconnectCause.HANDSHAKE, "is not a WebSocket server"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
            DisconnectCause.HANDSHAKE,
            "is not a WebSocket server",
        ),
        (b"\x15\x03\x01\x00\x02\x02\x46", DisconnectCause.HANDSHAKE, "is not a WebSocket server"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 100_000, DisconnectCause.HANDSHAKE, "is not a WebSocket server"),
        (b"", DisconnectCause.HANDSHAKE, "is not a WebSocket server"),
    ],
    ids=["plain HTTP", "mail", "half an upgrade", "TLS", "endless header", "nothing"],
)
async def test_a_server_of_another_protocol(answer: bytes, cause: DisconnectCause, words: str, stage: Stage) -> None:
    """A server that is no WebSocket server is reported as such, and retried."""
    async with await _server(answer) as server, Simulator(dialect="envelope") as simulator:
        async with Proxy(server.sockets[0].getsockname()[1]) as proxy:
            async with stage.bridge(simulator, proxy.instead_of(simulator.url)) as scene:
                await scene.loses(2)
                proxy.lead_to(simulator.port)
                await scene.flows(sessions=1)
        assert set(scene.causes) == {cause}
        assert words in scene.losses[0]["reason"]
    await scene.proof()


@pytest.mark.parametrize("fault", ["slow server", "black hole"])
async def test_a_server_that_never_answers_the_handshake(
    fault: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake has a deadline, whether the server or the network swallows it."""
    monkeypatch.setattr(connect, "OPEN_TIMEOUT_SECONDS", 0.3)
    async with Simulator(dialect="envelope") as simulator, Proxy(simulator.port) as proxy:
        if fault == "black hole":
            proxy.black_hole(*BOTH)
        else:
            await simulator.inject(faults.SlowAccept(delay_seconds=30, times=2))
        async with stage.bridge(simulator, proxy.instead_of(simulator.url)) as scene:
            await scene.loses(2)
            proxy.heal()
            await scene.flows(sessions=1)
        assert set(scene.causes) == {DisconnectCause.NETWORK}
        assert "did not answer within 0.3 s" in scene.losses[0]["reason"]
    await scene.proof()


@pytest.mark.parametrize("fault", ["unknown authority", "other name", "expired", "not yet valid", "no TLS"])
async def test_a_server_whose_certificate_is_invalid(
    fault: str, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bridge sends nothing to it, reports the reason with a hint, and connects once the certificate is valid."""
    known, now = trustme.CA(), datetime.now(UTC)
    monkeypatch.setenv("SSL_CERT_FILE", authority_file(known, tmp_path))
    bad, words = {
        "unknown authority": (server_tls(trustme.CA()), "set ARIES_SSL_CAFILE to that authority's PEM file"),
        "other name": (
            server_tls(known, "other.example"),
            "Put the name that the certificate was issued for into ARIES_WS",
        ),
        "expired": (server_tls(known, until=now - timedelta(hours=1)), "Have it renewed by the server's operator"),
        "not yet valid": (server_tls(known, from_=now + timedelta(hours=1)), "Check this machine's clock"),
        "no TLS": (None, "the port may speak no TLS"),
    }[fault]
    async with Simulator(dialect="envelope", ssl=server_tls(known)) as good:
        async with Simulator(dialect="envelope", ssl=bad) as simulator, Proxy(simulator.port) as proxy:
            async with stage.bridge(good, proxy.instead_of(good.url)) as scene:
                await scene.loses(2)
                assert not simulator.received
                proxy.lead_to(good.port)
                await scene.flows(sessions=1)
        assert set(scene.causes) == {DisconnectCause.NETWORK}
        assert words in scene.losses[0]["reason"]
    await scene.proof()


async def test_a_name_without_an_address(stage: Stage) -> None:
    """A host name that the DNS cannot resolve is reported with the name, and resolved again at each attempt."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator, "ws://aries.invalid/v1/market/ws") as scene:
            await scene.loses(3)
        assert set(scene.causes) == {DisconnectCause.NETWORK}
        assert "aries.invalid cannot be reached" in scene.losses[0]["reason"]
    await scene.proof()


async def test_a_refused_connection_is_retried(stage: Stage) -> None:
    """A port without a listener is retried until there is one."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))  # and not listening
    simulator = Simulator(dialect="envelope", port=taken.getsockname()[1])
    async with AsyncExitStack() as later:
        async with stage.bridge(simulator) as scene:
            with taken:
                await scene.loses(2)
            await later.enter_async_context(simulator)
            await scene.flows(sessions=1)
        assert set(scene.causes) == {DisconnectCause.NETWORK}
        assert f"127.0.0.1:{simulator.port} cannot be reached" in scene.losses[0]["reason"]
    await scene.proof()


async def _server(answer: bytes) -> asyncio.Server:
    async def say(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError):  # the client may be gone
            await reader.readline()
            writer.write(answer)
            writer.close()
            await writer.wait_closed()
        writer.transport.abort()

    return await asyncio.start_server(say, "127.0.0.1", 0)
