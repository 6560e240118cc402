"""Records read and not yet acknowledged: one lane per partition, one byte budget for all.

A record is ours until Kafka has acknowledged it. A lane has at most one batch in flight, so nothing can overtake
within a partition, whatever fails: what was in flight goes back to the head of its lane (``put_back``) and is sent
again before anything younger.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bridge.kafka.partitioner import partition
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bridge.pipeline.accounts import Accounts

#: (time of reading in µs since the epoch, key, value, reason of a dead letter)
Record = tuple[int, bytes | None, bytes, str | None]
#: What a record costs beyond its value: a tuple, a bytes object and an int on CPython. Its symbol's key it shares.
RECORD_OVERHEAD_BYTES = 192


class Lane:
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


class Batches:
    """Keep the lanes, their budget, and the accounts of what enters and leaves them."""

    def __init__(self, names: Mapping[Topic, str], accounts: Accounts, budget_bytes: int) -> None:
        self.bytes = 0
        self.budget_bytes = budget_bytes
        #: Called when a lane has something to send; the publisher sets it.
        self.on_work: Callable[[], None] = _nothing
        #: Called when acknowledged records have made room; the intake sets it.
        self.on_room: Callable[[], None] = _nothing
        self._names = names
        self._accounts = accounts
        self._lanes: dict[Topic, list[Lane]] = {}
        self._ready: list[Lane] = []

    def open(self, partition_counts: Mapping[Topic, int]) -> None:
        """Make the lanes; the counts stay as they are from then on, so that no symbol changes its partition."""
        for topic, count in partition_counts.items():
            self._lanes[topic] = [Lane(topic, self._names[topic], number) for number in range(count)]

    def partitions(self, topic: Topic) -> int:
        """Return how many lanes a topic has."""
        return len(self._lanes[topic])

    def lane_for(self, topic: Topic, key: bytes | None) -> Lane:
        """Return the lane of a key, as the Java client's partitioner chooses; without a key the first."""
        lanes = self._lanes[topic]
        return lanes[partition(key, len(lanes))] if key is not None else lanes[0]

    def offer(self, lane: Lane, record: Record) -> bool:
        """Append what became of a line to its lane if it fits the budget; return whether it did."""
        size = self.bytes + len(record[2]) + RECORD_OVERHEAD_BYTES
        if size > self.budget_bytes:
            return False
        self.bytes = size
        self._accounts.pending += 1
        lane.waiting.append(record)
        if not lane.is_ready and not lane.in_flight:
            self._make_ready(lane)
        return True

    def add(self, lane: Lane, record: Record) -> None:
        """Append a record to its lane, also beyond the budget."""
        lane.waiting.append(record)
        self.bytes += size_of(record)
        if lane.topic is not Topic.CONTROL:
            self._accounts.pending += 1
        if not lane.is_ready and not lane.in_flight:
            self._make_ready(lane)

    def take_ready(self) -> list[Lane]:
        """Return the lanes that have something to send and nothing in flight, once.

        They count as ready until they are ``sent`` or taken back: what is added meanwhile does not announce them anew.
        """
        ready, self._ready = self._ready, []
        return ready

    def postpone(self, lane: Lane) -> None:
        """Take back a lane that cannot be sent just now, without announcing it."""
        self._ready.append(lane)

    def sent(self, lane: Lane, count: int, now: float) -> None:
        """Note that the first ``count`` waiting records are in flight."""
        assert not lane.in_flight, "a lane has at most one batch in flight"
        lane.is_ready = False
        lane.in_flight = [lane.waiting.popleft() for _ in range(count)]
        lane.last_count = count
        lane.sent_at = now

    def landed(self, lane: Lane) -> None:
        """Note that Kafka has acknowledged what was in flight."""
        records, lane.in_flight = lane.in_flight, []
        self.bytes -= sum([len(value) for _, _, value, _ in records]) + len(records) * RECORD_OVERHEAD_BYTES
        self._settle(lane.topic, records)
        if lane.waiting and not lane.is_ready:
            self._make_ready(lane)
        self.on_room()

    def put_back(self) -> int:
        """Return everything in flight to the heads of its lanes, to be sent again; return how much that is."""
        returned = 0
        for lane in self.lanes():
            returned += len(lane.in_flight)
            lane.waiting.extendleft(reversed(lane.in_flight))
            lane.in_flight = []
            lane.is_ready = bool(lane.waiting)
        # All of them: some may have been taken and not sent when the producer was lost.
        self._ready = [lane for lane in self.lanes() if lane.is_ready]
        self.on_work()
        return returned

    def remove_first(self, lane: Lane) -> Record:
        """Take the first waiting record out, unsent: its caller accounts for it."""
        record = lane.waiting.popleft()
        self.bytes -= size_of(record)
        if lane.topic is not Topic.CONTROL:
            self._accounts.pending -= 1
        if not lane.waiting:
            lane.is_ready = False
            self._ready.remove(lane)
        return record

    def give_up(self) -> int:
        """Count everything that is left as undelivered; return how many of our own records were among it."""
        own = 0
        for lane in self.lanes():
            if lane.topic is Topic.CONTROL:
                own += len(lane)
            elif len(lane):
                self._accounts.pending -= len(lane)
                self._accounts.undelivered[lane.topic] += len(lane)
            lane.waiting.clear()
            lane.in_flight = []
        self.bytes = 0
        return own

    def lanes(self) -> Iterator[Lane]:
        """Yield every lane."""
        for lanes in self._lanes.values():
            yield from lanes

    @property
    def has_ready(self) -> bool:
        """Return whether any lane waits to be sent."""
        return bool(self._ready)

    def oldest_ready_us(self) -> int:
        """Return when the oldest record of the lanes that wait to be sent was read (µs since the epoch), 0 for none."""
        return min((lane.waiting[0][0] for lane in self._ready), default=0)

    @property
    def empty(self) -> bool:
        """Return whether everything is acknowledged."""
        return not any(map(len, self.lanes()))

    def oldest_flight(self) -> float | None:
        """Return when the oldest batch in flight was sent (monotonic seconds)."""
        return min((lane.sent_at for lane in self.lanes() if lane.in_flight), default=None)

    def _make_ready(self, lane: Lane) -> None:
        lane.is_ready = True
        self._ready.append(lane)
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
