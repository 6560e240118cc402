"""Names, ports and certificates: what is wrong with them is told, and which setting to mend."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from bridge.check.network import Endpoint, reach
from bridge.check.report import Status
from tests.check.findings import Findings, server_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def server(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server that accepts connections and says nothing."""
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
    return Endpoint("Server", host, port, "SERVER_URL", tls, "SERVER_CAFILE", ", or set SERVER_ANY_NAME")


async def looked(at: Endpoint, patience_seconds: float = 5) -> tuple[bool, Findings]:
    findings = Findings()
    return await reach(findings.report, at, patience_seconds), findings


async def test_a_server_that_is_reached(authority: trustme.CA) -> None:
    """Name, port and certificate are one line each."""
    async with server(server_tls(authority, "localhost", until=NOW + timedelta(days=90.5))) as port:
        reached, findings = await looked(endpoint(port, authority, "localhost"))

    assert reached
    findings.must("Server DNS", Status.OK, "localhost is ")
    findings.must("Server TCP", Status.OK, f"localhost:{port} accepted a connection")
    findings.must("Server TLS", Status.OK, "lapses in 90 days", f"{NOW + timedelta(days=90.5):%Y-%m-%d}")


async def test_an_address_needs_no_name_service() -> None:
    """Where the address is written there is no line about DNS."""
    async with server() as port:
        reached, findings = await looked(endpoint(port))

    assert reached
    assert [finding.check for finding in findings.all] == ["Server TCP"]


async def test_a_name_without_address() -> None:
    """What has no address is not dialled."""
    reached, findings = await looked(endpoint(1, host="x" * 70))

    assert not reached
    assert len(findings.all) == 1
    findings.must("Server DNS", Status.FAIL, "has no address", "Check SERVER_URL and the DNS")


async def test_a_port_that_nobody_listens_on(authority: trustme.CA) -> None:
    """A refused connection is told with what may be in the way, and TLS is not tried."""
    async with server() as port:
        pass
    reached, findings = await looked(endpoint(port, authority))

    assert not reached
    assert len(findings.all) == 1
    findings.must("Server TCP", Status.FAIL, "Connection refused", "Check SERVER_URL", f"port {port}")


async def test_a_certificate_that_lapses_soon(authority: trustme.CA) -> None:
    """Less than 14 days left is a warning, with the day."""
    until = NOW + timedelta(days=5.2)
    async with server(server_tls(authority, until=until)) as port:
        reached, findings = await looked(endpoint(port, authority))

    assert reached
    findings.must("Server TLS", Status.WARN, "lapses in 5 days", f"{until:%Y-%m-%d}", "renewed")


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        ("127.0.0.1", (-9, -1), ("expired", "renewed")),
        ("127.0.0.1", (2, 9), ("not yet valid", "clock")),
        ("elsewhere", (-1, 99), ("not valid for", "SERVER_URL, or set SERVER_ANY_NAME")),
    ],
)
async def test_certificates_that_are_not_accepted(
    authority: trustme.CA, name: str, days: tuple[int, int], words: tuple[str, ...]
) -> None:
    """Each reason has its own remedy."""
    from_, until = (NOW + timedelta(days=number) for number in days)
    async with server(server_tls(authority, name, from_=from_, until=until)) as port:
        reached, findings = await looked(endpoint(port, authority))

    assert not reached
    findings.must("Server TLS", Status.FAIL, "is not accepted", *words)


async def test_a_certificate_of_an_unknown_authority(authority: trustme.CA) -> None:
    """The remedy is the setting that names the authorities to trust."""
    async with server(server_tls(authority)) as port:
        reached, findings = await looked(endpoint(port, trustme.CA()))

    assert not reached
    findings.must("Server TLS", Status.FAIL, "is not accepted", "SERVER_CAFILE")


async def test_a_port_that_speaks_no_tls(authority: trustme.CA) -> None:
    """A server that answers something else, or nothing, is told as such within the deadline."""
    async with server() as port:
        reached, findings = await looked(endpoint(port, authority), 0.2)

    assert not reached
    findings.must("Server TLS", Status.FAIL, "no answer within 0.2 s", "may speak no TLS", "SERVER_URL")
