"""The connection to one client, and what of it waits to be written."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.server import Server, ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from bridge.simulator import faults
from bridge.simulator.outbox import Outbox, Outgoing
from bridge.simulator.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.world import World

#: So that a long queue for one client leaves the others their turn.
_FRAMES_PER_TURN: Final = 256


class DeafProtocol(ServerProtocol):
    """Speak WebSocket, but overlook the frames one is told to: a ping overlooked is a ping without a pong."""

    #: Frames of these kinds are overlooked; set once the session is known.
    overlooks: Callable[[Opcode], bool] | None = None

    def recv_frame(self, frame: Frame) -> None:
        """Take a frame in, or overlook it."""
        if self.overlooks is None or not self.overlooks(frame.opcode):
            super().recv_frame(frame)


class DeafConnection(ServerConnection):
    """Be a server's connection whose protocol can overlook frames."""

    def __init__(self, protocol: ServerProtocol, server: Server, **options: Any) -> None:
        deaf = DeafProtocol(extensions=protocol.available_extensions, max_size=None, logger=protocol.logger)
        super().__init__(deaf, server, **options)

    def overlook(self, overlooks: Callable[[Opcode], bool]) -> None:
        """Ask from now on which frames to overlook."""
        assert isinstance(self.protocol, DeafProtocol)
        self.protocol.overlooks = overlooks


class Link:
    """Write what is put, in order and without blocking whoever puts it; count exactly what was written.

    Market data for a client whose queue is full is skipped, and so is everything while a ``Silence`` lasts.
    """

    def __init__(self, connection: DeafConnection, world: World) -> None:
        self.sent = Tally()
        self._connection = connection
        self._world = world
        self._outbox = Outbox(limit_bytes=world.terms.queue_bytes, lines_per_frame=world.terms.lines_per_frame)
        self._writing = False
        connection.overlook(self._overlooks)

    @property
    def idle(self) -> bool:
        """Tell whether all that was put is written, or never will be."""
        return not (self._outbox or self._writing) or self._connection.state is not State.OPEN

    async def receive(self) -> bytes:
        """Return the next message. Raise ``ConnectionClosed`` at the end."""
        return await self._connection.recv(decode=False)

    def put(self, item: Outgoing) -> bool:
        """Queue market data; tell whether it was taken."""
        if self._outbox.full or self._world.standing.find(faults.Silence):
            self._world.skipped.add(len(item.data), item.marks)
            return False
        self._outbox.put(item)
        return True

    def answer(self, item: Outgoing, *, is_pong: bool = False) -> None:
        """Queue an answer, however much market data waits."""
        silence = self._world.standing.find(faults.Silence)
        if silence and not (is_pong and silence.pongs):
            self._world.skipped.add(len(item.data), item.marks)
        else:
            self._outbox.put(item)

    def close(self, code: int, reason: str) -> None:
        """Close the connection behind what is queued already."""
        self._outbox.put(Outgoing(b"", alone=True, farewell=(code, reason)))

    def drop(self, *, reset: bool = False) -> None:
        """End the TCP connection at once; with ``reset`` by RST."""
        transport = self._connection.transport
        if reset:
            # A lingering time of zero makes the kernel send RST instead of FIN (socket(7), SO_LINGER).
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

    def write_bytes(self, data: bytes) -> None:
        """Write bytes that are no frame of the protocol's, at once."""
        self._connection.transport.write(data)

    async def write(self) -> None:
        """Write what is put until the connection ends."""
        try:
            while True:
                await self._outbox.wait()
                self._writing = True
                await self._write_frame(self._outbox.take())
                self._writing = False
                self._world.changes.happened()
                if self.sent.frames % _FRAMES_PER_TURN == 0:
                    await asyncio.sleep(0)
        except ConnectionClosed:
            pass  # the reader notices, too, and ends the session
        finally:
            self._writing = False

    def abandon(self) -> None:
        """Give up what still waits."""
        for item in self._outbox.empty():
            self._world.skipped.add(len(item.data), item.marks)

    async def _write_frame(self, frame: Outgoing) -> None:
        if frame.farewell:
            await self._connection.close(*frame.farewell)
        elif self._connection.state is State.OPEN:
            # Counted before the write, which can wait for a slow client with the bytes already on their way.
            self.sent.add(len(frame.data), frame.marks)
            self._world.sent.add(len(frame.data), frame.marks)
            is_text = self._world.standing.find(faults.Binary) is None
            await self._connection.send(self._message(frame.data), text=is_text)
        else:
            self._world.skipped.add(len(frame.data), frame.marks)

    def _message(self, data: bytes) -> bytes | list[bytes]:
        """Return what is sent as one frame, or as fragments."""
        fragmented = self._world.standing.find(faults.Fragmented)
        if fragmented is None:
            return data
        size = fragmented.size_bytes
        return [data[start : start + size] for start in range(0, len(data), size)]

    def _overlooks(self, opcode: Opcode) -> bool:
        standing = self._world.standing
        if opcode not in (Opcode.PING, Opcode.CLOSE):
            return False
        silence = standing.find(faults.Silence)
        if silence and not silence.pongs:
            return True
        if opcode is Opcode.CLOSE:
            return standing.find(faults.NoClosingHandshake) is not None
        self._world.received_counts["ping frame"] += 1
        self._world.changes.happened()
        no_pongs = standing.find(faults.NoPongs)
        return no_pongs is not None and no_pongs.protocol
