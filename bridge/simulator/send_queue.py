"""The bounded queue of data to write to one client, so that a slow client does not delay the others."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from bridge.simulator.line_counts import LineLabel


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One line, or with ``whole_frame`` a frame, with the label of each line in it.

    With ``close_frame`` (close code and reason) the connection is closed at this point of the queue instead.
    """

    data: bytes
    labels: tuple[LineLabel, ...] = ()
    whole_frame: bool = False
    close_frame: tuple[int, str] | None = None


class SendQueue:
    """A FIFO queue that combines lines into frames of up to ``lines_per_frame``."""

    def __init__(self, *, limit_bytes: int, lines_per_frame: int) -> None:
        self.queued_bytes = 0
        self._limit_bytes = limit_bytes
        self._lines_per_frame = lines_per_frame
        self._queue: deque[Outgoing] = deque()
        self._not_empty = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def full(self) -> bool:
        """Return whether market data has to be skipped now."""
        return self.queued_bytes >= self._limit_bytes

    def put(self, item: Outgoing) -> None:
        """Append a line or a frame, even if the queue is full."""
        self._queue.append(item)
        self.queued_bytes += len(item.data)
        self._not_empty.set()

    async def next_frame(self) -> Outgoing:
        """Wait for data, and remove and return the next frame."""
        await self._not_empty.wait()
        queue = self._queue
        items = [queue.popleft()]
        if not items[0].whole_frame:
            while queue and len(items) < self._lines_per_frame and not queue[0].whole_frame:
                items.append(queue.popleft())
        self.queued_bytes -= sum(len(item.data) for item in items)
        if not queue:
            self._not_empty.clear()
        return items[0] if len(items) == 1 else join_lines(items)

    def clear(self) -> list[Outgoing]:
        """Remove and return everything."""
        removed = list(self._queue)
        self._queue.clear()
        self._not_empty.clear()
        self.queued_bytes = 0
        return removed


def join_lines(lines: list[Outgoing], *, whole_frame: bool = False) -> Outgoing:
    """Return these lines as the data of one frame."""
    labels = tuple(label for line in lines for label in line.labels)
    return Outgoing(b"\n".join([line.data for line in lines]), labels, whole_frame)
