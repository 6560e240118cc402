"""Frames that are too large, cut, split, fragmented, binary, or violate the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.aries import connect
from bridge.errors import DisconnectCause
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.feed.scene import take_away_jitter
from tests.faults.proxy import Proxy
from tests.support.service import read

if TYPE_CHECKING:
    from tests.faults.feed.scene import Stage

QUOTE = b'{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"AAPL","bidPrice":%d}}}'


async def test_a_frame_over_the_limit_ends_the_connection_and_names_the_limit(stage: Stage) -> None:
    """The largest permitted frame is read; one more byte is close code 1009, reported with the limit."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.GiantFrame(size_bytes=connect.MAX_FRAME_BYTES))
            await scene.flows()
            assert not scene.causes
            assert scene.bridge.accounts.dead_lettered.total() == 1
            await simulator.inject(faults.GiantFrame(size_bytes=connect.MAX_FRAME_BYTES + 1))
            await scene.flows(sessions=2)
        assert scene.causes == [DisconnectCause.TOO_BIG]
        assert scene.losses[0]["reason"] == "Aries sent a frame of more than 16777216 bytes"
    await scene.proof(DisconnectCause.TOO_BIG)


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_an_incomplete_frame_has_no_lines(reset: bool, stage: Stage) -> None:  # noqa: FBT001
    """A part of a frame becomes neither a record nor a dead letter, since the frame was not received."""
    lines = b"\n".join(QUOTE % number for number in range(1000))
    async with Simulator(dialect="envelope") as simulator, Proxy(simulator.port) as proxy:
        backoff = {"ARIES_BACKOFF_MIN_SECONDS": "0.5", "ARIES_BACKOFF_MAX_SECONDS": "0.5"}
        async with stage.bridge(simulator, proxy.instead_of(simulator.url), **backoff) as scene:
            take_away_jitter(scene.bridge)  # so that no line of the next session is counted yet
            await scene.flows(sessions=1)
            await scene.takes(before := simulator.sent.lines)
            proxy.cut(after_bytes=len(lines) // 2, reset=reset)
            await simulator.send_frame(lines)
            await scene.loses()
            assert scene.bridge.accounts.lines_received == before
            await scene.flows(sessions=2)
        assert scene.causes == [DisconnectCause.NETWORK]
        assert scene.losses[0]["reason"] == "the connection broke off without a closing handshake"
        assert not scene.bridge.accounts.dead_lettered
    await scene.proof(DisconnectCause.NETWORK)


async def test_a_line_split_over_two_frames_is_two_bad_lines(stage: Stage) -> None:
    """A message has complete lines: halves become dead letters, and the connection stays open."""
    line = QUOTE % 7
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await simulator.send_frame(QUOTE % 1 + b"\n" + line[:40])
            await simulator.send_frame(line[40:] + b"\n" + QUOTE % 2)
            await scene.flows()
        assert not scene.causes
        letters = await read(stage.bootstrap_servers, stage.prefix, Topic.DLQ)
        assert {letter.record["raw"] for letter in letters} == {line[:40], line[40:]}
        prices = [one.record["bid_price"] for one in await read(stage.bootstrap_servers, stage.prefix, Topic.QUOTES)]
        assert {1, 2} < set(prices)
        assert 7 not in prices
    await scene.proof()


async def test_fragmented_and_binary_messages_are_read(stage: Stage) -> None:
    """The lines of a message are read, however it is framed."""
    async with Simulator(dialect="envelope", lines_per_frame=3) as simulator:
        await simulator.inject(faults.Fragmented(size_bytes=7))
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await simulator.emit(100)
            await simulator.inject(faults.Binary())
            await simulator.emit(100)
            await scene.takes(simulator.sent.lines)
        assert scene.bridge.accounts.lines_received == simulator.sent.lines
        assert not scene.bridge.accounts.dead_lettered
        assert not scene.causes
    await scene.proof()


@pytest.mark.parametrize("how", ["compressed", "masked", "opcode", "long_ping"])
async def test_a_frame_that_breaks_the_protocol_ends_the_connection(how: Any, stage: Stage) -> None:
    """Compressed without negotiation, masked, an unknown opcode, or a ping too long: the bridge reconnects."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.BadFrame(how=how))
            await scene.flows(sessions=2)
        assert scene.causes == [DisconnectCause.NETWORK]
        assert "Aries violated the WebSocket protocol" in scene.losses[0]["reason"]
    await scene.proof(DisconnectCause.NETWORK)


async def test_invalid_lines(stage: Stage) -> None:
    """Lines that are not JSON, not UTF-8, of an unknown type or empty affect no other line."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            for fault in (faults.Garbage(), faults.NotUtf8(), faults.UnknownKind(), faults.UnknownField()):
                await simulator.inject(fault)
            await simulator.send_frame(b"\r\n\n \n")
            await simulator.send_frame(b"")
            await scene.flows()
        accounts = scene.bridge.accounts
        assert accounts.lines_received == simulator.sent.lines
        assert accounts.dead_lettered.total() == 3
        assert not scene.causes
    await scene.proof()


@pytest.mark.parametrize("after_bytes", [1, 50, 150, 250, 400, 700])
async def test_a_connection_cut_at_any_byte(after_bytes: int, stage: Stage) -> None:
    """In the handshake, an answer or data: lines are complete or missing, and the bridge reconnects."""
    async with Simulator(dialect="envelope") as simulator, Proxy(simulator.port) as proxy:
        proxy.cut(after_bytes=after_bytes)
        async with stage.bridge(simulator, proxy.instead_of(simulator.url)) as scene:
            await scene.loses()
            await scene.flows()
        assert not scene.bridge.accounts.dead_lettered
        assert scene.causes[0] in {DisconnectCause.NETWORK, DisconnectCause.HANDSHAKE}
        gaps = len(scene.logged("session started")) - 1
    await scene.proof(*[DisconnectCause.NETWORK] * gaps)
