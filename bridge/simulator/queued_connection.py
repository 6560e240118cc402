"""The connection to one client, with a queue of outgoing data and exact counts of what was written."""

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
from bridge.simulator.line_counts import LineCounts
from bridge.simulator.send_queue import Outgoing, SendQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.shared_state import SharedState

#: The number of frames after which the writer yields, so that a long queue does not delay other clients.
_FRAMES_PER_TURN: Final = 256


class FaultInjectingProtocol(ServerProtocol):
    """A WebSocket protocol that can ignore received frames: an ignored ping gets no pong."""

    #: Returns whether to ignore a frame; set once the session exists.
    ignores: Callable[[Opcode], bool] | None = None

    def recv_frame(self, frame: Frame) -> None:
        """Process a frame, or ignore it."""
        if self.ignores is None or not self.ignores(frame.opcode):
            super().recv_frame(frame)


class FaultInjectingConnection(ServerConnection):
    """A server's connection whose protocol can ignore received frames."""

    def __init__(self, protocol: ServerProtocol, server: Server, **options: Any) -> None:
        injecting = FaultInjectingProtocol(
            extensions=protocol.available_extensions, max_size=None, logger=protocol.logger
        )
        super().__init__(injecting, server, **options)

    def ignore_frames(self, ignores: Callable[[Opcode], bool]) -> None:
        """Set the predicate that selects the frames to ignore."""
        assert isinstance(self.protocol, FaultInjectingProtocol)
        self.protocol.ignores = ignores


class QueuedConnection:
    """A connection whose writes are queued, so that callers never block, and counted once written.

    Market data is skipped if the client's queue is full, and everything is skipped during ``Silence``.
    """

    def __init__(self, connection: FaultInjectingConnection, state: SharedState) -> None:
        self.sent = LineCounts()
        self._connection = connection
        self._state = state
        self._faults = state.active_faults
        self._queue = SendQueue(
            limit_bytes=state.configuration.queue_bytes, lines_per_frame=state.configuration.lines_per_frame
        )
        self._writing = False
        connection.ignore_frames(self._ignores)

    @property
    def idle(self) -> bool:
        """Return whether everything queued is written, or never will be."""
        return not (self._queue or self._writing) or self._connection.state is not State.OPEN

    @property
    def client_read_everything(self) -> bool:
        """Return whether the server closed the connection and the client answered, having read all before it."""
        protocol = self._connection.protocol
        return protocol.close_sent is not None and protocol.close_rcvd is not None and not protocol.close_rcvd_then_sent

    async def receive(self) -> bytes:
        """Return the next message. Raise ``ConnectionClosed`` at the end."""
        return await self._connection.recv(decode=False)

    def send_data(self, item: Outgoing) -> bool:
        """Queue market data, and return whether it was queued."""
        if self._queue.full or self._faults.find(faults.Silence):
            self._skip(item)
            return False
        self._queue.put(item)
        return True

    def send_response(self, item: Outgoing, *, is_pong: bool = False) -> None:
        """Queue a response, even if the queue is full."""
        silence = self._faults.find(faults.Silence)
        if silence and not (is_pong and silence.pongs):
            self._skip(item)
        else:
            self._queue.put(item)

    def close(self, code: int, reason: str) -> None:
        """Close the connection after the data that is already queued."""
        self._queue.put(Outgoing(b"", whole_frame=True, close_frame=(code, reason)))

    def drop(self, *, reset: bool = False) -> None:
        """End the TCP connection immediately; with ``reset`` by RST."""
        transport = self._connection.transport
        if reset:
            # With a linger time of zero the kernel sends RST instead of FIN (socket(7), SO_LINGER).
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

    def write_raw(self, data: bytes) -> None:
        """Write bytes to the socket immediately, without a frame around them."""
        self._connection.transport.write(data)

    async def write_queue(self) -> None:
        """Write queued data until the connection ends."""
        try:
            while True:
                frame = await self._queue.next_frame()
                self._writing = True
                await self._write(frame)
                self._writing = False
                self._state.changes.notify()
                if self.sent.frames % _FRAMES_PER_TURN == 0:
                    await asyncio.sleep(0)
        except ConnectionClosed:
            pass  # the reader gets the same error and ends the session
        finally:
            self._writing = False

    def skip_queue(self) -> None:
        """Discard what is still queued, counting it as skipped."""
        for item in self._queue.clear():
            self._skip(item)

    def _skip(self, item: Outgoing) -> None:
        self._state.skipped.add_frame(len(item.data), item.labels)

    async def _write(self, frame: Outgoing) -> None:
        if frame.close_frame:
            await self._connection.close(*frame.close_frame)
        elif self._connection.state is State.OPEN:
            # Counted before the write: it can block on a slow client after some bytes were already sent.
            self.sent.add_frame(len(frame.data), frame.labels)
            self._state.sent.add_frame(len(frame.data), frame.labels)
            data = frame.data
            if self._faults.find(faults.Arrays):
                data = b"[" + data.replace(b"\n", b",") + b"]"
            is_text = self._faults.find(faults.Binary) is None
            await self._connection.send(self._message(data), text=is_text)
        else:
            self._skip(frame)

    def _message(self, data: bytes) -> bytes | list[bytes]:
        """Return the data to send as one frame, or a list of fragments."""
        fragmented = self._faults.find(faults.Fragmented)
        if fragmented is None:
            return data
        size = fragmented.size_bytes
        return [data[start : start + size] for start in range(0, len(data), size)]

    def _ignores(self, opcode: Opcode) -> bool:
        if opcode not in (Opcode.PING, Opcode.CLOSE):
            return False
        silence = self._faults.find(faults.Silence)
        if silence and not silence.pongs:
            return True
        if opcode is Opcode.CLOSE:
            return self._faults.find(faults.NoClosingHandshake) is not None
        self._state.received_counts["ping frame"] += 1
        self._state.changes.notify()
        no_pongs = self._faults.find(faults.NoPongs)
        return no_pongs is not None and no_pongs.protocol
