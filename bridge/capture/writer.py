"""The thread that writes capture files, so that no disk ever delays the event loop."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog

from bridge import log_events
from bridge.capture.capture_file import CaptureFile
from bridge.capture.file_format import ENTRY_HEAD, Entry, EntryKind
from bridge.clock import wall_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bridge.capture.directory import CaptureDirectory

log = structlog.get_logger(__name__)

#: What waits for the thread at most; beyond that, frames are missing in the capture.
MAX_QUEUED_BYTES: Final = 8 << 20
#: How often the thread writes what waits: a killed process loses so much of its capture.
WRITE_INTERVAL_SECONDS: Final = 0.2
#: Entries that are redacted, compressed and written together.
BLOCK_BYTES: Final = 64 << 10
#: A file is replaced by a new one when it is so large (or an eighth of the limit on all of them) or so old.
MAX_FILE_BYTES: Final = 64 << 20
FILES_WITHIN_LIMIT: Final = 8
MAX_FILE_AGE_SECONDS: Final = 900.0
#: After an error nothing is written for so long.
RETRY_SECONDS: Final = 10.0
#: How long the end of the process waits for what is not written yet.
CLOSE_TIMEOUT_SECONDS: Final = 2.0
#: What a frame costs in memory beyond its bytes: an object's head, its rounding, and its place in a list.
FRAME_OVERHEAD_BYTES: Final = 64


class Read(msgspec.Struct, frozen=True, gc=False):
    """The frames of one read, when they were received (µs since the epoch), and what they take in memory.

    The flight recorder keeps tens of thousands: neither this nor a tuple of bytes is looked at by garbage collections.
    """

    time_us: int
    frames: tuple[bytes, ...]
    size: int

    @classmethod
    def of(cls, time_us: int, frames: tuple[bytes, ...]) -> Read:
        """Return the frames of one read."""
        return cls(time_us, frames, sum(map(len, frames)) + len(frames) * FRAME_OVERHEAD_BYTES)


#: What is captured, in order.
Captured = Read | Entry


class Incident(NamedTuple):
    """What the flight recorder held when something happened."""

    cause: str
    detail: str
    captured: Sequence[Captured]


def size_of(captured: Captured) -> int:
    """Return what something captured takes in memory."""
    return captured.size if isinstance(captured, Read) else len(captured.data) + FRAME_OVERHEAD_BYTES


class CaptureWriter:
    """The queue of what is to be written, and its thread.

    ``about`` is what the header of each file says. ``add`` and ``add_incident`` are for the event loop, and never
    wait.
    """

    def __init__(
        self,
        directory: CaptureDirectory,
        about: Mapping[str, object],
        redact: Callable[[str], str],
        *,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.frames_written = 0
        self.incidents_written = 0
        self._directory = directory
        self._about = about
        self._redact = redact
        self._clock = clock
        self._max_queued_bytes = max_queued_bytes
        self._max_file_bytes = min(MAX_FILE_BYTES, directory.max_bytes // FILES_WITHIN_LIMIT)
        self._queue: deque[Captured | Incident] = deque()
        self._incident_waits = False
        #: Each of these numbers is changed by one thread only.
        self._bytes_queued = self._bytes_taken = 0
        self._frames_refused = self._frames_failed = 0
        self._file: CaptureFile | None = None
        self._file_opened_at = 0.0
        self._retry_at = 0.0
        #: Whether it is logged that frames are missing, and when the last one was.
        self._is_incomplete = False
        self._missing_at = 0.0
        self._reported_refused = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    @property
    def frames_dropped(self) -> int:
        """Return how many frames are missing in the capture."""
        return self._frames_refused + self._frames_failed

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits, but for no longer than a timeout: a disk that hangs must not keep the process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_SECONDS)

    def add(self, captured: Captured) -> None:
        """Queue what was captured, or drop and count it."""
        size = size_of(captured)
        if self._bytes_queued - self._bytes_taken + size > self._max_queued_bytes:
            self._frames_refused += len(captured.frames) if isinstance(captured, Read) else 0
            return
        self._bytes_queued += size
        self._queue.append(captured)

    def add_incident(self, incident: Incident) -> bool:
        """Queue what the flight recorder held, unless an earlier incident still waits; return whether it was queued."""
        if self._incident_waits:
            return False
        self._incident_waits = True
        self._queue.append(incident)
        return True

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.wait(WRITE_INTERVAL_SECONDS):
            self._write_queued()
        self._write_queued()
        self._close_file()

    def _write_queued(self) -> None:
        """Write all that is queued now: incidents to files of their own, the rest to the current file."""
        captured: list[Captured] = []
        for _ in range(len(self._queue)):
            taken = self._queue.popleft()
            if isinstance(taken, Incident):
                self._write_incident(taken)
                self._incident_waits = False
            else:
                captured.append(taken)
        self._check_refused()
        for block in _blocks(captured):
            self._write_block(block)
        self._bytes_taken += sum(map(size_of, captured))

    def _write_block(self, block: Sequence[Entry]) -> None:
        frames = sum([entry.is_frame for entry in block])
        size = sum([len(entry.data) + ENTRY_HEAD.size for entry in block])
        if self._clock() < self._retry_at or size > self._max_file_bytes:
            self._frames_failed += frames
            return
        try:
            self._file_for(size).add(block)
        except OSError as error:
            self._fail(error)
            self._frames_failed += frames
        else:
            self.frames_written += frames
            self._note_written()

    def _write_incident(self, incident: Incident) -> None:
        """Write the frames before an incident to a new file, and log its name."""
        file: CaptureFile | None = None
        frames = 0
        try:
            file = self._new_file(incident.cause, sum(map(size_of, incident.captured)), detail=incident.detail)
            for block in _blocks(incident.captured):
                file.add(block)
                frames += sum([entry.is_frame for entry in block])
            file.close()
        except OSError as error:
            self._fail(error)
            _abandon(file)
            return
        self.incidents_written += 1
        self._note_written()
        log.info(
            log_events.INCIDENT_CAPTURED,
            file=str(file.path),
            cause=incident.cause,
            detail=incident.detail,
            frames=frames,
        )

    def _file_for(self, size: int) -> CaptureFile:
        """Return the file that has room for so many bytes; raise OSError."""
        if self._file is not None and (
            self._file.bytes + size > self._max_file_bytes
            or self._clock() - self._file_opened_at >= MAX_FILE_AGE_SECONDS
        ):
            self._close_file()
        if self._file is None:
            self._file = self._new_file("all", self._max_file_bytes)
            self._file_opened_at = self._clock()
        return self._file

    def _new_file(self, cause: str, wanted_bytes: int, **about: object) -> CaptureFile:
        """Return a new file, when there is room for so many bytes within the limit; raise OSError."""
        now_us = wall_us()
        if self._file is None:
            self._directory.make_room(wanted_bytes)
        else:  # it may still grow
            self._directory.make_room(wanted_bytes + self._max_file_bytes - self._file.bytes, keep=self._file.path)
        path = self._directory.new_path(now_us, cause)
        return CaptureFile(path, {**self._about, "created_us": now_us, "cause": cause, **about}, self._redact)

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Leave the file as it is, and write nothing for a while."""
        file, self._file = self._file, None
        _abandon(file)
        self._retry_at = self._clock() + RETRY_SECONDS
        self._miss(f"cannot write to {str(self._directory.path)!r} ({error.strerror or error})")

    def _miss(self, reason: str) -> None:
        """Note that frames are missing; log the first of them."""
        self._missing_at = self._clock()
        if not self._is_incomplete:
            self._is_incomplete = True
            log.warning(log_events.CAPTURE_INCOMPLETE, reason=reason)

    def _note_written(self) -> None:
        """Log that nothing is missing any more, once that has been so for a while."""
        if self._is_incomplete and self._clock() - self._missing_at >= RETRY_SECONDS:
            self._is_incomplete = False
            log.info(log_events.CAPTURE_CONTINUES, frames_dropped=self.frames_dropped)

    def _check_refused(self) -> None:
        refused = self._frames_refused
        if refused != self._reported_refused:
            self._reported_refused = refused
            self._miss("the disk is slower than the feed")


def _blocks(captured: Iterable[Captured]) -> Iterator[list[Entry]]:
    """Yield the entries of what was captured, so many at a time as are written together."""
    block: list[Entry] = []
    size = 0
    for entry in _entries(captured):
        if size + len(entry.data) > BLOCK_BYTES and block:
            yield block
            block, size = [], 0
        block.append(entry)
        size += len(entry.data)
    if block:
        yield block


def _entries(captured: Iterable[Captured]) -> Iterator[Entry]:
    for one in captured:
        if isinstance(one, Read):
            for frame in one.frames:
                yield Entry(EntryKind.FRAME, one.time_us, frame)
        else:
            yield one


def _abandon(file: CaptureFile | None) -> None:
    if file is not None:
        with suppress(OSError):
            file.abandon()
