"""The WebSocket connection: messages are delivered as soon as they are read, without a queue in between.

``websockets`` parses each frame with generators, queues it and wakes its reader. Nearly all frames of a feed are
unfragmented text frames, which need none of this: they are extracted here by their length. Everything else (the
handshake, control frames, fragments, protocol violations) is passed to the library unchanged, and only the library
decides what it means.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.protocol import Event

    Receive = Callable[[deque[bytes]], None]

#: The first byte of an unfragmented text frame (RFC 6455 section 5.2).
_UNFRAGMENTED_TEXT: Final = 0x81
#: Second bytes that say that the length is in the next two or eight bytes; above these the mask bit is set.
_LENGTH_IN_2_BYTES, _LENGTH_IN_8_BYTES = 126, 127
#: The head of nearly every frame, read in one step: a text of 126 to 65,535 bytes, and how many they are.
_USUAL_HEAD: Final = struct.Struct(">HH")
_USUAL_TEXT: Final = _UNFRAGMENTED_TEXT << 8 | _LENGTH_IN_2_BYTES
_END_OF_HEAD: Final = b"\r\n\r\n"
#: Longer frames are passed to the library, which enforces the size limit and joins many reads cheaply.
_LONG_FRAME_BYTES: Final = 64 * 1024
#: Frames that are extracted before other tasks get their turn, and how many of them the library parses, which takes
#: some 10 µs each: a read of 256 KiB can hold 131,072 pings.
MAX_FRAMES_PER_TURN: Final = 1024
MAX_PASSED_FRAMES_PER_TURN: Final = 64


class PlainConnection(ClientConnection):
    """A client connection that may be lost before it is made: when a proxy's tunnel ends during the TLS handshake."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up what ``connection_made`` has set up; uvloop calls this without that."""
        if hasattr(self, "recv_messages"):
            super().connection_lost(exc)


class Connection(PlainConnection):
    """A client connection that delivers the messages of each read at once, instead of by ``recv``.

    While messages are left, reading is paused: libuv would read eight megabytes, some 20,000 lines, before any other
    task gets its turn. To be passed to ``websockets.asyncio.client.connect`` as ``create_connection``.
    """

    _receive: Receive | None = None
    #: Before the end of the response's head, bytes that may begin that end.
    _end_of_head = b""
    #: How many bytes the incomplete frame in ``_parts`` still needs before it is looked at again.
    _missing = 0
    #: Missing bytes of a frame that is passed to the library.
    _bytes_to_pass = 0
    #: What is left to extract in the next iteration of the event loop, and from where on.
    _unread = b""
    _unread_from = 0
    #: Whether reading is paused, as messages or frames are left for the next iteration of the event loop.
    _paused = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._messages: deque[bytes] = deque()
        self._fragments = bytearray()
        #: Bytes that were read and not looked at, and joined only once: an incomplete frame may come in any pieces.
        self._parts: list[bytes] = []

    def listen(self, receive: Receive) -> None:
        """Deliver messages to ``receive`` from now on, in order.

        It removes at least one message from the left of the queue, and is called again for the others in the next
        iteration of the event loop. It must not raise.
        """
        self._messages.clear()
        self._fragments.clear()
        self._receive = receive
        if self.protocol.state is State.OPEN:
            self._frames_received(b"")

    def discard(self) -> None:
        """Discard messages from now on, as while the connection is being closed."""
        self.listen(deque.clear)

    def data_received(self, data: bytes) -> None:
        """Handle bytes that were read from the socket."""
        if self.response is None:
            data = self._pass_response_head(data)
        if self.protocol.state is not State.OPEN:
            super().data_received(self._take_unread() + data)
        elif self._receive is None:
            self._parts.append(data)
        else:
            self._frames_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Deliver all messages before the connection is reported as closed."""
        self._paused = False
        while self._receive is not None and (self._messages or self._unread):
            if self._messages:
                self._receive(self._messages)
            else:
                self._extract_rest()
        super().connection_lost(exc)

    def process_event(self, event: Event) -> None:
        """Collect the messages in frames that the library has parsed."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._fragments += event.data
        if event.fin:
            self._messages.append(bytes(self._fragments))
            self._fragments.clear()

    def _pass_response_head(self, data: bytes) -> bytes:
        """Pass the head of the HTTP response to the library; return the bytes behind it."""
        head = self._end_of_head + data
        end = head.find(_END_OF_HEAD)
        if end < 0:
            self._end_of_head = head[-len(_END_OF_HEAD) + 1 :]
            rest = len(data)
        else:
            rest = end + len(_END_OF_HEAD) - len(self._end_of_head)
        super().data_received(data[:rest])
        return data[rest:]

    def _frames_received(self, data: bytes) -> None:
        """Extract the complete frames; keep the rest until more is read."""
        self._missing -= len(data)
        if self._parts or self._missing > 0 or self._unread:
            self._parts.append(data)
            if self._missing > 0 or self._unread:
                return
            data = self._take_parts()
        self._extract(data, 0)
        if not self._paused:
            self._deliver()

    def _extract(self, data: bytes, start: int) -> None:  # noqa: C901, PLR0912 - a call for each frame is too expensive
        """Extract complete frames from there on, as many as one turn may take."""
        size, protocol, messages = len(data), self.protocol, self._messages
        last_head, usual_head = size - _USUAL_HEAD.size, _USUAL_HEAD.unpack_from
        left_to_pass = MAX_PASSED_FRAMES_PER_TURN
        self._missing = 0
        if self._bytes_to_pass:
            start = self._pass_frame(data, start)
        for _ in range(MAX_FRAMES_PER_TURN):
            if start <= last_head:
                head, length = usual_head(data, start)
                end = (payload := start + 4) + length
                if head == _USUAL_TEXT and end <= size and protocol.current_size is None:
                    messages.append(data[payload:end])
                    start = end
                    continue
            if size - start < 2:  # noqa: PLR2004 - the shortest frame
                break
            length, payload = data[start + 1], start + 2
            if length > _LENGTH_IN_8_BYTES:
                length = _LONG_FRAME_BYTES  # masked: an error for the library to report
            elif length >= _LENGTH_IN_2_BYTES:
                payload += 2 if length == _LENGTH_IN_2_BYTES else 8
                if payload > size:
                    break
                length = int.from_bytes(data[start + 2 : payload])
            end = payload + length
            if end > size and length < _LONG_FRAME_BYTES:
                self._missing = end - size
                break
            if data[start] == _UNFRAGMENTED_TEXT and length < _LONG_FRAME_BYTES and protocol.current_size is None:
                messages.append(data[payload:end])
                start = end
            else:
                if not left_to_pass:
                    self._unread, self._unread_from = data, start
                    return
                left_to_pass -= 1
                self._bytes_to_pass = end - start
                start = self._pass_frame(data, start)
        else:
            if start < size:
                self._unread, self._unread_from = data, start
                return
        if start < size:
            self._parts.insert(0, data[start:])

    def _extract_rest(self) -> None:
        """Extract what the turn before has left, and what was read meanwhile."""
        data, later_bytes = self._unread, sum(map(len, self._parts))
        self._unread = b""
        self._extract(data, self._unread_from)
        self._missing -= later_bytes
        if later_bytes and self._missing <= 0 and not self._unread:
            self._extract(self._take_parts(), 0)

    def _deliver(self) -> None:
        if self._messages:
            assert self._receive is not None  # see data_received
            self._receive(self._messages)
        paused = bool(self._messages or self._unread)
        if paused is not self._paused:
            self._paused = paused
            if not self.transport.is_closing():
                (self.transport.pause_reading if paused else self.transport.resume_reading)()
        if paused:
            self.loop.call_soon(self._deliver_rest)

    def _deliver_rest(self) -> None:
        if not self._paused:
            return
        if self._unread and not self._messages:
            self._extract_rest()
        self._deliver()

    def _take_parts(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def _take_unread(self) -> bytes:
        """Return all bytes that were not looked at, once: the library gets them, as the connection is closing."""
        unread, self._unread = self._unread[self._unread_from :], b""
        return unread + self._take_parts()

    def _pass_frame(self, data: bytes, start: int) -> int:
        """Pass a frame to the library, and all bytes behind it once the connection is closing; return the end."""
        end = min(start + self._bytes_to_pass, len(data))
        self._bytes_to_pass -= end - start
        super().data_received(data[start:end])
        if self.protocol.state is State.OPEN:
            return end
        if end < len(data):
            super().data_received(data[end:])
        return len(data)
