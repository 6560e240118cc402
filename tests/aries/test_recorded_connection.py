"""A connection that is captured: what is recorded is what is delivered, and requests show no credential."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol

from bridge.aries import connect
from bridge.aries.connection import Connection
from bridge.aries.protocol.action import Action
from bridge.aries.protocol.envelope import Envelope
from bridge.aries.recorded_connection import describe_request, recorded
from bridge.aries.subscriptions import plan
from bridge.capture.directory import CaptureDirectory
from bridge.capture.recorder import CaptureRecorder
from bridge.capture.writer import CaptureWriter
from tests.aries.test_connection import CONTROL, DATA, ENDS, URI, Wire, answered, received, serialized
from tests.programs.bench.test_counted_work import Calls
from tests.support.service import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aries.test_connection import Drawn

dialects = pytest.mark.parametrize("dialect", [Action(lambda: "s3cret key"), Envelope()], ids=lambda one: one.name)


class Kept:
    """A recorder that keeps what it gets."""

    def __init__(self) -> None:
        self.reads: list[tuple[bytes, ...]] = []
        self.marks: list[tuple[str, dict[str, object]]] = []

    @property
    def messages(self) -> list[bytes]:
        return [frame for read in self.reads for frame in read]

    def frames(self, frames: tuple[bytes, ...]) -> None:
        self.reads.append(frames)

    def mark(self, event: str, **details: object) -> None:
        self.marks.append((event, details))

    def incident(self, cause: str, detail: str = "") -> None: ...


@settings(max_examples=100, deadline=None)
@given(
    messages=st.lists(DATA | CONTROL, max_size=6),
    end=st.sampled_from(sorted(ENDS)),
    cuts=st.lists(st.integers(0, 400_000), max_size=8),
    late=st.booleans(),
)
async def test_what_is_recorded_is_what_is_delivered(
    messages: list[Drawn],
    end: str,
    cuts: list[int],
    late: bool,  # noqa: FBT001 - drawn
) -> None:
    """For any frames in any pieces, and in the same order; joined messages and long frames included."""
    kept = Kept()
    stream = b"".join(map(serialized, messages)) + ENDS[end]
    delivered, *_ = await received(stream, cuts, late=late, kind=recorded(kept))
    assert kept.messages == delivered


async def test_frames_of_one_read_are_recorded_with_one_call() -> None:
    """Messages that wait from the read before are not recorded again."""
    kept = Kept()
    protocol = ClientProtocol(URI)
    connection = recorded(kept)(protocol)
    connection.connection_made(Wire())
    connection.data_received(answered(protocol))
    connection.listen(deque.clear)
    connection.data_received(b"\x81\x011\x81\x012\x81")
    connection.data_received(b"\x013")
    assert kept.reads == [(b"1", b"2"), (b"3",)]


async def test_nothing_is_recorded_once_messages_are_discarded() -> None:
    """What is received while the connection is being closed is not handled."""
    kept = Kept()
    protocol = ClientProtocol(URI)
    connection = recorded(kept)(protocol)
    connection.connection_made(Wire())
    connection.data_received(answered(protocol))
    connection.listen(deque.clear)
    connection.data_received(b"\x81\x011")
    connection.discard()
    connection.data_received(b"\x81\x012")
    assert kept.messages == [b"1"]


@dialects
def test_of_a_token_only_that_it_was_sent_is_captured(dialect: Any) -> None:
    """Whatever the dialect sends along."""
    shown = json.dumps(describe_request(dialect.auth("auth-001", "s3cret token")))
    assert "s3cret" not in shown
    assert json.loads(shown) == {"kind": "request" if dialect.name == "envelope" else "auth"}
    assert describe_request(dialect.ping("ping-002")) == {"kind": "ping"}


@dialects
def test_requests_for_symbols_are_captured_whole(dialect: Any) -> None:
    """Subscribing and unsubscribing."""
    subscriptions = tuple(plan(("AAPL",), ("quotes",)).values())
    for compose, kind in ((dialect.subscribe, "subscribe"), (dialect.unsubscribe, "unsubscribe")):
        [request] = compose(subscriptions, iter(["sub-001"]))
        assert describe_request(request.frame) == {"kind": kind, "request": json.loads(request.frame)}


async def test_a_request_is_marked_when_it_was_sent() -> None:
    """Through a real socket, which receives it as it is."""
    kept = Kept()
    seen: list[object] = []

    async def serve_one(server: ServerConnection) -> None:
        async for message in server:
            seen.append(message)
            await server.send(message)

    async with serve(serve_one, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with asyncio.timeout(10):
            socket = await connect.connect(f"ws://127.0.0.1:{port}/", recorded(kept), 10)
        socket.listen(deque.clear)
        await socket.send(b'{"type":"ping","id":"ping-001"}', text=True)
        await eventually(lambda: kept.messages, "the echo")
        await connect.close(socket)
    assert seen == ['{"type":"ping","id":"ping-001"}']
    assert kept.messages == [b'{"type":"ping","id":"ping-001"}']
    assert kept.marks == [("sent", {"kind": "ping"})]


async def test_a_read_costs_a_few_calls_however_many_frames_it_has(tmp_path: Path) -> None:
    """With everything captured and a flight recorder; a connection that is not captured is of another class."""
    writer = CaptureWriter(CaptureDirectory(tmp_path, 1 << 30, "test"), {}, str)
    recorder = CaptureRecorder(writer, everything=True, flight_bytes=100_000)
    for kind, most in ((recorded(recorder), 12), (Connection, 0)):
        protocol = ClientProtocol(URI)
        connection = kind(protocol)
        connection.connection_made(Wire())
        connection.data_received(answered(protocol))
        connection.listen(deque.clear)
        for frames in (1, 100):
            calls = Calls()
            read = b"\x81\x0512345" * frames
            with calls.counting():
                connection.data_received(read)
            capture = [count for module, count in calls.python.items() if module.startswith("bridge.capture")]
            assert sum(capture) + calls.python["bridge.aries.recorded_connection"] <= most
            assert bool(capture) is (kind is not Connection)
