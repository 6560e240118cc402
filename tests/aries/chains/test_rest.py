"""Requests for option chains on real sockets: pages, tokens, and every way in which an answer can be wrong."""

from __future__ import annotations

import socket
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest
import trustme

from bridge.aries.access_token import FixedToken, RefreshingToken
from bridge.aries.chains import answers
from bridge.aries.chains.rest import ChainEndpoints
from bridge.errors import ChainFailure, ChainUnavailable
from bridge.secrets.secret import Secret
from bridge.simulator.accepted_tokens import AcceptedTokens
from bridge.simulator.faults import ChainAnswer
from bridge.simulator.server import Simulator
from bridge.simulator.token_endpoint import TokenEndpointServer
from tests.support.authorities import authority_file, server_tls
from tests.support.http_proxy import http_proxy

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.aries.access_token import TokenSource

NOW_MS = int(datetime(2026, 11, 27, 15, tzinfo=UTC).timestamp() * 1000)
TOKEN = "secret-token"
CALL, PUT = "AAPL261218C00150000", "AAPL261218P00150000"


def simulator(*tokens: str) -> Simulator:
    return Simulator(clock=lambda: NOW_MS, tokens=tokens)


def endpoints(server: Simulator, tokens: TokenSource | None = None, timeout_seconds: float = 10) -> ChainEndpoints:
    fixed = FixedToken(Secret.fixed("ARIES_ACCESS_TOKEN", TOKEN))
    return ChainEndpoints(server.api_url, tokens or fixed, timeout_seconds=timeout_seconds)


async def failure(endpoint: ChainEndpoints) -> ChainUnavailable:
    """Return the error of a request."""
    with pytest.raises(ChainUnavailable) as raised:
        await endpoint.listing("AAPL")
    assert TOKEN not in str(raised.value)
    return raised.value


async def test_all_pages() -> None:
    """All pages of a chain are one listing, with the price of the underlying, whatever host the next page names."""
    async with simulator() as server:
        await server.inject(ChainAnswer(next_host="http://localhost:9"))
        await server.trade("AAPL", lastPrice="150.25")
        listing = await endpoints(server).listing("AAPL")
        assert {contract.symbol for contract in listing.contracts} == {
            option.symbol for option in server.chains.listed("AAPL")
        }
        assert listing.price == 150.25
        assert len(server.chain_endpoint.requests) > 1


async def test_expirations() -> None:
    """Explicit expirations are requested one by one; one that has no contracts has none."""
    async with simulator() as server:
        server.chains.list_only("AAPL", [CALL, PUT, "AAPL270115C00150000"])
        listing = await endpoints(server).listing("AAPL", (date(2026, 12, 18), date(2026, 12, 25)))
        assert [contract.symbol for contract in listing.contracts] == [CALL, PUT]
        assert await endpoints(server).price("AAPL") == server.chains.price("AAPL")


@pytest.mark.parametrize(
    ("fault", "expected", "text"),
    [
        (ChainAnswer(status=403), ChainFailure.SCOPE, "options:information"),
        (ChainAnswer(status=429, retry_after=7), ChainFailure.BUSY, "asks to wait 7 s"),
        (ChainAnswer(status=503), ChainFailure.BUSY, "is busy"),
        (ChainAnswer(status=404), ChainFailure.NOT_FOUND, "Check the underlying"),
        (ChainAnswer(status=302), ChainFailure.ANSWER, "a token follows no redirect"),
        (ChainAnswer(status=500, html=True), ChainFailure.SERVER, "failed (HTTP 500)"),
        (ChainAnswer(html=True), ChainFailure.ANSWER, "not JSON"),
        (ChainAnswer(half="text"), ChainFailure.ANSWER, "a part of it"),
        (ChainAnswer(half="bytes"), ChainFailure.ANSWER, "only a part of its answer"),
    ],
)
async def test_wrong_answers(fault: ChainAnswer, expected: ChainFailure, text: str) -> None:
    """Each has its own kind, and says what happened and what to do."""
    async with simulator() as server:
        await server.inject(fault)
        error = await failure(endpoints(server))
        assert error.failure is expected
        assert text in str(error)
        assert error.retry_after_seconds == (7 if fault.retry_after else None)


async def test_slow_answer() -> None:
    """An answer that does not come in time is none."""
    async with simulator() as server:
        await server.inject(ChainAnswer(delay_seconds=600))
        error = await failure(endpoints(server, timeout_seconds=0.1))
        assert error.failure is ChainFailure.TIMEOUT


async def test_pages_that_come_too_slowly() -> None:
    """All pages together have a deadline."""
    async with simulator() as server:
        await server.inject(ChainAnswer(delay_seconds=600))
        fixed = FixedToken(Secret.fixed("ARIES_ACCESS_TOKEN", TOKEN))
        error = await failure(ChainEndpoints(server.api_url, fixed, deadline_seconds=0.1))
        assert error.failure is ChainFailure.TIMEOUT


async def test_nobody_listens() -> None:
    """A refused connection names the setting."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        fixed = FixedToken(Secret.fixed("ARIES_ACCESS_TOKEN", TOKEN))
        error = await failure(ChainEndpoints(f"http://127.0.0.1:{unused.getsockname()[1]}", fixed))
    assert error.failure is ChainFailure.NETWORK
    assert "ARIES_API_URL" in str(error)


async def test_a_bound_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers, pages and contracts are bounded; a chain beyond the bounds is not used in part."""
    async with simulator() as server:
        for name, value in (("MAX_ANSWER_BYTES", 100), ("MAX_PAGES", 1), ("MAX_CONTRACTS", 10)):
            with monkeypatch.context() as patched:
                patched.setattr(answers, name, value)
                assert (await failure(endpoints(server))).failure is ChainFailure.ANSWER


async def test_no_contracts() -> None:
    """An empty chain is an error, as it would end all subscriptions."""
    async with simulator() as server:
        server.chains.list_only("AAPL", [])
        assert (await failure(endpoints(server))).failure is ChainFailure.NOT_FOUND


async def test_a_rejected_token_is_renewed_once() -> None:
    """A token that the endpoint rejects is renewed; if that one is rejected, too, no other is requested for it."""
    tokens = AcceptedTokens()
    async with (
        TokenEndpointServer(tokens, clock=lambda: NOW_MS) as oauth,
        Simulator(tokens=tokens, clock=lambda: NOW_MS) as server,
    ):
        source = RefreshingToken(
            url=oauth.url,
            client_id=oauth.client_id,
            refresh_token=Secret.fixed("ARIES_REFRESH_TOKEN", oauth.refresh_token),
            client_secret=Secret.fixed("ARIES_CLIENT_SECRET", oauth.client_secret),
            steady_clock=lambda: 100.0 * oauth.request_count,  # each is old enough
        )
        endpoint = endpoints(server, source)
        await endpoint.listing("AAPL")
        tokens.reject(*oauth.issued)
        await endpoint.listing("AAPL")
        assert oauth.request_count == 2
        await server.inject(ChainAnswer(status=401))
        for _ in range(3):
            assert (await failure(endpoint)).failure is ChainFailure.TOKEN
        assert oauth.request_count == 3


async def test_a_fixed_token_that_is_rejected(tmp_path: Path) -> None:
    """It cannot be renewed; one in a file is read again."""
    async with simulator("good") as server:
        error = await failure(endpoints(server))
        assert error.failure is ChainFailure.TOKEN
        assert "HTTP 401" in str(error)
        file = tmp_path / "token"
        file.write_text("good")
        source = FixedToken(Secret.in_file("ARIES_ACCESS_TOKEN", file))
        assert (await endpoints(server, source).listing("AAPL")).contracts


async def test_no_token(tmp_path: Path) -> None:
    """Without a token nothing is requested, and the error says why there is none."""
    async with simulator() as server:
        source = FixedToken(Secret.in_file("ARIES_ACCESS_TOKEN", tmp_path / "missing"))
        error = await failure(endpoints(server, source))
        assert error.failure is ChainFailure.TOKEN
        assert "missing" in str(error)
        assert not server.chain_endpoint.requests


async def test_an_endless_chain() -> None:
    """A server whose next page is one that was there already is noticed."""
    async with simulator() as server:
        server.chain_endpoint.page_size = 0
        assert "no end" in str(await failure(endpoints(server)))


async def test_a_private_authority_and_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS is verified with ARIES_SSL_CAFILE, and the proxy of the environment leads to the endpoint."""
    authority = trustme.CA()
    fixed = FixedToken(Secret.fixed("ARIES_ACCESS_TOKEN", TOKEN))
    tls = server_tls(authority, "api.test")
    async with Simulator(clock=lambda: NOW_MS, ssl=tls) as server, http_proxy() as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy.address}")
        url = f"https://api.test:{server.port}"
        error = await failure(ChainEndpoints(url, fixed))
        assert error.failure is ChainFailure.NETWORK
        assert "ARIES_SSL_CAFILE" in str(error)
        trusting = ChainEndpoints(url, fixed, cafile=authority_file(authority, tmp_path))
        assert (await trusting.listing("AAPL")).contracts
        assert all(head.startswith(f"CONNECT api.test:{server.port} ") for head in proxy.heads)
        assert TOKEN not in "".join(proxy.heads)


async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the proxy and what to do."""
    fixed = FixedToken(Secret.fixed("ARIES_ACCESS_TOKEN", TOKEN))
    async with http_proxy(status=407) as proxy:
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", f"http://{proxy.address}")
            error = await failure(ChainEndpoints(f"{scheme}://api.test", fixed))
            assert error.failure is ChainFailure.NETWORK
            assert "requires a user and a password" in str(error)
