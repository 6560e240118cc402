"""From the frames of a connection to their records: the compiled step takes usual lines, the session all others.

Both take lines in their order, and a line is ingested before the next one is looked at, so it does not matter to any
record which of them takes it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bridge.aries.protocol.session import BATCH_LINES

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from bridge.aries.protocol.session import Session
    from bridge.pipeline.ingest import Ingest

#: How many usual lines the compiled step takes in the time of one that the session takes.
_COMPILED_LINES: Final = 8


class Receiver:
    """The way of a connection's frames through the session and ingest.

    ``on_events`` is called when the session has events that the lines behind them must wait for.
    """

    def __init__(self, session: Session, ingest: Ingest, on_events: Callable[[], None]) -> None:
        self._session = session
        self._ingest = ingest
        self._on_events = on_events
        #: Lines that the session takes before the compiled step is tried again: more, the more it left untouched.
        self._session_lines = 1

    def receive(self, frames: deque[bytes], ingest_us: int, now: float) -> bool:
        """Handle lines of one turn, and remove their frames; return whether there was market data among them."""
        take = self._ingest.take_lines
        if take is None:
            self._receive_some(frames, ingest_us, now, BATCH_LINES)
            return self._session.keep_alive.data_in_frames
        data_received, take_lines = False, partial(take, ingest_us)
        lines_left = BATCH_LINES * _COMPILED_LINES
        while frames and lines_left > 0:
            taken = self._session.take_lines(frames, take_lines, lines_left, now)
            lines_left -= taken
            if taken:
                data_received |= self._session.keep_alive.data_in_frames
                self._session_lines = 1
            if frames and lines_left > 0:
                lines_left -= self._receive_some(frames, ingest_us, now, self._session_lines) * _COMPILED_LINES
                data_received |= self._session.keep_alive.data_in_frames
                self._session_lines = min(2 * self._session_lines, BATCH_LINES)
            if self._session.lost is not None:
                break
        return data_received

    def _receive_some(self, frames: deque[bytes], ingest_us: int, now: float, max_lines: int) -> int:
        lines, before_event = self._session.receive_some(frames, now, max_lines)
        self._ingest.ingest(lines[:before_event], ingest_us)
        if before_event < len(lines):
            self._on_events()  # first, as the session of the lines behind may start here
            self._ingest.ingest(lines[before_event:], ingest_us)
        return max(1, len(lines))
