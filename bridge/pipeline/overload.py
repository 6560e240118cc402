"""Overload: a queue finds no room, so its quotes and greeks conflate and its other events are dropped.

The queues that stall share a part of the budget: only their own records are lost, and the others never notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bridge.pipeline.partition_queue import PartitionQueue
    from bridge.pipeline.record_buffer import RecordBuffer


class Announcer(Protocol):
    """What announces that overload has started or ended."""

    def overload(self, started: bool, buffer_bytes: int) -> None:  # noqa: FBT001 - the one fact of the event
        """Announce it, with how much the buffer holds."""


class Overload:
    """The queues that have no room, and whether that was announced."""

    def __init__(self, buffer: RecordBuffer, announcer: Announcer) -> None:
        #: Whether any queue has no room, and what was announced of it last. Read on the hot path.
        self.active = False
        self.announced = False
        self._buffer = buffer
        self._announcer = announcer
        self._queues: dict[PartitionQueue, None] = {}

    def begin(self, queue: PartitionQueue) -> None:
        """Note that a record found no room in its queue."""
        queue.is_overloaded = self.active = True
        self._queues[queue] = None

    def end(self, queue: PartitionQueue) -> None:
        """Note that a queue has room for all its records again."""
        queue.is_overloaded = False
        self._queues.pop(queue, None)
        self.active = bool(self._queues)

    def recoverable(self) -> list[PartitionQueue]:
        """Return the queues that have no room by their own state, but may have it again."""
        if not self._buffer.has_drained:
            return []
        return [queue for queue in self._queues if not queue.is_stalled]

    def announce(self) -> None:
        """Announce a change. Call it between two lines: the accounts in the announcement then add up."""
        if self.active is not self.announced:
            self.announced = self.active
            self._announcer.overload(self.active, self._buffer.bytes)
