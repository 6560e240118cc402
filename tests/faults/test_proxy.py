"""The faulty network itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.faults.proxy import Direction, Proxy
from tests.support.service import eventually

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Return a proxy before a server that echoes what it receives."""

    async def give_back(reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(give_back, "127.0.0.1", 0) as server:
        async with Proxy(server.sockets[0].getsockname()[1]) as proxy:
            yield proxy


@asynccontextmanager
async def client(proxy: Proxy) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_without_a_fault(proxy: Proxy) -> None:
    """All bytes pass both ways, and are counted."""
    async with client(proxy) as (reader, writer):
        writer.write(b"x" * 1_000_000)
        assert await reader.readexactly(1_000_000) == b"x" * 1_000_000
        assert proxy.carried[Direction.TO_SERVER] == 1_000_000
    assert proxy.instead_of("ws://there:1/path?a=b") == f"ws://127.0.0.1:{proxy.port}/path?a=b"


async def test_a_black_hole_delays_one_direction(proxy: Proxy) -> None:
    """Nothing arrives while it lasts, though the other direction works; afterwards everything does."""
    async with client(proxy) as (reader, writer):
        proxy.black_hole(Direction.TO_CLIENT)
        writer.write(b"there and back")
        await eventually(lambda: proxy.carried[Direction.TO_SERVER] == 14, "arrived at the server")
        assert proxy.carried[Direction.TO_CLIENT] == 0
        proxy.heal()
        assert await reader.readexactly(14) == b"there and back"


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_lets_so_many_bytes_pass(proxy: Proxy, reset: bool) -> None:  # noqa: FBT001 - parametrised
    """The connection ends after the given byte, by FIN or by RST; the next connection is complete."""
    async with client(proxy) as (reader, writer):
        proxy.cut(after_bytes=5, reset=reset)
        writer.write(b"0123456789")
        if reset:
            with pytest.raises(ConnectionResetError):
                await reader.read()
        else:
            assert await reader.read() == b"01234"
    async with client(proxy) as (reader, writer):
        writer.write(b"whole")
        assert await reader.readexactly(5) == b"whole"


async def test_a_cut_at_once_and_connections_closed_at_once(proxy: Proxy) -> None:
    """All connections end now; new ones are accepted and closed."""
    async with client(proxy) as (reader, writer):
        writer.write(b"1")
        await reader.readexactly(1)
        proxy.cut()
        assert await reader.read() == b""
    proxy.turn_away()
    async with client(proxy) as (reader, _):
        assert await reader.read() == b""
    assert proxy.accepted == 2


async def test_a_slow_network(proxy: Proxy) -> None:
    """Bytes come one at a time."""
    async with client(proxy) as (reader, writer):
        proxy.slow(chunk_bytes=1, pause_seconds=0.01)
        writer.write(b"abc")
        assert [await reader.read(10) for _ in range(3)] == [b"a", b"b", b"c"]


async def test_an_idle_connection_is_forgotten(proxy: Proxy) -> None:
    """What comes on it later is swallowed, without its being closed; a new connection is whole."""
    async with client(proxy) as (reader, writer):
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        proxy.forget_idle(0.0)
        writer.write(b"lost")
        await eventually(lambda: proxy.swallowed == len(b"lost"), "it is swallowed")
        assert not reader.at_eof()
    proxy.heal()
    async with client(proxy) as (reader, writer):
        writer.write(b"whole")
        assert await reader.readexactly(5) == b"whole"
