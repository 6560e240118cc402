"""Connections without a request report unreachable servers, and certificates."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from bridge.check.endpoint import Endpoint, check_endpoint
from bridge.check.report import Status
from tests.check.results import Results, server_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime.now(UTC)
CHECK, HINT = "Server", "Check SERVER_URL."


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def server(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server that accepts connections and sends nothing."""
    accepted: list[asyncio.Task[None] | None] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(asyncio.current_task())
        with suppress(OSError):
            await reader.read()
        writer.transport.abort()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await listener.wait_closed()
        await asyncio.gather(*filter(None, accepted))


def endpoint(port: int, authority: trustme.CA | None = None, host: str = "127.0.0.1") -> Endpoint:
    tls = None
    if authority is not None:
        tls = ssl.create_default_context()
        authority.configure_trust(tls)
    return Endpoint(host, port, tls)


async def checked(at: Endpoint, timeout_seconds: float = 5) -> Results:
    results = Results()
    await check_endpoint(results.report, CHECK, at, HINT, timeout_seconds)
    return results


async def test_a_server_with_a_certificate(authority: trustme.CA) -> None:
    """The certificate's expiry is reported."""
    async with server(server_tls(authority, "localhost", until=NOW + timedelta(days=90.5))) as port:
        results = await checked(endpoint(port, authority, "localhost"))

    results.expect(
        CHECK, Status.OK, f"localhost:{port}", "expires in 90 days", f"{NOW + timedelta(days=90.5):%Y-%m-%d}"
    )


async def test_a_server_without_tls() -> None:
    """A server that accepts a connection passes."""
    async with server() as port:
        results = await checked(endpoint(port))

    results.expect(CHECK, Status.OK, f"127.0.0.1:{port} accepts connections")


async def test_an_impossible_host_name() -> None:
    """A name that the DNS cannot hold is a failure, not a crash."""
    results = await checked(endpoint(1, host="x" * 70))

    results.expect(CHECK, Status.FAIL, "x" * 70, HINT)


async def test_a_port_without_a_server(authority: trustme.CA) -> None:
    """A refused connection is reported with its address."""
    async with server() as port:
        pass
    results = await checked(endpoint(port, authority))

    results.expect(CHECK, Status.FAIL, f"127.0.0.1:{port} cannot be reached", "Connection refused", HINT)


async def test_a_certificate_that_expires_soon(authority: trustme.CA) -> None:
    """Less than 14 days left is a warning with the date."""
    until = NOW + timedelta(days=5.2)
    async with server(server_tls(authority, until=until)) as port:
        results = await checked(endpoint(port, authority))

    results.expect(CHECK, Status.WARN, "expires in 5 days", f"{until:%Y-%m-%d}", "renewed")


async def test_a_certificate_of_an_unknown_authority(authority: trustme.CA) -> None:
    """A certificate that is not trusted is a failure."""
    async with server(server_tls(authority)) as port:
        results = await checked(endpoint(port, trustme.CA()))

    results.expect(CHECK, Status.FAIL, "has a certificate that is not accepted", HINT)


async def test_a_port_that_does_not_use_tls(authority: trustme.CA) -> None:
    """A server that does not answer is a failure at the timeout."""
    async with server() as port:
        results = await checked(endpoint(port, authority), 0.2)

    results.expect(CHECK, Status.FAIL, "does not answer within 0.2 s", HINT)


@pytest.mark.parametrize(
    ("url", "address"),
    [("http://a.example", "a.example:80"), ("https://a.example/b", "a.example:443"), ("http://[::1]:8", "[::1]:8")],
)
def test_the_endpoint_of_a_url(url: str, address: str) -> None:
    """The port has the scheme's default, and an IPv6 address its brackets."""
    assert str(Endpoint.of_url(url)) == address
    assert (Endpoint.of_url(url).tls is not None) is url.startswith("https")
