"""A bridge that captures its feed: what is in its files, what makes it write, and that nothing else changes."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from bridge.capture.file_format import EntryKind
from bridge.capture.reader import open_capture
from bridge.errors import DisconnectCause
from bridge.observability.metrics import BridgeCollector, exposition, registry
from bridge.observability.rate_history import RateHistory
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from tests.capture.captured import entries, files, files_of_at_most, frames
from tests.support.service import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.simulator.faults import Fault
    from tests.faults.feed.scene import Scene, Stage

INCIDENTS = {"BRIDGE_CAPTURE_MODE": "incidents"}


def marks(path: Path) -> list[dict[str, Any]]:
    return [json.loads(entry.data) for entry in entries(path) if entry.kind is EntryKind.MARKER]


async def written(scene: Scene, cause: str) -> dict[str, Any]:
    """Wait for the file of an incident; return its log line."""
    await eventually(lambda: scene.logged("frames before an incident captured"), f"the file of {cause}")
    [line] = scene.logged("frames before an incident captured")
    assert line["cause"] == cause
    return dict(line)


@pytest.mark.parametrize("dialect", ["action", "envelope"])
async def test_a_capture_shows_what_was_sent_and_what_happened_but_no_token(
    dialect: Any, stage: Stage, tmp_path: Path
) -> None:
    """Sessions, requests and losses stand between the frames to which they belong."""
    async with Simulator(dialect=dialect) as simulator:
        async with stage.bridge(simulator, BRIDGE_CAPTURE_DIR=str(tmp_path), ARIES_SYMBOLS="AAPL") as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.Close(code=4000, reason="try again with a-good-token"))
            await scene.loses()
            await scene.flows(sessions=2)
    [capture] = files(tmp_path, "all")
    found = marks(capture)
    assert [mark["event"] for mark in found if mark["event"] != "sent"] == [
        *("connected", "session started", "session ended", "connection lost"),
        *("connected", "session started", "session ended"),
    ]
    sent = [mark for mark in found if mark["event"] == "sent"]
    token, subscribe = ("request" if dialect == "envelope" else "auth"), "subscribe"
    assert [kind for kind, _ in groupby(mark["kind"] for mark in sent)] == [token, subscribe, token, subscribe]
    assert sent[0] == {"event": "sent", "kind": token}
    assert "AAPL" in json.dumps(sent[1]["request"])
    [lost] = [mark for mark in found if mark["event"] == "connection lost"]
    assert lost["cause"] == "closed"
    assert "try again with ***" in lost["reason"]
    assert [b"authSuccess" in frame or b'"action":"auth"' in frame for frame in frames(capture)].count(True) == 2
    assert not any(b"a-good-token" in entry.data for entry in entries(capture))
    times = [entry.time_us for entry in entries(capture)]
    assert times == sorted(times)
    with open_capture(capture) as opened:
        assert opened.header["dialect"] == dialect
        assert opened.header["instance"] == "test-bridge"
    await scene.proof(DisconnectCause.CLOSED)


@pytest.mark.parametrize(
    ("fault", "cause", "detail"),
    [
        (faults.Garbage(), "dead_letter", "not_json"),
        (faults.UnknownKind(), "dead_letter", "unknown_kind"),
        (faults.UnknownField(), "unknown_field", ""),
        (faults.Drop(), "gap", "network: "),
    ],
)
async def test_an_incident_writes_the_frames_before_it(
    fault: Fault, cause: str, detail: str, stage: Stage, tmp_path: Path
) -> None:
    """The frame at fault is the last; nothing else is written."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator, BRIDGE_CAPTURE_DIR=str(tmp_path), **INCIDENTS) as scene:
            await scene.flows(sessions=1)
            assert not files(tmp_path)
            sent = simulator.sent.frames
            await simulator.inject(fault)
            line = await written(scene, cause)
            assert line["detail"].startswith(detail)
            [path] = files(tmp_path)
            assert line["file"] == str(path)
            assert line["frames"] == len(frames(path)) >= sent
            with open_capture(path) as opened:
                assert (opened.header["cause"], opened.header["detail"]) == (cause, line["detail"])
            assert scene.bridge.recorder.incidents_written == 1
    assert files(tmp_path) == [path]


async def test_the_first_bad_value_of_a_field_is_an_incident(stage: Stage, tmp_path: Path) -> None:
    """The bridge publishes it as null, and the capture has what was sent."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator, BRIDGE_CAPTURE_DIR=str(tmp_path), **INCIDENTS) as scene:
            await scene.flows(sessions=1)
            await simulator.quote("AAPL", bidPrice="1", askPrice="N/A")
            line = await written(scene, "bad_field")
            assert line["detail"] == "quotes: askPrice"
            assert b'"N/A"' in frames(*files(tmp_path))[-1]


async def test_without_a_directory_nothing_is_kept(stage: Stage) -> None:
    """A dead letter and a request to write cost nothing."""
    async with Simulator() as simulator:
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.Garbage())
            await scene.takes(simulator.sent.lines)
            scene.bridge.recorder.incident("signal")
            assert type(scene.bridge.client._connection).__name__ == "type"
            assert scene.bridge.client._connection.__name__ == "Connection"
        assert not scene.logged("frames before an incident captured")


async def test_a_full_disk_costs_no_record(stage: Stage, tmp_path: Path) -> None:
    """The bridge goes on; the frames that are missing in the capture are counted, and logged once."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator, BRIDGE_CAPTURE_DIR=str(tmp_path)) as scene:
            await scene.flows(sessions=1)
            recorder = scene.bridge.recorder
            await eventually(lambda: recorder.frames_written, "the first frames")
            with files_of_at_most(1):
                await simulator.emit(100)
                await scene.takes(simulator.sent.lines)
                await eventually(lambda: recorder.frames_dropped >= 100, "frames that are dropped")
                await simulator.emit(100)
                await scene.takes(simulator.sent.lines)
                await eventually(lambda: recorder.frames_dropped >= 200, "more frames that are dropped")
            collector = BridgeCollector(scene.bridge, RateHistory(scene.bridge.accounts), str)
            text = exposition(registry(collector))[0].decode()
            assert f"aries_bridge_capture_frames_dropped_total {recorder.frames_dropped}.0" in text
        assert [line["log_level"] for line in scene.logged("capture incomplete")] == ["warning"]
        assert not scene.causes
    await scene.proof()
