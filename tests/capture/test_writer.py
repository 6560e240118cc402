"""The writer of captures: rotation, limits, and disks that fail or are slow. The thread's work is called directly."""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING

import structlog

from bridge.capture import writer as writer_module
from bridge.capture.file_format import marker
from bridge.capture.writer import CaptureWriter, Incident, Read
from tests.capture.captured import ABOUT, directory, entries, files, files_of_at_most, frames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

LIMIT = 16 << 20


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def read(*data: bytes, time_us: int = 1) -> Read:
    return Read.of(time_us, data)


def opened(path: Path, clock: Clock | None = None, *, max_bytes: int = LIMIT, queued: int = 64 << 20) -> CaptureWriter:
    return CaptureWriter(directory(path, max_bytes), ABOUT, str, max_queued_bytes=queued, clock=clock or Clock())


def write(writer: CaptureWriter, *reads: Read) -> None:
    for one in reads:
        writer.add(one)
    writer._write_queued()


def incompressible(size: int) -> bytes:
    return os.urandom(size)


def total(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def test_the_thread_writes_what_was_added_before_the_end(tmp_path: Path) -> None:
    """Frames and markers, in the order in which they were added."""
    writer = opened(tmp_path)
    writer.start()
    writer.add(read(b"1", b"2", time_us=7))
    writer.add(marker("connected", 8, {}))
    writer.add(read(b"3", time_us=9))
    writer.close()
    [path] = files(tmp_path)
    found = [(entry.time_us, entry.data) for entry in entries(path)]
    assert found == [(7, b"1"), (7, b"2"), (8, b'{"event":"connected"}'), (9, b"3")]
    assert (writer.frames_written, writer.frames_dropped) == (3, 0)


def test_a_file_that_is_old_is_followed_by_another(tmp_path: Path) -> None:
    """By the clock, with the next frame."""
    clock = Clock()
    writer = opened(tmp_path, clock)
    write(writer, read(b"1"))
    write(writer, read(b"2"))
    clock.now += writer_module.MAX_FILE_AGE_SECONDS
    write(writer, read(b"3"))
    first, second = files(tmp_path)
    assert (frames(first), frames(second)) == ([b"1", b"2"], [b"3"])


def test_files_are_no_larger_and_no_more_than_the_limit_allows(tmp_path: Path) -> None:
    """The oldest are deleted before a new one is begun; what is left is the newest, without a hole."""
    writer = opened(tmp_path)
    sent = [incompressible(300_000) for _ in range(150)]
    for data in sent:
        write(writer, read(data))
        assert total(files(tmp_path)) <= LIMIT
    kept = files(tmp_path)
    assert max(path.stat().st_size for path in kept) <= LIMIT // writer_module.FILES_WITHIN_LIMIT
    found = frames(*kept)
    assert len(found) > 30
    assert found == sent[-len(found) :]
    assert writer.frames_dropped == 0


def test_captures_of_earlier_processes_count_and_other_files_stay(tmp_path: Path) -> None:
    """A pod has another name than the one before it, but the same volume."""
    old = tmp_path / "aries-20200101T000000.000000Z-another-pod-all.capture.zst"
    old.write_bytes(bytes(LIMIT - 1000))
    (tmp_path / "notes.txt").write_bytes(bytes(LIMIT))
    write(opened(tmp_path), read(b"1"))
    assert not old.exists()
    assert (tmp_path / "notes.txt").exists()
    assert frames(*files(tmp_path)) == [b"1"]


def test_an_incident_within_the_limit_leaves_room_for_the_file_that_grows(tmp_path: Path) -> None:
    """All together stay within the limit, whatever the order."""
    writer = opened(tmp_path)
    for _ in range(20):
        write(writer, read(incompressible(900_000)))
        writer.add_incident(Incident("gap", "", [read(incompressible(700_000))]))
        writer._write_queued()
        assert total(files(tmp_path)) <= LIMIT
    assert writer.incidents_written == 20
    assert files(tmp_path, "all")
    assert files(tmp_path, "gap")


def test_a_frame_that_no_file_can_hold_is_dropped(tmp_path: Path) -> None:
    """It is counted, and those around it are kept."""
    writer = opened(tmp_path)
    write(writer, read(b"1"), read(bytes(LIMIT // 8 + 1)), read(b"2"))
    assert frames(*files(tmp_path)) == [b"1", b"2"]
    assert writer.frames_dropped == 1


def test_frames_are_dropped_and_counted_while_the_queue_is_full(tmp_path: Path) -> None:
    """One log line says so, and another one when nothing was missing for a while."""
    clock = Clock()
    writer = opened(tmp_path, clock, queued=1000)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            write(writer, read(bytes(500)), read(bytes(500), bytes(500)), read(b"fits"))
        assert writer.frames_dropped == 6
        write(writer, read(b"all fits"))
        clock.now += writer_module.RETRY_SECONDS
        write(writer, read(b"again"))
    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("capture incomplete", "the disk is slower than the feed"),
        ("capture continues", None),
    ]
    assert logs[1]["frames_dropped"] == 6
    assert len(frames(*files(tmp_path))) == 8


def test_a_full_disk_costs_frames_of_the_capture_only_until_there_is_room(tmp_path: Path) -> None:
    """What was written can be read; the rest is counted; after a while a new file is begun."""
    clock = Clock()
    writer = opened(tmp_path, clock)
    with structlog.testing.capture_logs() as logs:
        write(writer, read(b"before"))
        with files_of_at_most(4096):
            write(writer, read(incompressible(9000), b"lost"))
            write(writer, read(b"not tried"))
            clock.now += writer_module.RETRY_SECONDS
            write(writer, read(incompressible(9000)))
        clock.now += writer_module.RETRY_SECONDS
        write(writer, read(b"after"))
    found = [frames(path) for path in files(tmp_path)]
    assert found[0] == [b"before"]
    assert found[-1] == [b"after"]
    assert (writer.frames_written, writer.frames_dropped) == (2, 4)
    assert [line["event"] for line in logs] == ["capture incomplete", "capture continues"]
    assert "File too large" in logs[0]["reason"]
    assert str(tmp_path) in logs[0]["reason"]


def test_a_directory_that_disappears_is_a_failure_like_others(tmp_path: Path) -> None:
    """An incident is then lost, too."""
    writer = opened(tmp_path / "gone")
    with structlog.testing.capture_logs() as logs:
        write(writer, read(b"1"))
        writer.add_incident(Incident("gap", "", [read(b"1")]))
        writer._write_queued()
    assert [line["event"] for line in logs] == ["capture incomplete"]
    assert (writer.frames_dropped, writer.incidents_written) == (1, 0)


def test_a_directory_that_disappears_later_costs_what_is_in_it(tmp_path: Path) -> None:
    """The open file is still written; the next one cannot be opened."""
    (tmp_path / "gone").mkdir()
    clock = Clock()
    writer = opened(tmp_path / "gone", clock)
    write(writer, read(b"1"))
    shutil.rmtree(tmp_path / "gone")
    clock.now += writer_module.MAX_FILE_AGE_SECONDS
    with structlog.testing.capture_logs():
        write(writer, read(b"2"))
    assert writer.frames_dropped == 1


def test_an_incident_has_a_file_of_its_own_that_a_log_line_names(tmp_path: Path) -> None:
    """With cause and detail in its header."""
    writer = opened(tmp_path)
    with structlog.testing.capture_logs() as logs:
        assert writer.add_incident(Incident("dead_letter", "not_json", [read(b"1", b"2"), marker("sent", 2, {})]))
        assert not writer.add_incident(Incident("gap", "", [])), "one waits"
        writer._write_queued()
    [path] = files(tmp_path)
    assert path.name.endswith("-test-bridge-dead_letter.capture.zst")
    assert frames(path) == [b"1", b"2"]
    [line] = logs
    assert line == {
        "event": "frames before an incident captured",
        "log_level": "info",
        "file": str(path),
        "cause": "dead_letter",
        "detail": "not_json",
        "frames": 2,
    }
    assert writer.add_incident(Incident("gap", "", []))


def test_the_end_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread stays behind."""
    monkeypatch.setattr(writer_module, "CLOSE_TIMEOUT_SECONDS", 0.05)
    hangs = threading.Event()

    def hang(text: str) -> str:
        hangs.wait()
        return text

    writer = CaptureWriter(directory(tmp_path), ABOUT, hang)
    writer.start()
    writer.add(read(b"1"))
    writer.close()
    assert writer._thread.is_alive()
    hangs.set()
    writer._thread.join()


def test_an_instance_with_any_name_has_files_in_the_directory(tmp_path: Path) -> None:
    """A name with a path in it must not leave the directory."""
    found = directory(tmp_path)
    found = type(found)(tmp_path, LIMIT, "../../etc/a b\0" + "x" * 300)
    path = found.new_path(1_795_758_786_134_331, "all")
    assert path.parent == tmp_path
    assert path.name.startswith("aries-20261127T055306.134331Z-.._.._etc_a_b_xxx")
    path.touch()
    assert found.new_path(1_795_758_786_134_331, "all").name.startswith("aries-20261127T055306.134332Z-")
