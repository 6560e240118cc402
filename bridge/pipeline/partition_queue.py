"""The queue of one partition: records read and not yet acknowledged, in order."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.topics import Topic

#: (time of reading in µs since the epoch, key, value, reason of a dead letter)
Record = tuple[int, bytes | None, bytes, str | None]
#: What a record costs beyond its value: a tuple, a bytes object and an int on CPython. It shares its symbol's key.
RECORD_OVERHEAD_BYTES = 192


class PartitionQueue:
    """The records of one partition in order: those in flight, then those waiting."""

    __slots__ = (
        "_last_batch_records",
        "_max_batch_records",
        "in_flight",
        "is_ready",
        "name",
        "partition",
        "sent_at",
        "topic",
        "waiting",
    )

    def __init__(self, topic: Topic, name: str, number: int) -> None:
        self.topic = topic
        self.name = name
        self.partition = number
        self.waiting: deque[Record] = deque()
        self.in_flight: list[Record] = []
        self.is_ready = False
        #: When the batch in flight was sent (monotonic seconds).
        self.sent_at = 0.0
        self._last_batch_records = 0
        self._max_batch_records = 0  # 0: as many as fit

    def __len__(self) -> int:
        return len(self.waiting) + len(self.in_flight)

    def next_batch(self) -> Iterable[Record]:
        """Return the records that the next batch may have, oldest first."""
        return islice(self.waiting, self._max_batch_records or None)

    def start_batch(self, count: int, now: float) -> None:
        """Put the first ``count`` waiting records in flight."""
        assert not self.in_flight, "a partition has at most one batch in flight"
        self.in_flight = [self.waiting.popleft() for _ in range(count)]
        self._last_batch_records = count
        self.sent_at = now

    def end_batch(self) -> list[Record]:
        """Return the records that were in flight; the queue no longer has them."""
        records, self.in_flight = self.in_flight, []
        return records

    def requeue_batch(self) -> int:
        """Put the batch in flight back at the head of the queue; return how many records it has."""
        records = self.end_batch()
        self.waiting.extendleft(reversed(records))
        return len(records)

    def halve_batch(self) -> bool:
        """Limit the next batch to half of the last one; return False, and lift the limit, if that had one record."""
        self._max_batch_records = self._last_batch_records // 2
        return self._max_batch_records > 0

    def mark_next(self, key: bytes, mark: Callable[[bytes], bytes]) -> bool:
        """Replace the value of the next waiting record of a key; return False if none waits."""
        for place, (ingest_us, of, value, reason) in enumerate(self.waiting):
            if of == key:
                self.waiting[place] = ingest_us, key, mark(value), reason
                return True
        return False


def size_of(record: Record) -> int:
    """Return what a record takes from the budget, in bytes."""
    return len(record[2]) + RECORD_OVERHEAD_BYTES
