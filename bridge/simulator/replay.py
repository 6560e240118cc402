"""A server that sends the frames of a capture: the same bytes, for each connection that was captured one."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from itertools import chain
from json import loads
from typing import TYPE_CHECKING, Final, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bridge.errors import BridgeError
from bridge.simulator.server_dialect import PATHS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from bridge.capture.file_format import Entry

#: RFC 6455 section 7.4.1
_NORMAL_CLOSURE, _GOING_AWAY = 1000, 1001
_CLOSE_TIMEOUT_SECONDS: Final = 10
#: Frames after which other tasks get their turn.
_FRAMES_PER_TURN: Final = 256


class Replay:
    """A server that plays entries once while its context is open, to one client at a time.

    Each connection of the capture is played to the next connection of a client, from its first message on: that is
    its token, of which any is accepted. Then the server closes it, as the capture ends there. Requests are read and not
    answered, since the answers are in the capture. ``speed`` is how many times as fast as they were received frames are
    sent; None = as fast as the client reads.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        dialect: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float | None = None,
        on_event: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.frames = 0
        self.connections = 0
        self.port = port
        self._parts = _Parts(entries)
        self._dialect = dialect
        self._host = host
        self._speed = speed
        self._on_event = on_event
        self._turn = asyncio.Lock()
        self._ended: asyncio.Future[None] | None = None
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._ended = asyncio.get_running_loop().create_future()
        self._server = await serve(
            self._serve,
            self._host,
            self.port,
            compression=None,
            max_size=None,
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT_SECONDS,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Return the URL to connect to."""
        return f"ws://{self._host}:{self.port}{PATHS[self._dialect]}"

    async def ended(self) -> None:
        """Wait until all is played, and the last client has closed its connection; raise what ended it otherwise."""
        assert self._ended is not None
        await self._ended

    async def _serve(self, connection: ServerConnection) -> None:
        assert self._ended is not None
        async with self._turn:
            try:
                await connection.recv()
                if not self._ended.done():
                    await self._play_part(connection, self._ended)
            except ConnectionClosed:
                return  # it has sent no token: the next client gets the part
            except BridgeError as error:  # a damaged capture
                self._ended.set_exception(error)

    async def _play_part(self, connection: ServerConnection, ended: asyncio.Future[None]) -> None:
        self.connections += 1
        self._on_event(f"connection {self.connections}: the client has sent its token")
        reader = asyncio.create_task(_read_requests(connection))
        part = self._parts.next()
        try:
            await self._send(connection, part)
        except ConnectionClosed:
            self._on_event(f"connection {self.connections}: the client has left before its end")
        finally:
            reader.cancel()
            await asyncio.wait([reader])
        deque(part, maxlen=0)  # skip what a client that has left did not read
        if self._parts.has_next():
            await connection.close(_GOING_AWAY, "the captured connection ended here")
        else:
            await connection.close(_NORMAL_CLOSURE, "the capture has ended")
            ended.set_result(None)

    async def _send(self, connection: ServerConnection, part: Iterator[Entry]) -> None:
        loop = asyncio.get_running_loop()
        started_at, first_us = loop.time(), None
        for count, entry in enumerate(part, 1):
            if self._speed is not None:
                first_us = entry.time_us if first_us is None else first_us
                due = started_at + (entry.time_us - first_us) / 1e6 / self._speed
                await _wait(connection, due - loop.time())
            elif count % _FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)
            await connection.send(entry.data, text=True)
            self.frames += 1


async def _wait(connection: ServerConnection, seconds: float) -> None:
    """Wait, but no longer than the connection is open."""
    if seconds > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await connection.wait_closed()


class _Parts:
    """The entries of a capture by connection: what follows one ``connected`` up to the next that has frames."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = iter(entries)

    def has_next(self) -> bool:
        """Return whether there are frames left; it skips what is before the next one."""
        for entry in self._entries:
            if entry.is_frame:
                self._entries = chain((entry,), self._entries)
                return True
        return False

    def next(self) -> Iterator[Entry]:
        """Yield the frames of the next connection."""
        has_frames = False
        for entry in self._entries:
            if entry.is_frame:
                has_frames = True
                yield entry
            elif has_frames and loads(entry.data).get("event") == "connected":
                return


async def _read_requests(connection: ServerConnection) -> None:
    try:
        async for _ in connection:
            pass
    except ConnectionClosed:
        pass
