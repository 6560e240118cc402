"""The Aries side against the simulator: a session like the bridge's, and every way in which it can fail."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from websockets.asyncio.server import serve

from bridge.check import aries
from bridge.check.report import Status
from bridge.settings import load
from bridge.simulator import faults
from bridge.simulator.requests import Authenticate, Subscribe, Unsubscribe
from bridge.simulator.server import Simulator
from bridge.simulator.server_dialect import PATHS
from tests.check.findings import NO_KAFKA, Findings, authority_file, found, server_tls
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def environ(url: str, **more: str) -> dict[str, str]:
    return {"ARIES_WS_URL": url, "ARIES_ACCESS_TOKEN": "a-good-token", "ARIES_SYMBOLS": "AAPL,MSFT", **NO_KAFKA, **more}


@pytest.mark.parametrize("dialect", ["action", "envelope"])
async def test_a_session_with_one_subscription_that_is_taken_back(dialect: Any) -> None:
    """One symbol is asked for, its data are seen, and nothing is left behind."""
    async with Simulator(dialect=dialect) as simulator:
        findings = await found(environ(simulator.url))
        await simulator.requested(Unsubscribe)
        await simulator.disconnected()

        asked = [received.request for received in simulator.received]
    findings.must("Aries handshake", Status.OK, PATHS[dialect], dialect)
    findings.must("Aries authentication", Status.OK, "accepted")
    findings.must("Aries subscription", Status.OK, "data of AAPL came in")
    findings.must("Clock", Status.OK, "agrees")
    assert "MSFT" not in str(asked)


async def test_without_a_session_aries_is_shown_nothing() -> None:
    """The socket is opened and closed; no token goes out."""
    async with Simulator() as simulator:
        findings = await found(environ(simulator.url), session=False)

        assert not simulator.received_counts
    findings.must("Aries handshake", Status.OK)
    findings.must("Aries authentication", Status.OK, "not tried")
    findings.must("Aries token", Status.OK)
    assert "Aries subscription" not in findings


async def test_without_a_session_a_refresh_token_is_left_alone() -> None:
    """The token endpoint is reached, but not asked: a refresh token may be good only once."""
    async with Simulator() as simulator, token_endpoint() as endpoint:
        grant = {"ARIES_REFRESH_TOKEN": "refresh-me", "ARIES_CLIENT_ID": "me", "ARIES_TOKEN_URL": endpoint.url}
        settings = environ(simulator.url, ARIES_ACCESS_TOKEN="", **grant)
        findings = await found(settings, session=False)
        assert not endpoint.received
        await found(settings)
        assert len(endpoint.received) == 1

    findings.must("Token endpoint TCP", Status.OK)
    findings.must("Aries token", Status.OK, "not asked for")


async def test_the_other_path_is_named_where_this_one_is_not_there() -> None:
    """HTTP 404 is most likely the other dialect's path; the clock is compared even so."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.Http(status=404))
        findings = await found(environ(simulator.url_for("action")))

    findings.must("Aries handshake", Status.FAIL, "HTTP 404", "ARIES_WS_URL", "/v1/market/ws")
    findings.must("Clock", Status.OK, "agrees")
    findings.must("Aries token", Status.OK)
    assert "Aries authentication" not in findings


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "our address"), (429, "other clients"), (503, "try again later"), (410, "ARIES_WS_URL")],
)
async def test_refused_handshakes(status: int, words: str) -> None:
    """Each kind of refusal has its own remedy."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.Http(status=status))
        findings = await found(environ(simulator.url))

    findings.must("Aries handshake", Status.FAIL, f"HTTP {status}", words)


async def test_a_refused_token() -> None:
    """What Aries says is told, with the settings that hold the token, and never the token."""
    async with Simulator(tokens=["another-token"]) as simulator:
        findings = await found(environ(simulator.url))

    findings.must("Aries authentication", Status.FAIL, "authentication failed", "ARIES_ACCESS_TOKEN", "ARIES_API_KEY")
    assert "Aries subscription" not in findings
    assert "a-good-token" not in str(findings.all)


async def test_a_server_that_repeats_the_token() -> None:
    """An answer with the token in it is told without it."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.RefuseAuth(error="a-good-token is not good"))
        findings = await found(environ(simulator.url))

    findings.must("Aries authentication", Status.FAIL, "*** is not good")


@pytest.mark.parametrize("fault", [faults.IgnoreAuth(), faults.Silence()])
async def test_a_silent_server(fault: faults.Fault) -> None:
    """Without an answer the check ends within its deadline."""
    async with Simulator() as simulator:
        await simulator.inject(fault)
        findings = await found(environ(simulator.url), patience_seconds=0.3)

    findings.must("Aries authentication", Status.FAIL, "no answer within 0.3 s", "ARIES_DIALECT")


async def test_a_refused_symbol() -> None:
    """The symbol and the server's words are told."""
    async with Simulator(symbols=["MSFT"]) as simulator:
        findings = await found(environ(simulator.url))

    findings.must("Aries subscription", Status.FAIL, "AAPL", "unknown symbol", "ARIES_SYMBOLS")


async def test_a_server_that_acknowledges_nothing() -> None:
    """An answer to a subscription is not documented: without one there is nothing wrong."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.NoAcks())
        findings = await found(environ(simulator.url))

    findings.must("Aries subscription", Status.OK, "data of AAPL came in")


async def test_an_eviction_is_told_as_one() -> None:
    """Where another session takes over, the remedy is to check without a session."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.IgnoreAuth())
        looking = asyncio.create_task(found(environ(simulator.url)))
        await simulator.requested(Authenticate)
        await simulator.inject(faults.Close(code=1008, reason="session replaced by another connection"))
        findings = await looking

    findings.must("Aries authentication", Status.FAIL, "session replaced", "--no-session")


async def test_an_api_key_whose_file_is_gone(tmp_path: Path) -> None:
    """A key that the dialect needs and that vanished since the settings were read is told by its setting."""
    file = tmp_path / "key"
    file.write_text("an-api-key")
    findings = Findings()
    async with Simulator(dialect="action") as simulator:
        settings = load(environ(simulator.url, ARIES_API_KEY_FILE=str(file)))
        file.unlink()
        await aries.check(findings.report, settings, lambda _: None, session=True, patience_seconds=5)

    findings.must("Aries authentication", Status.FAIL, "ARIES_API_KEY_FILE")


async def test_a_certificate_that_lapses_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed's own certificate is looked at, and the session still held."""
    authority = trustme.CA()
    monkeypatch.setenv("SSL_CERT_FILE", authority_file(authority, tmp_path))
    until = datetime.now(UTC) + timedelta(days=3.2)
    async with Simulator(ssl=server_tls(authority, until=until)) as simulator:
        findings = await found(environ(simulator.url))

    findings.must("Aries TLS", Status.WARN, "lapses in 3 days", "renewed")
    findings.must("Aries subscription", Status.OK)


async def test_a_certificate_that_nobody_vouches_for() -> None:
    """The remedy names the variable that OpenSSL reads."""
    async with Simulator(ssl=server_tls(trustme.CA())) as simulator:
        findings = await found(environ(simulator.url))

    findings.must("Aries TLS", Status.FAIL, "is not accepted", "SSL_CERT_FILE")
    findings.must("Clock", Status.OK, "not measured")
    assert "Aries handshake" not in findings


@asynccontextmanager
async def plain_http() -> AsyncIterator[str]:
    """Run a server that is no WebSocket server, and no good HTTP server either."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/market/ws"


async def test_a_server_of_another_kind() -> None:
    """What speaks no WebSocket is told as such."""
    async with plain_http() as url:
        findings = await found(environ(url))

    findings.must("Aries handshake", Status.FAIL, "speaks no WebSocket", "ARIES_WS_URL")


async def test_a_clock_that_is_off_is_seen_by_the_handshake() -> None:
    """The Date of the handshake's answer is compared with our clock."""

    async def nothing(_: object) -> None:
        """Close at once."""

    def from_tomorrow(_connection: object, _request: object, response: Any) -> Any:
        del response.headers["Date"]
        response.headers["Date"] = formatdate(datetime.now(UTC).timestamp() + 86_400, usegmt=True)
        return response

    async with serve(nothing, "127.0.0.1", 0, process_response=from_tomorrow) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        findings = await found(environ(f"ws://127.0.0.1:{port}/v1/market/ws"), session=False)

    findings.must("Clock", Status.FAIL, "24 h behind", "NTP")


async def test_a_proxy_of_the_environment_is_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a proxy is named, it is the proxy that has to be reached."""
    monkeypatch.setenv("http_proxy", "http://user:secret-word@127.0.0.1:1")
    findings = await found(environ("ws://aries.example/v1/market/ws"))

    findings.must("Aries proxy TCP", Status.FAIL, "127.0.0.1:1", "HTTPS_PROXY")
    assert "Aries DNS" not in findings
    assert "secret-word" not in str(findings.all)


async def test_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of no known kind is told by its variable."""
    monkeypatch.setenv("http_proxy", "gopher://user:secret-word@127.0.0.1:1")
    findings = await found(environ("ws://aries.example/v1/market/ws"))

    findings.must("Aries proxy", Status.FAIL, "HTTPS_PROXY")
    assert "secret-word" not in str(findings.all)


async def test_the_subscription_is_of_the_first_symbol_in_force() -> None:
    """Subscriptions of their own kind count like ARIES_SYMBOLS."""
    async with Simulator() as simulator:
        settings = environ(
            simulator.url, ARIES_SYMBOLS="", ARIES_SUBSCRIPTIONS='[{"symbol":"SPX","events":["trades"]}]'
        )
        findings = await found(settings)
        requests = await simulator.requested(Subscribe)

    findings.must("Aries subscription", Status.OK, "SPX")
    assert len(requests) == 1
