"""Records read and not yet acknowledged: a queue for each partition, and one byte budget for all.

A record stays here until Kafka has acknowledged it. A partition has at most one batch in flight, so nothing can
overtake within a partition, whatever fails: what was in flight goes back to the head of its queue (``requeue``) and
is sent again before anything younger.

Queues that Kafka does not take records of now (a blocked topic, a partition without a leader, a broker that does not
answer) share a part of the budget, so that they leave room for the others.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from bridge.pipeline.partition_queue import RECORD_OVERHEAD_BYTES, PartitionQueue, size_of
from bridge.topics import MARKET_DATA, OWN_RECORDS, LatestTopic, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bridge.pipeline.accounts import Accounts
    from bridge.pipeline.partition_queue import Record
    from bridge.topics import AnyTopic, TopicCounts, TopicNames

#: The part of the budget that stalled queues may hold together. In an outage of all of Kafka it is all that is used.
STALLED_SHARE: Final = 0.75
#: A queue that was full has room again when the rest of the budget has drained below this part.
LOW_WATER_MARK: Final = 0.8


class RecordBuffer:
    """The partition queues, their common budget, and the accounts of what enters and leaves them.

    ``partition`` returns the number of a key's partition, given the key and how many partitions there are.
    """

    def __init__(
        self,
        names: TopicNames,
        accounts: Accounts,
        budget_bytes: int,
        *,
        partition: Callable[[bytes, int], int],
    ) -> None:
        #: Is called whenever a queue has something to send.
        self.on_ready: Callable[[], None] = _ignore
        self.bytes = 0
        self.stalled_bytes = 0
        self.budget_bytes = budget_bytes
        self._names = names
        self._accounts = accounts
        self._partition = partition
        self._queues: dict[AnyTopic, list[PartitionQueue]] = {}
        self._ready: list[PartitionQueue] = []
        self._deferred: list[PartitionQueue] = []
        #: Those that only wait for their brokers to answer something else.
        self._behind: list[PartitionQueue] = []

    def open(self, partition_counts: TopicCounts) -> None:
        """Create the queues; the counts stay as they are from then on, so that no symbol changes its partition."""
        for topic, count in partition_counts.items():
            self._queues[topic] = [PartitionQueue(topic, self._names[topic], number) for number in range(count)]

    def partitions(self, topic: AnyTopic) -> int:
        """Return how many queues a topic has."""
        return len(self._queues[topic])

    def queue_for(self, topic: AnyTopic, key: bytes | None) -> PartitionQueue:
        """Return the queue of a key's partition; without a key the first."""
        queues = self._queues[topic]
        return queues[self._partition(key, len(queues))] if key is not None else queues[0]

    # -- filling ------------------------------------------------------------------------------------------------

    def offer(self, queue: PartitionQueue, record: Record) -> bool:
        """Append a line's record to its queue if it fits the budget; return whether it did."""
        cost = len(record[2]) + RECORD_OVERHEAD_BYTES
        if self.bytes + cost > self.budget_bytes:
            return False
        if queue.is_stalled:
            if self.stalled_bytes + cost > self.budget_bytes * STALLED_SHARE:
                return False
            self.stalled_bytes += cost
        self.bytes += cost
        queue.bytes += cost
        self._accounts.pending += 1
        queue.waiting.append(record)
        if not queue.is_ready and not queue.in_flight:
            self.make_ready(queue)
        return True

    def add(self, queue: PartitionQueue, record: Record) -> None:
        """Append a record to its queue, also beyond the budget."""
        queue.waiting.append(record)
        self.charge(queue, size_of(record))
        if queue.topic not in OWN_RECORDS:
            self._accounts.pending += 1
        if not queue.is_ready and not queue.in_flight:
            self.make_ready(queue)

    def make_ready(self, queue: PartitionQueue) -> None:
        """Let ``take_ready`` return a queue that has something to send, and nothing in flight."""
        queue.is_ready = True
        self._ready.append(queue)
        self.on_ready()

    def charge(self, queue: PartitionQueue, cost_bytes: int) -> None:
        """Take bytes from the budget for what a queue holds; give them back if negative."""
        self.bytes += cost_bytes
        queue.bytes += cost_bytes
        if queue.is_stalled:
            self.stalled_bytes += cost_bytes

    def set_stalled(self, queue: PartitionQueue, *, is_stalled: bool) -> None:
        """Note whether Kafka takes a queue's records now."""
        if is_stalled is not queue.is_stalled:
            queue.is_stalled = is_stalled
            self.stalled_bytes += queue.bytes if is_stalled else -queue.bytes

    @property
    def has_drained(self) -> bool:
        """Return whether what stalled queues leave of the budget is below the low-water mark."""
        return self.bytes - self.stalled_bytes <= (self.budget_bytes - self.stalled_bytes) * LOW_WATER_MARK

    # -- sending ------------------------------------------------------------------------------------------------

    def take_ready(self) -> list[PartitionQueue]:
        """Return the queues that have something to send and nothing in flight, once.

        Each counts as ready until it is given to ``start_batch``, ``defer``, ``wait_for_broker`` or ``pass_over``: it
        is not returned again meanwhile.
        """
        ready, self._ready = self._ready, []
        return ready

    def defer(self, queue: PartitionQueue) -> None:
        """Keep a queue that cannot be sent now until ``resume_deferred``."""
        self._deferred.append(queue)

    def resume_deferred(self) -> None:
        """Let deferred queues be returned by ``take_ready`` again."""
        if self._deferred:
            self._ready += self._deferred
            self._deferred.clear()
            self.on_ready()

    def wait_for_broker(self, queue: PartitionQueue) -> None:
        """Keep a queue whose broker has something to answer first until ``resume_waiting``."""
        self._behind.append(queue)

    def resume_waiting(self) -> None:
        """Let queues that wait for their brokers be returned by ``take_ready`` again."""
        if self._behind:
            self._ready += self._behind
            self._behind.clear()
            self.on_ready()

    def pass_over(self, queue: PartitionQueue) -> None:
        """Leave a queue that ``take_ready`` returned: its last record was removed."""
        queue.is_ready = False

    def start_batch(self, queue: PartitionQueue, count: int, now: float) -> None:
        """Put the first ``count`` waiting records of a queue in flight."""
        queue.is_ready = False
        queue.start_batch(count, now)

    def acknowledge(self, queue: PartitionQueue) -> None:
        """Account for the batch in flight: Kafka has it."""
        records = queue.end_batch()
        queue.unanswered_since = None
        queue.note_accepted()
        self.charge(queue, -sum([len(value) for _, _, value, _ in records]) - len(records) * RECORD_OVERHEAD_BYTES)
        self._account(queue.topic, records)
        if queue.waiting and not queue.is_ready:
            self.make_ready(queue)

    def requeue_batch(self, queue: PartitionQueue) -> None:
        """Put the batch in flight of one queue back at its head; the queue waits for ``resume_deferred``."""
        queue.requeue_batch()
        if not queue.is_ready:
            queue.is_ready = True
            self._deferred.append(queue)

    def withdraw_batch(self, queue: PartitionQueue) -> None:
        """Put a batch back that was not sent after all; the queue waits for ``resume_deferred``."""
        queue.unanswered_since = None
        self.requeue_batch(queue)

    def requeue(self) -> int:
        """Put everything in flight back at the heads of its queues; return how many records that is."""
        requeued = 0
        for queue in self.queues():
            requeued += queue.requeue_batch()
            queue.restore_suspects()
            queue.lift_limit()
            queue.unanswered_since = None
            queue.is_ready = bool(queue.waiting)
        # All of them: some may have been taken and not sent when the producer was lost.
        self._ready = [queue for queue in self.queues() if queue.is_ready]
        self._deferred.clear()
        self._behind.clear()
        self.on_ready()
        return requeued

    def remove_waiting(self, queue: PartitionQueue, place: int) -> Record:
        """Remove a waiting record, unsent, and return it; the caller accounts for it."""
        record = queue.waiting[place]
        del queue.waiting[place]
        self.forget(queue, record)
        return record

    def forget(self, queue: PartitionQueue, record: Record) -> None:
        """Give back what a record takes from the budget; the caller has it, and accounts for it."""
        self.charge(queue, -size_of(record))
        if queue.topic not in OWN_RECORDS:
            self._accounts.pending -= 1

    def holds(self, includes: Callable[[str], bool]) -> bool:
        """Return whether a market record of these symbols is not acknowledged yet, or a latest state is in flight."""
        return any(
            key is not None and includes(key.decode())
            for queue in self.queues()
            for _, key, _, _ in _unpublished(queue)
        )

    def holds_any(self, topic: AnyTopic) -> bool:
        """Return whether a record of a topic is not acknowledged yet."""
        return any(map(len, self._queues[topic]))

    def drop(self, includes: Callable[[str], bool], reason: str | None) -> int:
        """Remove the market records of these symbols, those in flight, too; return how many were counted.

        They are dropped for a reason, or without one undelivered, as the process ends. What is in flight may have been
        published; the rest of its batch stays. The producer must be replaced if a queue may have nothing of its batch
        left: it would look as if it had none in flight.
        """
        dropped = 0
        for queue in self.queues():
            topic = queue.topic
            if topic in MARKET_DATA or isinstance(topic, LatestTopic):
                removed = queue.remove(lambda key: key is not None and includes(key.decode()))
                self.charge(queue, -sum(map(size_of, removed)))
                if removed and not isinstance(topic, LatestTopic):
                    self._accounts.pending -= len(removed)
                    self._accounts.note_lost(topic, reason, len(removed))
                    dropped += len(removed)
        return dropped

    def excess_records(self, queue: PartitionQueue, max_records: int) -> int:
        """Return how many of a stalled queue's newest records are beyond what stalled queues may hold."""
        excess_bytes = self.stalled_bytes - self.budget_bytes * STALLED_SHARE
        count = 0
        max_records = min(max_records, len(queue.waiting) - queue.kept_records)
        for record in reversed(queue.waiting):
            if excess_bytes <= 0 or count >= max_records:
                break
            excess_bytes -= size_of(record)
            count += 1
        return count

    def give_up(self, *, keep: Topic | None = None) -> int:
        """Count everything that is left as undelivered, but for one topic; return how many control records that is."""
        control_records = 0
        for queue in [queue for queue in self.queues() if queue.topic is not keep]:
            queue.restore_suspects()
            if isinstance(queue.topic, LatestTopic):
                pass  # copies: the lines that they are made of have accounts of their own
            elif queue.topic is Topic.CONTROL:
                control_records += len(queue)
            elif len(queue):
                self._accounts.pending -= len(queue)
                self._accounts.undelivered[queue.topic] += len(queue)
            queue.waiting.clear()
            queue.in_flight = []
            self.charge(queue, -queue.bytes)
            queue.is_ready = False
        self._ready = [queue for queue in self._ready if queue.is_ready]
        self._deferred = [queue for queue in self._deferred if queue.is_ready]
        self._behind = [queue for queue in self._behind if queue.is_ready]
        return control_records

    # -- looking ------------------------------------------------------------------------------------------------

    def queues(self) -> Iterator[PartitionQueue]:
        """Yield every queue."""
        for queues in self._queues.values():
            yield from queues

    @property
    def empty(self) -> bool:
        """Return whether everything is acknowledged."""
        return not any(queue.waiting or queue.in_flight for queues in self._queues.values() for queue in queues)

    @property
    def ready_bytes(self) -> int:
        """Return how much the queues hold that wait to be sent and can be."""
        return sum(queue.bytes for queue in self._ready)

    def oldest_unacknowledged_us(self) -> int | None:
        """Return when the oldest market record was read that is not acknowledged (µs since 1970), or None."""
        heads = (
            next(chain(queue.suspects, queue.in_flight, queue.waiting), None)
            for queue in self.queues()
            if queue.topic in MARKET_DATA
        )
        return min((head[0] for head in heads if head is not None), default=None)

    def oldest_unanswered(self) -> float | None:
        """Return since when a batch has had no answer from any broker, sent again or not (monotonic seconds)."""
        waiting = (queue.unanswered_since for queue in self.queues())
        return min((since for since in waiting if since is not None), default=None)

    def _account(self, topic: AnyTopic, records: list[Record]) -> None:
        if topic is Topic.CONTROL:
            self._accounts.announced += len(records)
            return
        if isinstance(topic, LatestTopic):
            self._accounts.latest_published[topic] += len(records)
            return
        self._accounts.pending -= len(records)
        if topic is Topic.DLQ:
            self._accounts.dead_lettered.update(reason or "" for *_, reason in records)
        else:
            self._accounts.published[topic] += len(records)


def _unpublished(queue: PartitionQueue) -> Iterable[Record]:
    """Return what a shard's release waits for: of copies only those that a batch in flight has."""
    if queue.topic in MARKET_DATA:
        return chain(queue.suspects, queue.in_flight, queue.waiting)
    return queue.in_flight if isinstance(queue.topic, LatestTopic) else ()


def _ignore() -> None:
    """Send nothing."""
