"""What the bridge tells its capture: frames as they are received, what happens between them, and incidents."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from bridge.capture.file_format import marker
from bridge.capture.writer import Incident, Read, size_of
from bridge.clock import wall_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.capture.writer import Captured, CaptureWriter

#: At most one incident in so many seconds is written.
INCIDENT_INTERVAL_SECONDS: Final = 60.0
#: What a read costs in memory beyond its frames: a tuple, a list and a number.
READ_OVERHEAD_BYTES: Final = 200
#: The cause of an incident that an operator asked for; it does not wait for the interval.
REQUESTED: Final = "signal"


class Recorder(Protocol):
    """Whatever takes what is to be captured; none of its methods waits."""

    def frames(self, frames: tuple[bytes, ...]) -> None:
        """Take the frames of one read."""

    def mark(self, event: str, **details: object) -> None:
        """Take what happens between two frames."""

    def incident(self, cause: str, detail: str = "") -> None:
        """Write out what was received before this, if it is time for that."""


class NoRecorder:
    """The recorder of a bridge that captures nothing."""

    frames_written = frames_dropped = incidents_written = 0

    def start(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def frames(self, frames: tuple[bytes, ...]) -> None:
        """Do nothing."""

    def mark(self, event: str, **details: object) -> None:
        """Do nothing."""

    def incident(self, cause: str, detail: str = "") -> None:
        """Do nothing."""


class CaptureRecorder:
    """A recorder that writes everything, or only what was received before each incident.

    The last ``flight_bytes`` of frames are kept in memory for incidents; 0 = none. ``clock`` returns monotonic seconds.
    """

    def __init__(
        self,
        writer: CaptureWriter,
        *,
        everything: bool,
        flight_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._takers: tuple[Callable[[Captured], None], ...] = (
            *((writer.add,) if everything else ()),
            *((self._keep,) if flight_bytes else ()),
        )
        self._flight_bytes = flight_bytes
        self._clock = clock
        self._next_incident_at = -1.0
        self._kept: deque[Captured] = deque()
        self._kept_bytes = 0

    @property
    def frames_written(self) -> int:
        """Return how many frames are in the capture."""
        return self._writer.frames_written

    @property
    def frames_dropped(self) -> int:
        """Return how many frames are missing in the capture."""
        return self._writer.frames_dropped

    @property
    def incidents_written(self) -> int:
        """Return how many incidents were written out."""
        return self._writer.incidents_written

    def start(self) -> None:
        """Start to write."""
        self._writer.start()

    async def close(self) -> None:
        """Write the rest, within some seconds."""
        await asyncio.to_thread(self._writer.close)

    def frames(self, frames: tuple[bytes, ...]) -> None:
        """Take the frames of one read."""
        read = Read.of(wall_us(), frames)
        for take in self._takers:
            take(read)

    def mark(self, event: str, **details: object) -> None:
        """Take what happens between two frames."""
        entry = marker(event, wall_us(), details)
        for take in self._takers:
            take(entry)

    def incident(self, cause: str, detail: str = "") -> None:
        """Write out what is kept, unless that was done within the interval."""
        if not self._flight_bytes:
            return
        now = self._clock()
        if cause != REQUESTED and now < self._next_incident_at:
            return
        if self._writer.add_incident(Incident(cause, detail, tuple(self._kept))):
            self._next_incident_at = now + INCIDENT_INTERVAL_SECONDS

    def _keep(self, captured: Captured) -> None:
        """Keep something in memory, and forget the oldest beyond the limit."""
        self._kept.append(captured)
        self._kept_bytes += size_of(captured) + READ_OVERHEAD_BYTES
        while self._kept_bytes > self._flight_bytes:
            self._kept_bytes -= size_of(self._kept.popleft()) + READ_OVERHEAD_BYTES
