"""What waits to be written to one client: bounded, so that one slow client holds up nobody."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from bridge.simulator.tally import Mark


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """Hold bytes for one line, or with ``alone`` for a whole frame, and what its lines are.

    With a ``farewell`` (close code and reason) the connection is closed at this point instead.
    """

    data: bytes
    marks: tuple[Mark, ...] = ()
    alone: bool = False
    farewell: tuple[int, str] | None = None


class Outbox:
    """Queue lines in order and hand them out as frames of up to so many lines."""

    def __init__(self, *, limit_bytes: int, lines_per_frame: int) -> None:
        self.limit_bytes = limit_bytes
        self.lines_per_frame = lines_per_frame
        self.queued_bytes = 0
        self._queue: deque[Outgoing] = deque()
        self._filled = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def full(self) -> bool:
        """Tell whether market data has to be skipped now."""
        return self.queued_bytes >= self.limit_bytes

    def put(self, item: Outgoing) -> None:
        """Queue a line or a frame."""
        self._queue.append(item)
        self.queued_bytes += len(item.data)
        self._filled.set()

    async def wait(self) -> None:
        """Wait until there is something to write."""
        await self._filled.wait()

    def take(self) -> Outgoing:
        """Return the next frame and what is in it."""
        queue = self._queue
        lines = [queue.popleft()]
        if not lines[0].alone:
            while queue and len(lines) < self.lines_per_frame and not queue[0].alone:
                lines.append(queue.popleft())
        self.queued_bytes -= sum(len(line.data) for line in lines)
        if not queue:
            self._filled.clear()
        return lines[0] if len(lines) == 1 else _joined(lines)

    def empty(self) -> list[Outgoing]:
        """Return all that waits, and forget it."""
        waiting = list(self._queue)
        self._queue.clear()
        self._filled.clear()
        self.queued_bytes = 0
        return waiting


def _joined(lines: list[Outgoing]) -> Outgoing:
    marks = tuple(mark for line in lines for mark in line.marks)
    return Outgoing(b"\n".join([line.data for line in lines]), marks)
