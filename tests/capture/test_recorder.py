"""The flight recorder: the newest frames in memory, written out when something happens."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from bridge.capture.recorder import INCIDENT_INTERVAL_SECONDS, CaptureRecorder
from bridge.capture.writer import CaptureWriter, Read, size_of
from tests.capture.captured import ABOUT, directory, files, frames
from tests.capture.test_writer import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bridge.capture.writer import Captured


def parts_of(captured: Captured) -> Iterator[object]:
    """Yield the objects that a read takes with it."""
    assert isinstance(captured, Read)
    yield from (captured.frames, *captured.frames)


class Recorded:
    """A recorder whose files are written when a test says so."""

    def __init__(self, path: Path, *, everything: bool = False, flight_bytes: int = 10_000) -> None:
        self.path = path
        self.clock = Clock()
        self.writer = CaptureWriter(directory(path), ABOUT, str, clock=self.clock)
        self.recorder = CaptureRecorder(self.writer, everything=everything, flight_bytes=flight_bytes, clock=self.clock)

    def incident(self, cause: str) -> list[bytes] | None:
        """Report an incident; return the frames of its file, None if it has none."""
        before = files(self.path)
        self.recorder.incident(cause, "why")
        self.writer._write_queued()
        new = [path for path in files(self.path) if path not in before]
        return frames(*new) if new else None


def test_an_incident_writes_what_was_received_before_it(tmp_path: Path) -> None:
    """The frame that caused it included; it is not forgotten by being written."""
    recorded = Recorded(tmp_path)
    recorded.recorder.frames((b"1", b"2"))
    assert recorded.incident("gap") == [b"1", b"2"]
    recorded.recorder.frames((b"3",))
    recorded.clock.now += INCIDENT_INTERVAL_SECONDS
    assert recorded.incident("dead_letter") == [b"1", b"2", b"3"]


def test_one_incident_a_minute_is_written_and_each_that_is_asked_for(tmp_path: Path) -> None:
    """A flood of bad lines writes one file a minute; an operator need not wait."""
    recorded = Recorded(tmp_path)
    recorded.recorder.frames((b"1",))
    assert recorded.incident("dead_letter") is not None
    assert recorded.incident("dead_letter") is None
    assert recorded.incident("gap") is None
    assert recorded.incident("signal") is not None
    recorded.clock.now += INCIDENT_INTERVAL_SECONDS
    assert recorded.incident("gap") is not None


@pytest.mark.parametrize("size", [1, 50, 3000])
def test_the_newest_frames_are_kept_within_the_limit(tmp_path: Path, size: int) -> None:
    """What they take in memory counts, and not only their bytes."""
    recorded = Recorded(tmp_path, flight_bytes=100_000)
    sent = [place.to_bytes(4, "big") + bytes(size) for place in range(3000)]
    for place in range(0, len(sent), 3):
        recorded.recorder.frames(tuple(sent[place : place + 3]))
    kept = list(recorded.recorder._kept)
    held = sum(sys.getsizeof(part) for one in kept for part in (one, one.time_us, *parts_of(one)))
    assert held <= 100_000
    assert sum(map(size_of, kept)) > 50_000
    found = recorded.incident("gap")
    assert found == sent[-len(found or ()) :]


def test_a_frame_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    """It forgets those before it, and memory stays bounded."""
    recorded = Recorded(tmp_path, flight_bytes=1000)
    recorded.recorder.frames((b"1",))
    recorded.recorder.frames((bytes(1001),))
    assert recorded.incident("gap") == []
    recorded.recorder.frames((b"2",))
    assert recorded.incident("signal") == [b"2"]


def test_without_memory_for_it_no_incident_is_written(tmp_path: Path) -> None:
    """The capture of everything goes on."""
    recorded = Recorded(tmp_path, everything=True, flight_bytes=0)
    recorded.recorder.frames((b"1",))
    assert recorded.incident("signal") == [b"1"]
    assert [path.name.rsplit("-", 1)[1] for path in files(tmp_path)] == ["all.capture.zst"]
    assert not recorded.recorder._kept


async def test_a_frame_is_recorded_with_the_time_at_which_it_was_read(tmp_path: Path) -> None:
    """Both in the capture of everything and before an incident."""
    recorded = Recorded(tmp_path, everything=True)
    recorded.recorder.frames((b"1",))
    recorded.recorder.mark("connected")
    await asyncio.to_thread(recorded.incident, "gap")
    everything, incident = (frames(path) for path in files(tmp_path))
    assert everything == incident == [b"1"]
