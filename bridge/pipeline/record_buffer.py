"""Records read and not yet acknowledged: one queue per partition, one byte budget for all.

A record is ours until Kafka has acknowledged it. A queue has at most one batch in flight, so nothing can overtake
within a partition, whatever fails: what was in flight goes back to the head of its queue (``requeue``) and is sent
again before anything younger.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bridge.pipeline.accounts import Accounts

#: (time of reading in µs since the epoch, key, value, reason of a dead letter)
Record = tuple[int, bytes | None, bytes, str | None]
#: What a record costs beyond its value: a tuple, a bytes object and an int on CPython. Its symbol's key it shares.
RECORD_OVERHEAD_BYTES = 192


class PartitionQueue:
    """Hold the records of one partition in order: those in flight, then those waiting."""

    __slots__ = (
        "in_flight",
        "is_ready",
        "last_count",
        "max_records",
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
        self.sent_at = 0.0
        #: How many records the last batch had, and how many the next may have (0 = as many as fit).
        self.last_count = self.max_records = 0

    def __len__(self) -> int:
        return len(self.waiting) + len(self.in_flight)


class RecordBuffer:
    """The partition queues, their common budget, and the accounts of what enters and leaves them.

    ``partition`` returns the number of a key's partition, given the key and how many partitions there are.
    """

    def __init__(
        self,
        names: Mapping[Topic, str],
        accounts: Accounts,
        budget_bytes: int,
        partition: Callable[[bytes, int], int],
    ) -> None:
        self.bytes = 0
        self.budget_bytes = budget_bytes
        #: Called when a queue has something to send; the publisher sets it.
        self.on_work: Callable[[], None] = _nothing
        #: Called when acknowledged records have made room; the intake sets it.
        self.on_room: Callable[[], None] = _nothing
        self._names = names
        self._partition = partition
        self._accounts = accounts
        self._queues: dict[Topic, list[PartitionQueue]] = {}
        self._ready: list[PartitionQueue] = []

    def open(self, partition_counts: Mapping[Topic, int]) -> None:
        """Make the queues; the counts stay as they are from then on, so that no symbol changes its partition."""
        for topic, count in partition_counts.items():
            self._queues[topic] = [PartitionQueue(topic, self._names[topic], number) for number in range(count)]

    def partitions(self, topic: Topic) -> int:
        """Return how many queues a topic has."""
        return len(self._queues[topic])

    def queue_for(self, topic: Topic, key: bytes | None) -> PartitionQueue:
        """Return the queue of a key, as the Java client's partitioner chooses; without a key the first."""
        queues = self._queues[topic]
        return queues[self._partition(key, len(queues))] if key is not None else queues[0]

    def offer(self, queue: PartitionQueue, record: Record) -> bool:
        """Append what became of a line to its queue if it fits the budget; return whether it did."""
        size = self.bytes + len(record[2]) + RECORD_OVERHEAD_BYTES
        if size > self.budget_bytes:
            return False
        self.bytes = size
        self._accounts.pending += 1
        queue.waiting.append(record)
        if not queue.is_ready and not queue.in_flight:
            self._make_ready(queue)
        return True

    def add(self, queue: PartitionQueue, record: Record) -> None:
        """Append a record to its queue, also beyond the budget."""
        queue.waiting.append(record)
        self.bytes += size_of(record)
        if queue.topic is not Topic.CONTROL:
            self._accounts.pending += 1
        if not queue.is_ready and not queue.in_flight:
            self._make_ready(queue)

    def take_ready(self) -> list[PartitionQueue]:
        """Return the queues that have something to send and nothing in flight, once.

        They count as ready until they are ``sent`` or taken back: what is added meanwhile does not announce them anew.
        """
        ready, self._ready = self._ready, []
        return ready

    def defer(self, queue: PartitionQueue) -> None:
        """Take back a queue that cannot be sent just now, without announcing it."""
        self._ready.append(queue)

    def sent(self, queue: PartitionQueue, count: int, now: float) -> None:
        """Note that the first ``count`` waiting records are in flight."""
        assert not queue.in_flight, "a queue has at most one batch in flight"
        queue.is_ready = False
        queue.in_flight = [queue.waiting.popleft() for _ in range(count)]
        queue.last_count = count
        queue.sent_at = now

    def acknowledged(self, queue: PartitionQueue) -> None:
        """Note that Kafka has acknowledged what was in flight."""
        records, queue.in_flight = queue.in_flight, []
        self.bytes -= sum([len(value) for _, _, value, _ in records]) + len(records) * RECORD_OVERHEAD_BYTES
        self._settle(queue.topic, records)
        if queue.waiting and not queue.is_ready:
            self._make_ready(queue)
        self.on_room()

    def requeue(self) -> int:
        """Return everything in flight to the heads of its queues, to be sent again; return how much that is."""
        returned = 0
        for queue in self.queues():
            returned += len(queue.in_flight)
            queue.waiting.extendleft(reversed(queue.in_flight))
            queue.in_flight = []
            queue.is_ready = bool(queue.waiting)
        # All of them: some may have been taken and not sent when the producer was lost.
        self._ready = [queue for queue in self.queues() if queue.is_ready]
        self.on_work()
        return returned

    def remove_first(self, queue: PartitionQueue) -> Record:
        """Take the first waiting record out, unsent: its caller accounts for it."""
        record = queue.waiting.popleft()
        self.bytes -= size_of(record)
        if queue.topic is not Topic.CONTROL:
            self._accounts.pending -= 1
        if not queue.waiting:
            queue.is_ready = False
            self._ready.remove(queue)
        return record

    def give_up(self) -> int:
        """Count everything that is left as undelivered; return how many of our own records were among it."""
        own = 0
        for queue in self.queues():
            if queue.topic is Topic.CONTROL:
                own += len(queue)
            elif len(queue):
                self._accounts.pending -= len(queue)
                self._accounts.undelivered[queue.topic] += len(queue)
            queue.waiting.clear()
            queue.in_flight = []
        self.bytes = 0
        return own

    def queues(self) -> Iterator[PartitionQueue]:
        """Yield every queue."""
        for queues in self._queues.values():
            yield from queues

    @property
    def has_ready(self) -> bool:
        """Return whether any queue waits to be sent."""
        return bool(self._ready)

    def oldest_ready_us(self) -> int:
        """Return when the oldest record that waits to be sent was read (µs since the epoch); 0 if none waits."""
        return min((queue.waiting[0][0] for queue in self._ready), default=0)

    @property
    def empty(self) -> bool:
        """Return whether everything is acknowledged."""
        return not any(map(len, self.queues()))

    def oldest_in_flight(self) -> float | None:
        """Return when the oldest batch in flight was sent (monotonic seconds)."""
        return min((queue.sent_at for queue in self.queues() if queue.in_flight), default=None)

    def _make_ready(self, queue: PartitionQueue) -> None:
        queue.is_ready = True
        self._ready.append(queue)
        self.on_work()

    def _settle(self, topic: Topic, records: list[Record]) -> None:
        if topic is Topic.CONTROL:
            self._accounts.announced += len(records)
            return
        self._accounts.pending -= len(records)
        if topic is Topic.DLQ:
            self._accounts.dead_lettered.update(reason or "" for *_, reason in records)
        else:
            self._accounts.published[topic] += len(records)


def size_of(record: Record) -> int:
    """Return what a record takes from the budget, in bytes."""
    return len(record[2]) + RECORD_OVERHEAD_BYTES


def _nothing() -> None:
    pass
