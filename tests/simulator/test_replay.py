"""A capture that is replayed: the same bytes, and so the same records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from bridge.capture.capture_file import CaptureFile
from bridge.capture.file_format import marker
from bridge.capture.files import all_entries, common_dialect
from bridge.errors import CaptureUnreadable
from bridge.serialization import schemas
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.simulator import faults
from bridge.simulator.replay import Replay
from bridge.simulator.server import Simulator
from bridge.topics import MARKET_DATA, Topic
from tests.capture.captured import ABOUT, files, frame, frames
from tests.support import consumer
from tests.support.brokers import unique
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bridge.capture.file_format import Entry
    from bridge.kafka.embedded_broker import EmbeddedBroker

dialects = pytest.mark.parametrize("dialect", ["action", "envelope"])
OPTION = "AAPL240119C00150000"
SETTINGS = {"ARIES_SYMBOLS": f"AAPL,{OPTION}", "ARIES_EVENTS": "quotes,trades,timesales,l2,greeks"}
#: Records that are made of lines of the feed.
OF_LINES = (*MARKET_DATA, Topic.DLQ)
CONNECTED = marker("connected", 1, {})


async def values(broker: EmbeddedBroker, prefix: str) -> list[tuple[object, ...]]:
    """Return topic, partition, key and value of each record, with its session numbered and no time of ingest."""
    loaded = schemas.load()
    serializer = Serializer(loaded, single_object_prefixes(loaded))
    names = {f"{prefix}.{topic}": topic for topic in OF_LINES}
    messages = await asyncio.to_thread(consumer.read_all, broker.bootstrap_servers, names)
    found = []
    for message in sorted(messages, key=lambda one: (one.topic, one.partition, one.offset)):
        topic = names[message.topic]
        assert message.value is not None
        session: Any = serializer.decode(topic, message.value)["session_id"]
        found.append((topic, message.partition, message.key, message.value, session))
    sessions = sorted({session for *_, session in found if session})
    return [
        (
            *(topic, number, key),
            serializer.replace_fields(
                topic, value, ingest_time_us=0, session_id=None if session is None else sessions.index(session)
            ),
        )
        for topic, number, key, value, session in found
    ]


async def captured(
    broker: EmbeddedBroker, prefix: str, directory: Path, dialect: Any, **settings: str
) -> list[tuple[object, ...]]:
    """Run a bridge through odd lines and a lost connection, and capture it; return its records."""
    broker.create_topics(f"{prefix}.{topic}" for topic in Topic)
    async with Simulator(dialect=dialect, lines_per_frame=3) as simulator:
        environ = environment(
            simulator, broker.bootstrap_servers, prefix, BRIDGE_CAPTURE_DIR=str(directory), **SETTINGS, **settings
        )
        async with running(environ) as bridge:
            for session in (1, 2):
                await simulator.connected(session)
                await simulator.subscribed("AAPL", OPTION)
                await eventually(lambda: bridge.client.state == "streaming", "streaming")
                await simulator.inject(faults.OddValues())
                await simulator.emit(200)
                await simulator.inject(faults.Garbage())
                await simulator.quote("AAPL", bidPrice="1.5", novelty=7)
                await simulator.send_frame(b"\xff\xfe")
                await eventually(lambda: bridge.accounts.lines_received == simulator.sent.lines, "all lines")
                if session == 1:
                    await simulator.inject(faults.Drop())
        assert bridge.recorder.frames_dropped == 0
        assert bridge.recorder.frames_written == simulator.sent.frames
    return await values(broker, prefix)


@dialects
async def test_a_replayed_capture_becomes_the_same_records(
    dialect: Any, broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """Byte for byte, but for the time of ingest and the id of the session; through two connections and odd lines."""
    original = await captured(broker, topic_prefix, tmp_path, dialect)
    assert len(original) > 300
    assert {topic for topic, *_ in original} == set(OF_LINES)
    capture = files(tmp_path, "all")
    assert common_dialect(capture) == dialect
    again = unique("aries")
    broker.create_topics(f"{again}.{topic}" for topic in Topic)
    async with Replay(all_entries(capture), common_dialect(capture)) as server:
        environ = environment(server, broker.bootstrap_servers, again, **SETTINGS)
        async with running(environ) as bridge:
            await server.ended()
            await eventually(lambda: bridge.client.session is None, "the end of the last connection")
    assert server.connections == 2
    assert await values(broker, again) == original


async def played(entries: Iterable[Entry], *, speed: float | None = None) -> list[list[bytes]]:
    """Return what clients receive, one after another, until all is played."""
    received: list[list[bytes]] = []
    async with Replay(entries, "envelope", speed=speed) as server:
        code: int | None = None
        while code != CloseCode.NORMAL_CLOSURE:
            async with connect(server.url, ping_interval=None, proxy=None) as client:
                await client.send("a token")
                received.append([])
                try:
                    while True:
                        received[-1].append(await client.recv(decode=False))
                except ConnectionClosed:
                    code = client.close_code
        await server.ended()
    return received


@pytest.mark.parametrize("speed", [None, 1000.0])
async def test_each_captured_connection_is_played_to_a_connection_of_its_own(speed: float | None) -> None:
    """Connections without a frame are skipped; any bytes are sent as they were received."""
    entries = [
        *(frame(b"rest of an earlier one", 1), CONNECTED, CONNECTED),
        *(frame(b"\xff", 2), marker("sent", 2, {}), frame(b"2\n3", 900_000)),
        *(CONNECTED, frame(b"", 1_000_000), CONNECTED),
    ]
    assert await played(entries, speed=speed) == [[b"rest of an earlier one"], [b"\xff", b"2\n3"], [b""]]


async def test_frames_are_sent_at_the_times_at_which_they_were_received() -> None:
    """A frame of an hour later is not sent at once; a client that leaves meanwhile ends its connection only."""
    entries = [CONNECTED, frame(b"1", 0), frame(b"2", 3_600_000_000), CONNECTED, frame(b"3", 0)]
    async with Replay(entries, "action", speed=1) as server:
        async with connect(server.url, ping_interval=None, proxy=None) as client:
            await client.send("a token")
            assert await client.recv(decode=False) == b"1"
        async with connect(server.url, ping_interval=None, proxy=None) as client:
            await client.send("a token")
            assert await client.recv(decode=False) == b"3"
            await server.ended()
    assert (server.connections, server.frames) == (2, 2)


async def test_a_server_with_a_client_that_waits_can_be_stopped() -> None:
    """Neither the client that is played to nor one that waits for its turn keeps it."""
    async with Replay([frame(b"1", 0), frame(b"2", 3_600_000_000)], "action", speed=1) as server:
        first = await connect(server.url, ping_interval=None, proxy=None)
        await first.send("a token")
        assert await first.recv(decode=False) == b"1"
        second = await connect(server.url, ping_interval=None, proxy=None)
        await second.send("a token")
    await first.wait_closed()
    await second.wait_closed()


async def test_a_damaged_capture_ends_the_replay_with_its_error(tmp_path: Path) -> None:
    """What is before the damage is sent."""
    file = CaptureFile(tmp_path / "one", ABOUT, str)
    file.add([CONNECTED, frame(b"1")])
    file._compress(b"x" * 13)
    file.close()
    async with Replay(all_entries([tmp_path / "one"]), "envelope") as server:
        async with connect(server.url, ping_interval=None, proxy=None) as client:
            await client.send("a token")
            assert await client.recv(decode=False) == b"1"
            with pytest.raises(CaptureUnreadable, match="damaged"):
                await server.ended()


def test_captures_of_two_dialects_are_not_one(tmp_path: Path) -> None:
    """Nor is one whose header has no dialect; the error names the files."""
    for dialect in ("action", "envelope", "other"):
        CaptureFile(tmp_path / dialect, {"dialect": dialect}, str).close()
    assert common_dialect([tmp_path / "action", tmp_path / "action"]) == "action"
    with pytest.raises(CaptureUnreadable, match=r"envelope.*of action"):
        common_dialect([tmp_path / "envelope", tmp_path / "action"])
    with pytest.raises(CaptureUnreadable, match="no dialect"):
        common_dialect([tmp_path / "other"])


def test_a_capture_is_read_through_all_of_its_files(tmp_path: Path) -> None:
    """In the order in which they are given."""
    for name in ("1", "2"):
        file = CaptureFile(tmp_path / name, ABOUT, str)
        file.add([frame(name.encode())])
        file.close()
    assert [entry.data for entry in all_entries([tmp_path / "1", tmp_path / "2"])] == [b"1", b"2"]
    assert frames(tmp_path / "1", tmp_path / "2") == [b"1", b"2"]
