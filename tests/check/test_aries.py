"""The Aries side is checked against the simulator: a session like the bridge's, and its failures."""

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
from tests.check.results import NO_KAFKA, Results, authority_file, run_preflight, server_tls
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def environ(url: str, **more: str) -> dict[str, str]:
    return {"ARIES_WS_URL": url, "ARIES_ACCESS_TOKEN": "a-good-token", "ARIES_SYMBOLS": "AAPL,MSFT", **NO_KAFKA, **more}


@pytest.mark.parametrize("dialect", ["action", "envelope"])
async def test_a_session_with_one_subscription(dialect: Any) -> None:
    """One symbol is subscribed to, its data come, and it is unsubscribed from."""
    async with Simulator(dialect=dialect) as simulator:
        results = await run_preflight(environ(simulator.url))
        await simulator.requested(Unsubscribe)
        await simulator.disconnected()

        requests = [received.request for received in simulator.received]
    results.expect(aries.CONNECTION, Status.OK, PATHS[dialect], dialect)
    results.expect("Aries authentication", Status.OK, "accepted")
    results.expect("Aries subscription", Status.OK, "data of AAPL came in")
    results.expect("Clock", Status.OK, "agrees")
    assert "MSFT" not in str(requests)


async def test_without_a_session_nothing_is_sent() -> None:
    """The connection is opened and closed; no token is sent."""
    async with Simulator() as simulator:
        results = await run_preflight(environ(simulator.url), session=False)

        assert not simulator.received_counts
    results.expect(aries.CONNECTION, Status.OK)
    results.expect("Aries authentication", Status.OK, "not tried")
    results.expect("Aries token", Status.OK)
    assert "Aries subscription" not in results


async def test_without_a_session_a_refresh_token_is_not_used() -> None:
    """The token endpoint is connected to without a request: a refresh token may be valid only once."""
    async with Simulator() as simulator, token_endpoint() as endpoint:
        grant = {"ARIES_REFRESH_TOKEN": "refresh-me", "ARIES_CLIENT_ID": "me", "ARIES_TOKEN_URL": endpoint.url}
        settings = environ(simulator.url, ARIES_ACCESS_TOKEN="", **grant)
        results = await run_preflight(settings, session=False)
        assert not endpoint.received
        await run_preflight(settings)
        assert len(endpoint.received) == 1

    results.expect(aries.TOKEN_ENDPOINT, Status.OK, "accepts connections")
    results.expect("Aries token", Status.OK, "not requested")


async def test_the_other_path_is_suggested_after_404() -> None:
    """HTTP 404 is most likely the other dialect's path; the clock is compared nevertheless."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.Http(status=404))
        results = await run_preflight(environ(simulator.url_for("action")))

    results.expect(aries.CONNECTION, Status.FAIL, "HTTP 404", "ARIES_WS_URL", "/v1/market/ws", "does not work either")
    results.expect("Clock", Status.OK, "agrees")
    results.expect("Aries token", Status.OK)
    assert "Aries authentication" not in results


@pytest.mark.parametrize(("dialect", "other"), [("action", "envelope"), ("envelope", "action")])
async def test_the_other_path_is_tried_after_404(dialect: str, other: str) -> None:
    """If it answers, it is the one to use; no token is sent to it."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.Http(status=404, path=PATHS[dialect]))
        results = await run_preflight(environ(simulator.url_for(dialect)))
        await simulator.disconnected()
        assert not simulator.received_counts

    results.expect(aries.CONNECTION, Status.FAIL, f"HTTP 404 for {PATHS[dialect]}", f"{PATHS[other]}, answers: use it")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.RefuseAuth(error="too many connections"), ("too many connections", "stop another client")),
        (faults.RefuseAuth(error="under maintenance"), ("under maintenance", "not available for now")),
    ],
)
async def test_a_session_refused_for_another_reason_than_the_token(fault: faults.Fault, words: tuple[str, ...]) -> None:
    """The hint is about that reason."""
    async with Simulator() as simulator:
        await simulator.inject(fault)
        results = await run_preflight(environ(simulator.url))
    results.expect("Aries authentication", Status.FAIL, *words)
    assert "ARIES_ACCESS_TOKEN" not in str(results)


async def test_an_account_without_room_for_a_symbol() -> None:
    """The server's words are shown."""
    async with Simulator() as simulator:
        await simulator.inject(faults.SymbolLimit(symbols=0))
        results = await run_preflight(environ(simulator.url))
    results.expect("Aries subscription", Status.FAIL, "Aries rejected AAPL: maximum number of symbols exceeded")


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "this machine's address"), (429, "other clients"), (503, "try again later"), (410, "ARIES_WS_URL")],
)
async def test_rejected_handshakes(status: int, words: str) -> None:
    """Each status has its own hint."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.Http(status=status))
        results = await run_preflight(environ(simulator.url))

    results.expect(aries.CONNECTION, Status.FAIL, f"HTTP {status}", words)


async def test_a_rejected_token() -> None:
    """The answer of Aries is reported with the settings of the token, but not the token."""
    async with Simulator(tokens=["another-token"]) as simulator:
        results = await run_preflight(environ(simulator.url))

    results.expect("Aries authentication", Status.FAIL, "authentication failed", "ARIES_ACCESS_TOKEN", "ARIES_API_KEY")
    assert "Aries subscription" not in results
    assert "a-good-token" not in str(results.all)


async def test_a_server_that_repeats_the_token() -> None:
    """A token in the answer is redacted."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.RefuseAuth(error="a-good-token is not good"))
        results = await run_preflight(environ(simulator.url))

    results.expect("Aries authentication", Status.FAIL, "*** is not good")


@pytest.mark.parametrize("fault", [faults.IgnoreAuth(), faults.Silence()])
async def test_a_silent_server(fault: faults.Fault) -> None:
    """Without an answer the check ends at its timeout."""
    async with Simulator() as simulator:
        simulator.inject_nowait(fault)
        results = await run_preflight(environ(simulator.url), answer_timeout_seconds=0.3)

    results.expect("Aries authentication", Status.FAIL, "no answer within 0.3 s", "ARIES_DIALECT")


async def test_a_rejected_symbol() -> None:
    """The symbol and the server's answer are reported."""
    async with Simulator(symbols=["MSFT"]) as simulator:
        results = await run_preflight(environ(simulator.url))

    results.expect("Aries subscription", Status.FAIL, "AAPL", "unknown symbol", "ARIES_SYMBOLS")


async def test_a_server_that_acknowledges_nothing() -> None:
    """An answer to a subscription is not documented, so none is required."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.NoAcks())
        results = await run_preflight(environ(simulator.url))

    results.expect("Aries subscription", Status.OK, "data of AAPL came in")


async def test_an_eviction() -> None:
    """If another session takes over, the hint is to check without a session."""
    async with Simulator() as simulator:
        simulator.active_faults.add(faults.IgnoreAuth())
        looking = asyncio.create_task(run_preflight(environ(simulator.url)))
        await simulator.requested(Authenticate)
        await simulator.inject(faults.Close(code=1008, reason="session replaced by another connection"))
        results = await looking

    results.expect("Aries authentication", Status.FAIL, "session replaced", "--no-session")


async def test_a_missing_api_key_file(tmp_path: Path) -> None:
    """A file that was removed after the settings were read is reported with its setting."""
    file = tmp_path / "key"
    file.write_text("an-api-key")
    results = Results()
    async with Simulator(dialect="action") as simulator:
        settings = load(environ(simulator.url, ARIES_API_KEY_FILE=str(file)))
        file.unlink()
        await aries.check_aries(results.report, settings, lambda _: None, 5, session=True)

    results.expect("Aries authentication", Status.FAIL, "ARIES_API_KEY_FILE")


async def test_a_certificate_that_expires_soon(tmp_path: Path) -> None:
    """Less than 14 days left is a warning with the date, and the session is still checked."""
    authority = trustme.CA()
    trust = {"ARIES_SSL_CAFILE": authority_file(authority, tmp_path)}
    until = datetime.now(UTC) + timedelta(days=3.2)
    async with Simulator(ssl=server_tls(authority, until=until)) as simulator:
        results = await run_preflight(environ(simulator.url, **trust))

    results.expect(aries.TLS, Status.WARN, "expires in 3 days", f"{until:%Y-%m-%d}", "renewed")
    results.expect("Aries subscription", Status.OK)


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        ("127.0.0.1", (-9, -1), ("expired", "renewed")),
        ("127.0.0.1", (2, 9), ("not yet valid", "clock")),
        ("elsewhere", (-1, 99), ("not valid for", "ARIES_WS_URL")),
    ],
)
async def test_certificates_that_are_not_accepted(
    name: str, days: tuple[int, int], words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reason has its own hint."""
    authority = trustme.CA()
    monkeypatch.setenv("SSL_CERT_FILE", authority_file(authority, tmp_path))
    from_, until = (datetime.now(UTC) + timedelta(days=number) for number in days)
    async with Simulator(ssl=server_tls(authority, name, from_=from_, until=until)) as simulator:
        results = await run_preflight(environ(simulator.url))

    results.expect(aries.CONNECTION, Status.FAIL, "is not accepted", *words)


async def test_a_certificate_of_an_unknown_authority() -> None:
    """The hint names the setting for it."""
    async with Simulator(ssl=server_tls(trustme.CA())) as simulator:
        results = await run_preflight(environ(simulator.url))

    results.expect(aries.CONNECTION, Status.FAIL, "is not accepted", "ARIES_SSL_CAFILE")
    results.expect("Clock", Status.OK, "not measured")
    assert aries.TLS not in results


@asynccontextmanager
async def plain_http() -> AsyncIterator[str]:
    """Run a server that is neither a WebSocket nor an HTTP server."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/market/ws"


async def test_a_server_of_another_kind() -> None:
    """A server that does not use WebSocket is reported as such."""
    async with plain_http() as url:
        results = await run_preflight(environ(url))

    results.expect(aries.CONNECTION, Status.FAIL, "is not a WebSocket server", "ARIES_WS_URL")


async def test_a_port_without_a_server() -> None:
    """A refused connection is reported with what may prevent it."""
    results = await run_preflight(environ("ws://127.0.0.1:1/v1/market/ws"))

    results.expect(aries.CONNECTION, Status.FAIL, "127.0.0.1:1 cannot be reached", "ARIES_WS_URL", "firewalls")


async def test_an_impossible_host_name() -> None:
    """A name that the DNS cannot resolve is a failure, and the hint names the DNS."""
    results = await run_preflight(environ(f"ws://{'x' * 70}/v1/market/ws"))

    results.expect(aries.CONNECTION, Status.FAIL, "x" * 70, "ARIES_WS_URL", "DNS")


async def test_a_port_that_does_not_use_tls() -> None:
    """A server that does not answer TLS is reported at the timeout."""
    async with Simulator() as simulator:
        url = simulator.url.replace("ws://", "wss://")
        results = await run_preflight(environ(url), answer_timeout_seconds=0.5)

    results.expect(aries.CONNECTION, Status.FAIL, "may speak no TLS", "ARIES_WS_URL")


async def test_clock_skew_is_measured_by_the_handshake() -> None:
    """The Date header of the handshake's response is compared with this machine's clock."""

    async def nothing(_: object) -> None:
        """Close at once."""

    def from_tomorrow(_connection: object, _request: object, response: Any) -> Any:
        del response.headers["Date"]
        response.headers["Date"] = formatdate(datetime.now(UTC).timestamp() + 86_400, usegmt=True)
        return response

    async with serve(nothing, "127.0.0.1", 0, process_response=from_tomorrow) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        results = await run_preflight(environ(f"ws://127.0.0.1:{port}/v1/market/ws"), session=False)

    results.expect("Clock", Status.FAIL, "24 h behind", "NTP")


async def test_an_unreachable_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint names the proxy and its variable, without its password."""
    monkeypatch.setenv("http_proxy", "http://user:secret-word@127.0.0.1:1")
    results = await run_preflight(environ("ws://aries.example/v1/market/ws"))

    results.expect(aries.CONNECTION, Status.FAIL, "the proxy 127.0.0.1:1", "HTTP_PROXY", "NO_PROXY")
    assert "secret-word" not in str(results.all)


async def test_an_invalid_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy with an unknown scheme is an invalid setting, reported with its variable."""
    monkeypatch.setenv("https_proxy", "gopher://user:secret-word@127.0.0.1:1")
    results = await run_preflight(environ("wss://aries.example/v1/market/ws"))

    results.expect("Settings", Status.FAIL, "ARIES_WS_URL", "HTTPS_PROXY", "gopher://")
    assert aries.CONNECTION not in results
    assert "secret-word" not in str(results.all)


async def test_the_subscription_is_of_the_first_symbol_in_force() -> None:
    """Symbols of ARIES_SUBSCRIPTIONS count like those of ARIES_SYMBOLS."""
    async with Simulator() as simulator:
        settings = environ(
            simulator.url, ARIES_SYMBOLS="", ARIES_SUBSCRIPTIONS='[{"symbol":"SPX","events":["trades"]}]'
        )
        results = await run_preflight(settings)
        requests = await simulator.requested(Subscribe)

    results.expect("Aries subscription", Status.OK, "SPX")
    assert len(requests) == 1
