"""The WebSocket connection: messages are delivered as soon as they are read, without a queue in between.

``websockets`` parses each frame with generators, queues it and wakes its reader. Nearly all frames of a feed are
unfragmented text frames, which need none of this: they are extracted here by their length. Everything else (the
handshake, control frames, fragments, protocol violations) is passed to the library unchanged, and only the library
decides what it means.
"""

from __future__ import annotations

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
_END_OF_HEAD: Final = b"\r\n\r\n"
#: Longer frames are passed to the library, which enforces the size limit and joins many reads cheaply.
_LONG_FRAME_BYTES: Final = 64 * 1024


class Connection(ClientConnection):
    """A client connection that delivers the messages of each read at once, instead of by ``recv``.

    While messages are left, reading is paused: libuv would read eight megabytes, some 20,000 lines, before any other
    task gets its turn. To be passed to ``websockets.asyncio.client.connect`` as ``create_connection``.
    """

    _receive: Receive | None = None
    #: The bytes of an incomplete frame; before the end of the response's head, bytes that may begin that end.
    _buffer = b""
    #: Missing bytes of a frame that is passed to the library.
    _bytes_to_pass = 0
    #: Whether reading is paused, as messages are left for the next iteration of the event loop.
    _paused = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._messages: deque[bytes] = deque()
        self._fragments: list[bytes] = []

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

    def data_received(self, data: bytes) -> None:
        """Handle bytes that were read from the socket."""
        if self.response is None:
            data = self._pass_response_head(data)
        if self.protocol.state is not State.OPEN:
            super().data_received(data)
        elif self._receive is None:
            self._buffer += data
        else:
            self._frames_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Deliver all messages before the connection is reported as closed."""
        self._paused = False
        while self._messages and self._receive is not None:
            self._receive(self._messages)
        super().connection_lost(exc)

    def process_event(self, event: Event) -> None:
        """Collect the messages in frames that the library has parsed."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._fragments.append(bytes(event.data))
        if event.fin:
            self._messages.append(b"".join(self._fragments))
            self._fragments.clear()

    def _pass_response_head(self, data: bytes) -> bytes:
        """Pass the head of the HTTP response to the library; return the bytes behind it."""
        head = self._buffer + data
        end = head.find(_END_OF_HEAD)
        if end < 0:
            self._buffer = head[-len(_END_OF_HEAD) + 1 :]
            rest = len(data)
        else:
            rest = end + len(_END_OF_HEAD) - len(self._buffer)
            self._buffer = b""
        super().data_received(data[:rest])
        return data[rest:]

    def _frames_received(self, data: bytes) -> None:
        """Extract the complete frames; keep the rest until more is read."""
        data = self._buffer + data
        size, protocol, messages = len(data), self.protocol, self._messages
        start = self._pass_frame(data, 0) if self._bytes_to_pass else 0
        while size - start > 1:
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
                break
            if data[start] == _UNFRAGMENTED_TEXT and length < _LONG_FRAME_BYTES and protocol.current_size is None:
                messages.append(data[payload:end])
                start = end
            else:
                self._bytes_to_pass = end - start
                start = self._pass_frame(data, start)
        self._buffer = data[start:]
        if not self._paused:
            self._deliver()

    def _deliver(self) -> None:
        if self._messages:
            assert self._receive is not None  # see data_received
            self._receive(self._messages)
        paused = bool(self._messages)
        if paused is not self._paused:
            self._paused = paused
            if not self.transport.is_closing():
                (self.transport.pause_reading if paused else self.transport.resume_reading)()
        if paused:
            self.loop.call_soon(self._deliver_rest)

    def _deliver_rest(self) -> None:
        if self._paused:
            self._deliver()

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
