"""The messages of a stream: the same as the library's, whatever the reads it arrives in."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from bridge.aries import connection as connection_module
from bridge.aries.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

URI: Final = parse_uri("ws://127.0.0.1/")
MAX_SIZE: Final = 200_000

#: A message, as drawn: its opcode and its parts, of which one that is a number stands for so many bytes.
Drawn = tuple[Opcode, list["bytes | int"]]
SMALL: st.SearchStrategy[list[bytes | int]] = st.lists(st.binary(max_size=200), min_size=1, max_size=3)
LARGE = st.sampled_from([125, 126, 65_534, 65_535, 65_536, 65_537, 150_000]).map(lambda size: [size])
DATA: st.SearchStrategy[Drawn] = st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), SMALL | LARGE)
CONTROL: st.SearchStrategy[Drawn] = st.tuples(
    st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125).map(lambda data: [data])
)
PING = Frame(Opcode.PING, b"between").serialize(mask=False)
#: What ends a connection: a farewell, or what no server may send.
ENDS = {
    "none": b"",
    "a close": Frame(Opcode.CLOSE, b"\x03\xe8bye").serialize(mask=False),
    "a close of one byte": Frame(Opcode.CLOSE, b"\x03").serialize(mask=False),
    "a mask without an end": b"\x81\x81x",
    "a mask": Frame(Opcode.TEXT, b"masked").serialize(mask=True),
    "a continuation of nothing": Frame(Opcode.CONT, b"of nothing").serialize(mask=False),
    "a message within another": Frame(Opcode.TEXT, b"begins", fin=False).serialize(mask=False) + b"\x81\x01x",
    "too long": Frame(Opcode.TEXT, b"z" * (MAX_SIZE + 1)).serialize(mask=False),
    "a reserved opcode": b"\x83\x01x",
    "a reserved bit": b"\xc1\x01x",
    "an endless length": b"\x81\x7f" + b"\xff" * 8,
    "a ping in parts": b"\x09\x00",
    "a long ping": b"\x89\x7e\x00\x7e" + b"p" * 126,
}


def serialized(drawn: Drawn) -> bytes:
    """Return the frames of a message, with a ping between its fragments."""
    opcode, parts = drawn
    payloads = [b"x" * part if isinstance(part, int) else part for part in parts]
    opcodes = [opcode] + [Opcode.CONT] * (len(parts) - 1)
    last = len(parts) - 1
    frames = [Frame(of, data, fin=at == last) for at, (of, data) in enumerate(zip(opcodes, payloads, strict=True))]
    return PING.join(frame.serialize(mask=False) for frame in frames)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def writelines(self, list_of_data: object) -> None:
        self.written.extend(list_of_data)  # type: ignore[arg-type]  # bytes, as asyncio has it

    def write_eof(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


def answered(protocol: ClientProtocol) -> bytes:
    """Return the answer of a server to the client's handshake request."""
    server = ServerProtocol()
    request = protocol.connect()
    protocol.send_request(request)
    server.receive_data(b"".join(protocol.data_to_send()))
    (asked,) = server.events_received()
    server.send_response(server.accept(asked))  # type: ignore[arg-type]  # a request
    return b"".join(server.data_to_send())


def received_by_the_library(stream: bytes) -> tuple[list[bytes], bytes, State, object]:
    """Return the messages, the answers, and the state at the end."""
    protocol = ClientProtocol(URI, max_size=MAX_SIZE)
    protocol.receive_data(answered(protocol) + stream)
    messages: list[bytes] = []
    parts: list[bytes] = []
    for event in protocol.events_received():
        if isinstance(event, Response):
            continue
        assert isinstance(event, Frame)
        if event.opcode in DATA_OPCODES:
            parts.append(bytes(event.data))
            if event.fin:
                messages.append(b"".join(parts))
                parts.clear()
    return messages, unmasked(b"".join(protocol.data_to_send())), protocol.state, protocol.close_sent


async def received(
    stream: bytes, cuts: list[int], *, late: bool, kind: type[Connection] = Connection
) -> tuple[list[bytes], bytes, State, object]:
    """Return the same of the connection under test, which receives the stream in pieces."""
    protocol = ClientProtocol(URI, max_size=MAX_SIZE)
    connection, wire = kind(protocol), Wire()
    messages: list[bytes] = []
    stream = answered(protocol) + stream
    connection.connection_made(wire)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    listening = False
    for start, end in pairwise(places):
        connection.data_received(stream[start:end])
        if connection.response is not None and not (late or listening):
            connection.listen(receiver_of(messages))
            listening = True
    if late:
        connection.listen(receiver_of(messages))
    while not wire.reading:  # noqa: ASYNC110 - a turn of the loop is what is waited for
        await asyncio.sleep(0)
    return messages, unmasked(b"".join(wire.written)), protocol.state, protocol.close_sent


def receiver_of(into: list[bytes]) -> Callable[[deque[bytes]], None]:
    """Return a receiver that takes all messages at once."""

    def take(messages: deque[bytes]) -> None:
        into.extend(messages)
        messages.clear()

    return take


def unmasked(sent: bytes) -> bytes:
    """Return what a client sent without its masks, which are random."""
    server = ServerProtocol()
    server.state = State.OPEN
    server.parser = server.parse()
    next(server.parser)
    server.receive_data(sent)
    frames = [event for event in server.events_received() if isinstance(event, Frame)]
    return b"".join(Frame(one.opcode, one.data, one.fin).serialize(mask=False) for one in frames)


@settings(max_examples=150, deadline=None)
@given(
    messages=st.lists(DATA | CONTROL, max_size=6),
    end=st.sampled_from(sorted(ENDS)),
    behind=st.binary(max_size=20),
    cuts=st.lists(st.integers(0, 400_000), max_size=8),
    late=st.booleans(),
)
async def test_a_stream_has_the_same_messages_as_with_the_library(
    messages: list[Drawn],
    end: str,
    behind: bytes,
    cuts: list[int],
    late: bool,  # noqa: FBT001 - drawn
) -> None:
    """So are answers and the end, for any frames in any pieces, listened to early or late."""
    stream = b"".join(map(serialized, messages)) + ENDS[end] + (behind if ENDS[end] else b"")
    assert await received(stream, cuts, late=late) == received_by_the_library(stream)


@settings(deadline=None)
@given(
    messages=st.lists(st.tuples(st.just(Opcode.TEXT), SMALL), min_size=1, max_size=3), end=st.sampled_from(sorted(ENDS))
)
async def test_a_stream_byte_by_byte_has_the_same_messages(messages: list[Drawn], end: str) -> None:
    """It may be cut anywhere."""
    stream = b"".join(map(serialized, messages)) + ENDS[end][:200]
    assert await received(stream, list(range(len(stream) + 200)), late=False) == received_by_the_library(stream)


async def test_messages_that_are_left_are_delivered_in_the_next_iteration_and_reading_is_paused() -> None:
    """Other tasks get their turn between batches of a long read, which keep their order."""
    protocol = ClientProtocol(URI)
    connection, wire = Connection(protocol), Wire()
    connection.connection_made(wire)
    connection.data_received(answered(protocol))
    received_messages: list[bytes] = []

    def take_some(messages: deque[bytes]) -> None:
        received_messages.extend(messages.popleft() for _ in range(min(10, len(messages))))

    connection.listen(take_some)
    sent = [b"%05d" % number for number in range(95)]
    connection.data_received(b"".join(Frame(Opcode.TEXT, one).serialize(mask=False) for one in sent))
    turns = [len(received_messages)]
    while not wire.reading:
        await asyncio.sleep(0)
        turns.append(len(received_messages))
    assert turns == [*range(10, 95, 10), 95]
    assert received_messages == sent
    connection.data_received(Frame(Opcode.TEXT, b"more").serialize(mask=False))
    assert received_messages[-1] == b"more"


@pytest.mark.parametrize("kept", [True, False])
async def test_messages_that_are_left_are_delivered_before_the_end(kept: bool) -> None:  # noqa: FBT001 - a parameter
    """A lost connection has delivered all messages, unless the receiver ignores them."""
    protocol = ClientProtocol(URI)
    connection, wire = Connection(protocol), Wire()
    connection.connection_made(wire)
    connection.data_received(answered(protocol))
    received_messages: list[bytes] = []
    connection.listen(lambda messages: received_messages.append(messages.popleft()))
    sent = [bytes([number]) for number in range(50)]
    connection.data_received(b"".join(Frame(Opcode.TEXT, one).serialize(mask=False) for one in sent))
    assert received_messages == sent[:1]
    if not kept:
        connection.listen(deque.clear)
    connection.connection_lost(None)
    assert received_messages == (sent if kept else sent[:1])
    await connection.wait_closed()
    await asyncio.sleep(0)  # the turn that was planned
    assert received_messages == (sent if kept else sent[:1])


class CountingConnection(Connection):
    """A connection that counts what it looks at: the bytes, and the frames in one turn."""

    looked_at = 0
    most_passed = passed = 0

    def _extract(self, data: bytes, start: int) -> None:
        self.looked_at += len(data) - start
        self.passed = 0
        super()._extract(data, start)

    def process_event(self, event: object) -> None:
        self.passed += 1
        self.most_passed = max(self.passed, self.most_passed)
        super().process_event(event)  # type: ignore[arg-type]  # an event


async def counted(stream: bytes, read_bytes: int, *, early: bool = True) -> tuple[CountingConnection, list[bytes]]:
    """Return a connection that has received the stream in reads of this size, and the messages."""
    protocol = ClientProtocol(URI, max_size=2**24)
    connection, wire = CountingConnection(protocol), Wire()
    connection.connection_made(wire)
    connection.data_received(answered(protocol))
    messages: list[bytes] = []
    if early:
        connection.listen(receiver_of(messages))
    for start in range(0, len(stream), read_bytes):
        connection.data_received(stream[start : start + read_bytes])
    if not early:
        connection.listen(receiver_of(messages))
    while not wire.reading:  # noqa: ASYNC110 - a turn of the loop is what is waited for
        await asyncio.sleep(0)
    return connection, messages


@pytest.mark.parametrize("size", [8_000, 16_000, 32_000, 64_000])
@pytest.mark.parametrize("early", [True, False])
async def test_a_frame_in_many_small_reads_is_looked_at_a_few_times(size: int, early: bool) -> None:  # noqa: FBT001 - a case
    """The work grows with the bytes that were read, not with their square: twice the frame, twice the work."""
    stream = Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)
    connection, messages = await counted(stream, 5, early=early)
    assert messages == [b"x" * size]
    assert connection.looked_at <= len(stream) + 100


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Opcode.PING, b"").serialize(mask=False),
        Frame(Opcode.BINARY, b"").serialize(mask=False),
        Frame(Opcode.BINARY, b"", fin=False).serialize(mask=False) + Frame(Opcode.CONT, b"").serialize(mask=False),
    ],
    ids=["pings", "binary", "fragments"],
)
@pytest.mark.parametrize("count", [500, 1_000, 2_000])
async def test_the_library_parses_a_bounded_number_of_frames_a_turn(frame: bytes, count: int) -> None:
    """However many of them one read holds, and none is lost."""
    connection, messages = await counted(frame * count, 2**18)
    assert 0 < connection.most_passed <= connection_module.MAX_PASSED_FRAMES_PER_TURN
    assert messages == [b""] * (count if frame[0] != 0x89 else 0)


async def test_what_is_read_while_frames_are_left_comes_after_them() -> None:
    """In order, and without waiting for more."""
    protocol = ClientProtocol(URI)
    connection, wire = Connection(protocol), Wire()
    connection.connection_made(wire)
    connection.data_received(answered(protocol))
    messages: list[bytes] = []
    connection.listen(receiver_of(messages))
    frames = [Frame(Opcode.BINARY, b"%d" % number).serialize(mask=False) for number in range(300)]
    last = Frame(Opcode.TEXT, b"last").serialize(mask=False)
    connection.data_received(b"".join(frames) + last[:3])
    connection.data_received(last[3:])  # the transport delivers what it had read already
    while not wire.reading:  # noqa: ASYNC110 - a turn of the loop is what is waited for
        await asyncio.sleep(0)
    assert messages == [*(b"%d" % number for number in range(300)), b"last"]


async def test_all_messages_before_a_close_frame_are_delivered() -> None:
    """Over a real socket, they arrive before the connection is reported as closed."""
    sent = [f"{number:06d}" * 30 for number in range(20_000)]

    async def talk(server: ServerConnection) -> None:
        for message in sent:
            await server.send(message)

    received_messages: list[bytes] = []
    async with serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        connection = await connect(f"ws://127.0.0.1:{port}", create_connection=Connection, compression=None)
        assert isinstance(connection, Connection)
        connection.listen(receiver_of(received_messages))
        await connection.wait_closed()
        assert [message.decode() for message in received_messages] == sent
