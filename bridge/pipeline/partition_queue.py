"""The queue of one partition: records read and not yet acknowledged, in order."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

from bridge.topics import LatestTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.topics import AnyTopic, Topic

#: (time of reading in µs since the epoch, key, value, reason of a dead letter)
Record = tuple[int, bytes | None, bytes, str | None]
#: What a record costs beyond its value: a tuple, a bytes object and an int on CPython. It shares its symbol's key.
RECORD_OVERHEAD_BYTES = 192
#: Batches that are acknowledged before a limit that bisecting set is lifted.
BATCHES_BEFORE_FULL = 16
#: Kafka's default ``max.message.bytes`` is 1 MiB + 12; the rest is for the key and the batch's own header.
MAX_RECORD_BYTES: Final = 1_000_000
#: The value of a record that is sent without one: on a compacted topic it removes its key.
TOMBSTONE: Final = b""


class PartitionQueue:
    """The records of one partition in order: those in flight, then those waiting."""

    __slots__ = (
        "_batches_accepted",
        "_is_repeat",
        "_last_batch_records",
        "_max_batch_records",
        "_replaced",
        "bytes",
        "has_conflated",
        "has_tombstones",
        "in_flight",
        "is_overloaded",
        "is_ready",
        "is_stalled",
        "name",
        "partition",
        "sent_at",
        "suspects",
        "topic",
        "unanswered_since",
        "waiting",
    )

    def __init__(self, topic: AnyTopic, name: str, number: int) -> None:
        self.topic = topic
        self.name = name
        self.partition = number
        self.waiting: deque[Record] = deque()
        self.in_flight: list[Record] = []
        #: Whether conflated records wait beside the queue; see ``Conflation``.
        self.has_conflated = False
        self.has_tombstones = isinstance(topic, LatestTopic)
        #: What all of them take from the budget.
        self.bytes = 0
        self.is_ready = False
        #: Whether Kafka does not take its records now; see ``RecordBuffer.set_stalled``.
        self.is_stalled = False
        #: Whether a record found no room since the queue last had room for all.
        self.is_overloaded = False
        #: When the batch in flight was sent, and since when no broker has answered a batch (monotonic seconds).
        self.sent_at = 0.0
        self.unanswered_since: float | None = None
        #: Records that were rejected alone, set aside while the next one shows whether it is the topic's fault.
        self.suspects: list[Record] = []
        #: The record behind them as it was before it was marked, if it was.
        self._replaced: Record | None = None
        self._last_batch_records = 0
        self._max_batch_records = 0  # 0: as many as fit
        self._is_repeat = False
        self._batches_accepted = 0

    def __len__(self) -> int:
        return len(self.waiting) + len(self.in_flight) + len(self.suspects)

    @property
    def line_topic(self) -> Topic:
        """Return the topic of a queue that has records made of lines."""
        assert not isinstance(self.topic, LatestTopic)
        return self.topic

    # -- batches ------------------------------------------------------------------------------------------------

    def next_batch(self) -> Iterable[Record]:
        """Return the records that the next batch may have, oldest first."""
        records = islice(self.waiting, self._max_batch_records or None)
        return map(_with_tombstone, records) if self.has_tombstones else records

    def start_batch(self, count: int, now: float) -> None:
        """Put the first ``count`` waiting records in flight."""
        assert not self.in_flight, "a partition has at most one batch in flight"
        if count == len(self.waiting):
            self.in_flight = list(self.waiting)
            self.waiting.clear()
        else:
            self.in_flight = [self.waiting.popleft() for _ in range(count)]
        self._last_batch_records = count
        self.sent_at = now
        if self.unanswered_since is None:
            self.unanswered_since = now

    def end_batch(self) -> list[Record]:
        """Return the records that were in flight; the queue no longer has them."""
        records, self.in_flight = self.in_flight, []
        return records

    def requeue_batch(self) -> int:
        """Put the batch in flight back at the head of the queue; return how many records it has."""
        records = self.end_batch()
        self.waiting.extendleft(reversed(records))
        return len(records)

    def repeat_batch(self) -> None:
        """Limit the next batch to the records of the last one: a broker may have it, and recognizes it only whole."""
        self._max_batch_records = self._last_batch_records
        self._is_repeat = True

    @property
    def is_limited(self) -> bool:
        """Return whether the next batch may not have as many records as fit."""
        return self._max_batch_records > 0

    @property
    def kept_records(self) -> int:
        """Return how many of the first waiting records must stay: a batch to repeat, or the one behind suspects."""
        return self._max_batch_records if self._is_repeat else bool(self.suspects)

    def halve_batch(self) -> bool:
        """Limit the next batch to half of the last one; return False if that had one record."""
        self._max_batch_records = max(1, self._last_batch_records // 2)
        self._batches_accepted = 0
        self._is_repeat = False
        return self._last_batch_records > 1

    def note_accepted(self) -> None:
        """Note that Kafka has taken a batch; after some, a limit is lifted."""
        if self._max_batch_records:
            self._batches_accepted += 1
            if self._is_repeat or self._batches_accepted >= BATCHES_BEFORE_FULL:
                self.lift_limit()

    def end_search(self) -> None:
        """Put suspects back, and let the next batch have as many records as fit, unless one must be repeated."""
        if not self._is_repeat:
            self.restore_suspects()
            self.lift_limit()

    def lift_limit(self) -> None:
        """Let the next batch have as many records as fit."""
        self._max_batch_records = self._batches_accepted = 0
        self._is_repeat = False

    # -- single records -----------------------------------------------------------------------------------------

    def mark_next(self, key: bytes, mark: Callable[[bytes], bytes], start: int = 0) -> bool:
        """Replace the value of the first waiting record of a key from a place on; return False if there is none."""
        for place, (ingest_us, of, value, reason) in enumerate(islice(self.waiting, start, None), start):
            if of == key:
                self.waiting[place] = ingest_us, key, mark(value), reason
                return True
        return False

    def remove(self, is_removed: Callable[[bytes | None], bool]) -> list[Record]:
        """Remove the records with these keys, wherever they are, and return them; a search for a bad one ends."""
        self.restore_suspects()
        removed = [record for record in (*self.in_flight, *self.waiting) if is_removed(record[1])]
        if removed:
            self.in_flight = [record for record in self.in_flight if not is_removed(record[1])]
            self.waiting = deque(record for record in self.waiting if not is_removed(record[1]))
            self.lift_limit()
        return removed

    def set_aside_first(self, mark: Callable[[bytes], bytes]) -> None:
        """Set the first record aside with the suspects there are, and limit the next batch to the one behind it.

        If that has the key of one of them, it is marked: it would be the first after a missing record.
        """
        self._unmark()
        self.suspects.append(self.waiting.popleft())
        self._max_batch_records = 1
        self._is_repeat = False
        ingest_us, key, value, reason = self.waiting[0]
        if any(key == of for _, of, _, _ in self.suspects):
            self._replaced = self.waiting[0]
            self.waiting[0] = ingest_us, key, mark(value), reason

    def restore_suspects(self) -> None:
        """Put the records that were set aside back at the head, as if they had not been."""
        self._unmark()
        self.waiting.extendleft(reversed(self.suspects))
        self.suspects = []

    def take_suspects(self) -> tuple[list[Record], bytes | None]:
        """Return the records that were set aside, and the key of the one behind if it was marked; they are gone."""
        suspects, marked = self.suspects, None if self._replaced is None else self._replaced[1]
        self.suspects, self._replaced = [], None
        return suspects, marked

    def _unmark(self) -> None:
        if self._replaced is not None:
            self.waiting[0], self._replaced = self._replaced, None


def _with_tombstone(record: Record) -> Record:
    """Return a record as Kafka gets it: null in place of an empty value, which no other record has."""
    ingest_us, key, value, reason = record
    return ingest_us, key, value or None, reason  # type: ignore[return-value]  # only here, and not to be accounted for


def size_of(record: Record) -> int:
    """Return what a record takes from the budget, in bytes."""
    return len(record[2]) + RECORD_OVERHEAD_BYTES
