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
    from bridge.pipeline.ingest import Ingest, TakeLines

#: How many usual lines the compiled step takes in the time of one that the session takes.
_COMPILED_LINES: Final = 8
#: Lines one after the other that it may leave to the session before it is tried less often.
_TOLERATED_FAILURES: Final = 4


class Receiver:
    """The way of a connection's frames through the session and ingest.

    ``on_events`` is called when the session has events that the lines behind them must wait for.
    """

    def __init__(self, session: Session, ingest: Ingest, on_events: Callable[[], None]) -> None:
        self._session = session
        self._ingest = ingest
        self._on_events = on_events

    def receive(self, frames: deque[bytes], ingest_us: int, now: float, max_lines: int = BATCH_LINES) -> int:
        """Handle lines of one turn, and remove their frames; return how many lines had a message.

        ``data_in_frames`` of the session's keep-alive says whether there was market data among them.
        """
        lines, before_event = self._session.receive_some(frames, now, max_lines)
        self._ingest.ingest(lines[:before_event], ingest_us)
        if before_event < len(lines):
            self._on_events()  # first, as the session of the lines behind may start here
            self._ingest.ingest(lines[before_event:], ingest_us)
        return len(lines)


class CompiledReceiver(Receiver):
    """The same, where ``take`` of the compiled step is tried first."""

    def __init__(self, session: Session, ingest: Ingest, on_events: Callable[[], None], take: TakeLines) -> None:
        super().__init__(session, ingest, on_events)
        self._take = take
        #: How many attempts the compiled step has made since it last took a line.
        self._failures = 0

    def receive(self, frames: deque[bytes], ingest_us: int, now: float, max_lines: int = BATCH_LINES) -> int:
        """Handle lines as ``Receiver`` does, but of usual ones many more, as they take less time."""
        session, keep_alive, take = self._session, self._session.keep_alive, partial(self._take, ingest_us)
        data_in_frames, budget = False, max_lines * _COMPILED_LINES
        left = budget
        while frames and left > 0 and session.lost is None:
            taken = session.take_lines(frames, take, left, now)
            left -= taken
            if taken:
                data_in_frames |= keep_alive.data_in_frames
                self._failures = 0
            if frames and left > 0:
                lines = min(1 << max(0, self._failures - _TOLERATED_FAILURES), -(-left // _COMPILED_LINES))
                left -= max(1, super().receive(frames, ingest_us, now, lines)) * _COMPILED_LINES
                data_in_frames |= keep_alive.data_in_frames
                self._failures = min(self._failures + 1, BATCH_LINES)
        keep_alive.data_in_frames = data_in_frames
        return budget - left


def receiver(session: Session, ingest: Ingest, on_events: Callable[[], None]) -> Receiver:
    """Return the receiver of a connection, with the compiled step if ingest has it."""
    if ingest.take_lines is None:
        return Receiver(session, ingest, on_events)
    return CompiledReceiver(session, ingest, on_events, ingest.take_lines)
