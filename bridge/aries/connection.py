"""The WebSocket connection: messages are handed over the moment they are read, without a queue between.

``websockets`` parses each frame by generators, queues it, and wakes its reader. Nearly all that a feed sends are text
frames in one piece, and these need none of it: they are cut out here, by their length. Everything else, from the
handshake and control frames to fragments and to what breaks the protocol, goes to the library as it came, and the
library alone decides what it means.
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

#: The first byte of a text frame in one piece (RFC 6455 §5.2).
_WHOLE_TEXT: Final = 0x81
#: Lengths from here on stand in the next two or eight bytes; above that the bit is set that masks a client's frames.
_LENGTH_IN_2, _LENGTH_IN_8 = 126, 127
_END_OF_HEAD: Final = b"\r\n\r\n"
#: A longer frame is the library's from its first byte on: it keeps the limit, and joins many reads cheaply.
_LONG_FRAME: Final = 64 * 1024


class Connection(ClientConnection):
    """Hand over the messages of each read at once; its ``recv`` is not used.

    While messages are left nothing more is read: libuv would read eight megabytes, some 20,000 lines, before anything
    else gets its turn.

    To be given to ``websockets.asyncio.client.connect`` as ``create_connection``.
    """

    _receive: Receive | None = None
    #: Bytes of the frame that is not complete yet; of the head of the response, what could begin its end.
    _unread = b""
    #: Bytes still to come of a frame that is the library's.
    _passing = 0
    #: Whether messages are left for the next turn of the loop.
    _waits = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._messages: deque[bytes] = deque()
        self._fragments: list[bytes] = []

    def listen(self, receive: Receive) -> None:
        """Hand over messages from now on, in order, as a queue.

        ``receive`` takes from its left what it has time for, at least one; it is called again for what it leaves, once
        the event loop has turned. It must not raise.
        """
        self._messages.clear()
        self._fragments.clear()
        self._receive = receive
        if self.protocol.state is State.OPEN:
            self._open_received(b"")

    def data_received(self, data: bytes) -> None:
        """Take what was read."""
        if self.response is None:
            data = self._pass_head(data)
        if self.protocol.state is not State.OPEN:
            super().data_received(data)
        elif self._receive is None:
            self._unread += data
        else:
            self._open_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand over all that came, before anybody hears that it was the last."""
        self._waits = False
        while self._messages and self._receive is not None:
            self._receive(self._messages)
        super().connection_lost(exc)

    def process_event(self, event: Event) -> None:
        """Take what the library has read."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._fragments.append(bytes(event.data))
        if event.fin:
            self._messages.append(b"".join(self._fragments))
            self._fragments.clear()

    def _pass_head(self, data: bytes) -> bytes:
        """Pass the head of the response to the library, so that frames behind it are not; return what is behind."""
        seen = self._unread + data
        end = seen.find(_END_OF_HEAD)
        if end < 0:
            self._unread = seen[-len(_END_OF_HEAD) + 1 :]
            behind = len(data)
        else:
            behind = end + len(_END_OF_HEAD) - len(self._unread)
            self._unread = b""
        super().data_received(data[:behind])
        return data[behind:]

    def _open_received(self, data: bytes) -> None:
        """Take out the frames that are complete; what is left waits for more."""
        data = self._unread + data
        size, protocol, messages = len(data), self.protocol, self._messages
        start = self._pass(data, 0) if self._passing else 0
        while size - start > 1:
            length, payload = data[start + 1], start + 2
            if length > _LENGTH_IN_8:
                length = _LONG_FRAME  # a mask: wrong, as the library will say
            elif length >= _LENGTH_IN_2:
                payload += 2 if length == _LENGTH_IN_2 else 8
                if payload > size:
                    break
                length = int.from_bytes(data[start + 2 : payload])
            end = payload + length
            if end > size and length < _LONG_FRAME:
                break
            if data[start] == _WHOLE_TEXT and length < _LONG_FRAME and protocol.current_size is None:
                messages.append(data[payload:end])
                start = end
            else:
                self._passing = end - start
                start = self._pass(data, start)
        self._unread = data[start:]
        if not self._waits:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._messages:
            assert self._receive is not None  # see data_received
            self._receive(self._messages)
        left = bool(self._messages)
        if left is not self._waits:
            self._waits = left
            if not self.transport.is_closing():
                (self.transport.pause_reading if left else self.transport.resume_reading)()
        if left:
            self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        if self._waits:
            self._hand_over()

    def _pass(self, data: bytes, start: int) -> int:
        """Pass on what is the library's, and all that is behind it once the connection is closing; return its end."""
        end = min(start + self._passing, len(data))
        self._passing -= end - start
        super().data_received(data[start:end])
        if self.protocol.state is State.OPEN:
            return end
        if end < len(data):
            super().data_received(data[end:])
        return len(data)
