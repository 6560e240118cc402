"""A TCP proxy on loopback that simulates a faulty network between two healthy ends."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from types import TracebackType

_READ_BYTES = 65_536


class Direction(Enum):
    """The two directions of a connection."""

    TO_CLIENT = "to client"
    TO_SERVER = "to server"


BOTH = (Direction.TO_CLIENT, Direction.TO_SERVER)


@dataclass
class _Cut:
    left_bytes: int
    reset: bool


@dataclass
class _Idleness:
    """When a connection last carried a byte (monotonic seconds), and whether the network has forgotten it since."""

    carried_at: float
    is_forgotten: bool = False


class Proxy:
    """Bytes pass between clients and one server while the context is open, unless a fault is set.

    ``accepted`` counts the connections since the start, ``carried`` the bytes passed on in each direction,
    ``swallowed`` those that came on a forgotten connection, and ``carried_at`` is when a byte last came. A small
    ``window_bytes`` makes a client's send buffer fill soon where its bytes are not passed on.
    """

    def __init__(
        self, server_port: int, *, server_host: str = "127.0.0.1", port: int = 0, window_bytes: int | None = None
    ) -> None:
        self.accepted = 0
        self.carried = dict.fromkeys(Direction, 0)
        self.swallowed = 0
        self.carried_at = 0.0
        self._forget_after_seconds = math.inf
        self._server_host = server_host
        self._server_port = server_port
        self._port = port
        self._window_bytes = window_bytes
        self._turns_away = False
        self._chunk_bytes = _READ_BYTES
        self._pause_seconds = 0.0
        self._passes = {direction: asyncio.Event() for direction in Direction}
        self._cuts: dict[Direction, _Cut] = {}
        self._writers: set[StreamWriter] = set()
        self._conversations: set[asyncio.Task[None]] = set()
        self._failures: list[Exception] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self.heal()
        listener = socket.create_server(("127.0.0.1", self._port))
        if self._window_bytes is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window_bytes)  # as later accepted sockets
        self._port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._accept, sock=listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.turn_away()  # who is accepted just now
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        for _ in range(2):  # conversations end in the loop's next turn, and transports close in the one after that
            await asyncio.sleep(0)
        if self._failures:
            raise ExceptionGroup("the proxy failed", self._failures)

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        return self._port

    @property
    def connections(self) -> int:
        """Return how many clients are connected now."""
        return len(self._conversations)

    def instead_of(self, url: str) -> str:
        """Return the URL that leads through this proxy to where ``url`` leads directly."""
        return urlsplit(url)._replace(netloc=f"127.0.0.1:{self.port}").geturl()

    def lead_to(self, server_port: int) -> None:
        """Connect new clients to another server; open connections end."""
        self._server_port = server_port
        self.cut()

    # What can go wrong; each lasts until ``heal``

    def black_hole(self, *directions: Direction) -> None:
        """Pass no bytes in these directions (by default both), with all sockets open.

        As where packets are lost: what was written meanwhile arrives after ``heal``, late.
        """
        for direction in directions or BOTH:
            self._passes[direction].clear()

    def cut(self, *, after_bytes: int = 0, reset: bool = False, direction: Direction = Direction.TO_CLIENT) -> None:
        """Pass so many more bytes of this direction, then end their connection; with ``reset`` by RST.

        It happens once. Where no byte may pass, the connections there are end at once.
        """
        if after_bytes:
            self._cuts[direction] = _Cut(after_bytes, reset)
            return
        for writer in list(self._writers):
            _abort(writer, reset=reset)

    def slow(self, *, chunk_bytes: int = 1, pause_seconds: float = 0.0) -> None:
        """Pass at most so many bytes at once, each piece as a TCP segment, with a pause after each."""
        self._chunk_bytes, self._pause_seconds = chunk_bytes, pause_seconds

    def turn_away(self) -> None:
        """Accept connections, and close them at once."""
        self._turns_away = True

    def forget_idle(self, after_seconds: float) -> None:
        """Swallow what comes on a connection that carried nothing for so long, as load balancers do.

        A connection that was forgotten stays so.
        """
        self._forget_after_seconds = after_seconds

    def heal(self) -> None:
        """Remove all faults."""
        self._forget_after_seconds = math.inf
        self._chunk_bytes, self._pause_seconds, self._turns_away = _READ_BYTES, 0.0, False
        self._cuts.clear()
        for passes in self._passes.values():
            passes.set()

    # Connections

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Begin a conversation, or close; not a coroutine, which could be cancelled before it has begun."""
        self.accepted += 1
        if self._turns_away:
            _close(writer)
            return
        conversation = asyncio.ensure_future(self._converse(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(partial(self._ended, writer))

    def _ended(self, writer: StreamWriter, conversation: asyncio.Task[None]) -> None:
        self._conversations.discard(conversation)
        _close(writer)
        error = None if conversation.cancelled() else conversation.exception()
        if isinstance(error, Exception) and not isinstance(error, OSError):  # else one of the two ends is gone
            self._failures.append(error)

    async def _converse(self, client: StreamReader, to_client: StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(self._server_host, self._server_port)
        writers = {to_client, to_server}
        self._writers |= writers
        idleness = _Idleness(time.monotonic())
        ways = [
            asyncio.create_task(self._pass(client, to_server, Direction.TO_SERVER, idleness)),
            asyncio.create_task(self._pass(server, to_client, Direction.TO_CLIENT, idleness)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers -= writers
            for way in ways:
                way.cancel()
            _close(to_server)  # before this waits: it may be cancelled then
            ended = await asyncio.gather(*ways, return_exceptions=True)
            self._failures += [
                error for error in ended if isinstance(error, Exception) and not isinstance(error, OSError)
            ]

    async def _pass(self, source: StreamReader, sink: StreamWriter, direction: Direction, idleness: _Idleness) -> None:
        sink.transport.set_write_buffer_limits(high=0)  # so that drained means handed to the kernel
        sink.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            await self._passes[direction].wait()
            data = await source.read(self._chunk_bytes)
            await self._passes[direction].wait()
            if not data:
                return
            if self._is_forgotten(idleness):
                self.swallowed += len(data)
                continue
            cut = self._cuts.get(direction)
            passed = data if cut is None else data[: cut.left_bytes]
            sink.write(passed)
            await sink.drain()
            self.carried[direction] += len(passed)
            if cut is not None:
                cut.left_bytes -= len(data)
                if cut.left_bytes <= 0:
                    self._cuts.pop(direction, None)
                    _abort(sink, reset=cut.reset)
                    return
            if self._pause_seconds:
                await asyncio.sleep(self._pause_seconds)

    def _is_forgotten(self, idleness: _Idleness) -> bool:
        """Return whether a connection was idle for too long, now that a byte comes."""
        now = self.carried_at = time.monotonic()
        idleness.is_forgotten |= now - idleness.carried_at > self._forget_after_seconds
        idleness.carried_at = now
        return idleness.is_forgotten


def _close(writer: StreamWriter) -> None:
    """Close by FIN; unsent bytes are discarded."""
    writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


def _abort(writer: StreamWriter, *, reset: bool) -> None:
    if reset:
        # A lingering time of zero makes the kernel send RST instead of FIN (socket(7), SO_LINGER).
        linger = struct.pack("ii", 1, 0)
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
