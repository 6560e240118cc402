"""The sender: one batch in flight for each partition that has records, until the producer is lost.

Rounds of batches are made in callbacks of the event loop: a task that waits for the next one would cost a future and a
wake-up for each.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from aiokafka import errors as kafka_errors

from bridge.clock import wall_us
from bridge.kafka.batch_recovery import BatchRecovery
from bridge.kafka.error_policy import BatchRejected, NotSent, Reaction, reaction
from bridge.kafka.produce_requests import MAX_REQUEST_BYTES, OutgoingBatch
from bridge.kafka.record_batch import batch_maker
from bridge.tasks import wait_until_set

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.kafka.delivery_state import DeliveryState
    from bridge.kafka.produce_requests import BatchAnswer, OnAnswers, Place
    from bridge.kafka.producer import Producer
    from bridge.kafka.record_batch import RecordBatch
    from bridge.kafka.topic_backoff import TopicBackoff
    from bridge.observability.latency import LatencyMetrics
    from bridge.pipeline.ingest import Ingest
    from bridge.pipeline.partition_queue import PartitionQueue
    from bridge.pipeline.record_buffer import RecordBuffer

#: How long the other batches in flight may take to be acknowledged when one has failed: each that is, is no repeat.
SETTLE_SECONDS: Final = 1.0
#: uvloop's timers count whole milliseconds: less than half of one is not waited for.
MIN_LINGER_SECONDS: Final = 0.0005
#: While rounds have more records than that, they are half as far apart, but not less than a timer can tell.
FEW_RECORDS: Final = 2
SHORT_LINGER_SECONDS: Final = 0.001
#: How often a drain looks for blocked queues, and how long it waits if no others have records left.
DRAIN_CHECK_SECONDS: Final = 0.1
BLOCKED_DRAIN_SECONDS: Final = 3.0
#: Records put into batches before the event loop gets to run something else.
RECORDS_PER_TURN: Final = 500


class ProducerLost(Exception):
    """The producer must be replaced; ``queue`` is the one whose batch showed it, if one did."""

    def __init__(self, error: BaseException, queue: PartitionQueue | None = None) -> None:
        self.error = error
        self.queue = queue
        super().__init__(str(error) or type(error).__name__)

    @property
    def name(self) -> str:
        """Return the name of the error, as the Kafka protocol calls it if a broker answered."""
        return self.error.name if isinstance(self.error, BatchRejected) else type(self.error).__name__


@dataclass(frozen=True, slots=True)
class Batching:
    """How records become batches; at most ``linger_seconds`` pass between two rounds, unless more waits than a batch.

    ``batch_bytes`` is the size of a batch, before compression.
    """

    linger_seconds: float
    batch_bytes: int
    compression: str

    def linger_after(self, records: int) -> float:
        """Return how many seconds the next round comes after one with so many records.

        A round costs as much as some ten records, so a stream that fills none of them is sent in fewer.
        """
        if records <= FEW_RECORDS:
            return self.linger_seconds
        return min(self.linger_seconds, max(self.linger_seconds / 2, SHORT_LINGER_SECONDS))


class BatchSender:
    """The sender of what the queues hold, and what becomes of each batch."""

    def __init__(
        self,
        buffer: RecordBuffer,
        ingest: Ingest,
        latency: LatencyMetrics,
        topic_backoff: TopicBackoff,
        state: DeliveryState,
        *,
        batching: Batching,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        """``may_send`` says whether anything may be sent at the moment; the producer asks it again."""
        self.producer: Producer | None = None
        #: Names of topics of which a partition that we have records for has no leader, or is gone.
        self.leaderless: set[str] = set()
        self._buffer = buffer
        buffer.on_ready = self.wake
        self._ingest = ingest
        self._latency = latency
        self._topic_backoff = topic_backoff
        self._recovery = BatchRecovery(ingest, topic_backoff)
        self._state = state
        self._batching = batching
        self._new_batch = batch_maker(batching.compression, batching.batch_bytes)
        self._draining = False
        #: While it runs: why it ends.
        self._end: asyncio.Future[BaseException] | None = None
        #: What makes the next round, or the rest of the present one, if one is to come.
        self._next_round: asyncio.Handle | None = None
        #: Queues of the present round that are still to be looked at, and batches that are still to be sent.
        self._taken: deque[PartitionQueue] = deque()
        self._made: list[OutgoingBatch] = []
        self._made_bytes = 0
        self._made_records = 0
        #: Until when records wait for others (monotonic seconds).
        self._linger_until = 0.0
        #: When a batch was last acknowledged, or a drain saw that there is one to wait for (monotonic seconds).
        self._progress_at = 0.0
        self._failure: ProducerLost | None = None
        self._may_send = may_send
        #: Is told the answers of the present producer.
        self._answered: OnAnswers
        #: The queues whose batches the producer has not answered yet.
        self._in_flight: dict[Place, PartitionQueue] = {}
        self._none_in_flight = asyncio.Event()

    @property
    def has_in_flight(self) -> bool:
        """Return whether a batch waits for its acknowledgement."""
        return bool(self._in_flight)

    async def run(self, producer: Producer) -> None:
        """Send through a producer until it is lost; raise ``ProducerLost``."""
        self.producer = producer
        if self._failure is not None:
            raise self._failure
        self._answered = partial(self._on_answers, producer)
        self._end = asyncio.get_running_loop().create_future()
        self.wake()
        try:
            raise await self._end
        finally:
            self._end = None
            self._cancel_round()
            self._taken.clear()
            self._made, self._made_bytes, self._made_records = [], 0, 0

    def fail(self, failure: ProducerLost) -> None:
        """Let ``run`` end with the first failure that there was."""
        self._failure = self._failure or failure
        self._end_with(self._failure)

    def wake(self) -> None:
        """Make a round of batches as soon as the present callback has ended: a queue has something to send."""
        if self._next_round is None and self._end is not None and not self._end.done():
            self._next_round = self._end.get_loop().call_soon(self._make_round)

    async def drain(self) -> None:
        """Send without lingering from now on, and wait until every record is acknowledged.

        Records of blocked queues are waited for a little longer than the others, and then left.
        """
        if not self._draining:
            self._draining = True
            self._progress_at = time.monotonic()
            self._cancel_round()
            self.wake()
        while not self._buffer.empty:
            self._none_in_flight.clear()
            if await wait_until_set(self._none_in_flight, DRAIN_CHECK_SECONDS) and not self._topic_backoff:
                continue
            if not self._only_unwritable_left():
                self._progress_at = time.monotonic()
            elif time.monotonic() - self._progress_at > BLOCKED_DRAIN_SECONDS:
                return

    def _only_unwritable_left(self) -> bool:
        """Return whether all records that are left are those of queues that cannot be written, while others can.

        If none can, Kafka is down, and may come back.
        """
        others_can = False
        for queue in self._buffer.queues():
            if self.is_writable(queue):
                if len(queue):
                    return False
                others_can = True
        return others_can

    def is_writable(self, queue: PartitionQueue) -> bool:
        """Return whether a queue has a leader, and its topic is not known to be blocked, held at the moment or not."""
        return (
            self.producer is not None
            and self.producer.has_leader(queue.name, queue.partition)
            and not self._topic_backoff.is_blocked(queue.name)
        )

    def waits_since(self, queue: PartitionQueue) -> float | None:
        """Return since when the broker of a queue has something to answer first (monotonic seconds), if it has."""
        return None if self.producer is None else self.producer.busy_since(queue.name, queue.partition)

    async def settle(self) -> None:
        """Give the batches in flight a moment to be acknowledged after one has failed."""
        if self._in_flight:
            self._none_in_flight.clear()
            await wait_until_set(self._none_in_flight, SETTLE_SECONDS)

    def release_producer(self) -> Producer | None:
        """Return the producer; what it has in flight is no longer waited for, and its answers are ignored."""
        producer, self.producer = self.producer, None
        self._in_flight.clear()
        self._none_in_flight.set()
        self._failure = None
        return producer

    def is_blocked(self, queue: PartitionQueue) -> bool:
        """Return whether a queue cannot be sent: no leader, its topic is held, or it failed a moment ago."""
        if self.producer is None or not self.producer.has_leader(queue.name, queue.partition):
            return True
        if not self._topic_backoff and not self._recovery:
            return False
        now = time.monotonic()
        return self._topic_backoff.is_held(queue.name, now) or self._recovery.not_before(queue) > now

    # -- rounds -------------------------------------------------------------------------------------------------

    def _make_round(self) -> None:
        """Make a round: after a pause at once, in a stream when records have lingered, so that they go together."""
        assert self._end is not None
        left_seconds = self._linger_until - time.monotonic()
        if (
            left_seconds < MIN_LINGER_SECONDS
            or self._draining
            or self._buffer.ready_bytes >= self._batching.batch_bytes
        ):
            self._send_round()
        else:
            # A timer ends up to a millisecond late, never early: rounded down, it is nearer to the time.
            delay_seconds = max(left_seconds - MIN_LINGER_SECONDS, SHORT_LINGER_SECONDS)
            self._next_round = self._end.get_loop().call_later(delay_seconds, self._send_round)

    def _send_round(self) -> None:
        """Send the next batch of every queue that has one and whose broker takes it now; an error ends ``run``."""
        end, producer = self._end, self.producer
        assert end is not None
        assert producer is not None
        self._next_round = None
        try:
            if not self._taken:
                self._take_queues()
            self._make_batches(producer, self._state.note_activity())
            if self._taken:
                self._cancel_round()  # one that was asked for meanwhile: it comes after this one
                self._next_round = end.get_loop().call_soon(self._send_round)
            else:
                self._send_made(producer)
        except BaseException as error:  # noqa: BLE001 - raised by ``run``
            self._end_with(error)

    def _end_with(self, error: BaseException) -> None:
        self._cancel_round()
        if self._end is not None and not self._end.done():
            self._end.set_result(error)

    def _cancel_round(self) -> None:
        if self._next_round is not None:
            self._next_round.cancel()
            self._next_round = None

    def _take_queues(self) -> None:
        ready = self._buffer.take_ready()
        if self._may_send():
            self._taken.extend(ready)
            return
        for queue in ready:
            self._buffer.defer(queue)

    def _make_batches(self, producer: Producer, now: float) -> None:
        """Make batches of the queues that were taken; if they are large, a part of them is left for the next turn."""
        while self._taken:
            queue = self._taken.popleft()
            if (batch := self._next_batch(producer, queue, now)) is None:
                continue
            size_bytes = batch.size_bytes
            if self._made_bytes + size_bytes > MAX_REQUEST_BYTES:
                self._send_made(producer)
            self._made.append(OutgoingBatch(queue.name, queue.partition, batch))
            self._made_bytes += size_bytes
            self._made_records += batch.records
            if batch.records > RECORDS_PER_TURN:
                return

    def _send_made(self, producer: Producer) -> None:
        """Send the batches that were made."""
        if not self._made:
            return
        batches = self._made
        self._linger_until = time.monotonic() + self._batching.linger_after(self._made_records)
        self._made, self._made_bytes, self._made_records = [], 0, 0
        try:
            producer.send(batches, self._answered)
        except kafka_errors.KafkaError as error:  # none of them was taken, so nothing is to be waited for
            queues = [self._in_flight.pop((topic, partition)) for topic, partition, _ in batches]
            raise ProducerLost(error, queues[0]) from error

    def _next_batch(self, producer: Producer, queue: PartitionQueue, now: float) -> RecordBatch | None:
        """Put the next batch of a queue in flight and return it; None if the queue has none, or must wait."""
        if self.is_blocked(queue):
            self._buffer.defer(queue)
            if not self.is_writable(queue):  # else it only waits a moment to be sent again
                self._buffer.set_stalled(queue, is_stalled=True)
            return None
        if not queue.waiting:
            self._buffer.pass_over(queue)
            return None
        if producer.busy_since(queue.name, queue.partition) is not None:
            self._buffer.wait_for_broker(queue)  # a later batch is a larger one
            return None
        batch = self._new_batch()
        count = batch.fill(queue.next_batch())
        self._buffer.start_batch(queue, count, now)
        self._in_flight[queue.name, queue.partition] = queue
        return batch

    def _on_answers(self, producer: Producer, answers: Sequence[BatchAnswer]) -> None:
        """Deal with each batch, then let the queues go on that waited for the broker."""
        if producer is not self.producer:
            return  # of a producer that was replaced: its records are requeued already
        now, now_us = self._state.note_activity(), wall_us()
        is_sent = False
        for topic, partition, error in answers:
            queue = self._in_flight.pop((topic, partition), None)
            if queue is None:
                continue
            if error is None:
                if queue.in_flight:  # else its records were given up
                    self._on_acknowledgement(queue, now, now_us)
            elif isinstance(error, NotSent):
                self._on_not_sent(producer, queue)
                continue
            else:
                self._on_failure(producer, queue, error)
            is_sent = True
        if is_sent:
            self._ingest.release_after_overload(now_us)
        self._buffer.resume_waiting()
        if not self._in_flight:
            self._none_in_flight.set()

    def _on_acknowledgement(self, queue: PartitionQueue, now: float, now_us: int) -> None:
        self._progress_at = now
        self._state.note_answer()
        self._state.acking = True
        self._state.last_error = None
        self._latency.acknowledged(queue, now, now_us)
        records = len(queue.in_flight)
        self._buffer.acknowledge(queue)
        self._recovery.accepted(queue, records)
        if self._topic_backoff and queue.name not in self.leaderless and not self._recovery.is_refused(queue.name):
            self._topic_backoff.unblock(queue.name)
        self._buffer.set_stalled(queue, is_stalled=False)

    def _on_not_sent(self, producer: Producer, queue: PartitionQueue) -> None:
        """Put a batch back that was not sent after all; the queue waits for ``RecordBuffer.resume_deferred``."""
        producer.rewind(queue.name, queue.partition, len(queue.in_flight))
        self._buffer.withdraw_batch(queue)

    def _on_failure(self, producer: Producer, queue: PartitionQueue, error: BaseException) -> None:
        """Requeue the batch and do what its error asks for; only what poisons the producer replaces it."""
        reacting = reaction(error)
        if reacting is Reaction.REBUILD:
            self.fail(ProducerLost(error, queue))
            return
        if not queue.in_flight:
            return  # its records were given up
        now = self._state.note_activity()
        if isinstance(error, BatchRejected):
            self._state.note_answer()
            self._state.last_error = str(error)
            queue.unanswered_since = None
        else:  # brokers may be gone: the watchdog asks them soon
            self._state.heard_at = 0.0
            self._state.last_error = producer.last_failure or str(error)
        records = len(queue.in_flight)
        producer.rewind(queue.name, queue.partition, records)
        producer.refresh_metadata()
        self._buffer.requeue_batch(queue)
        delay_seconds = self._recovery.failed(queue, error, reacting, records, now)
        if reacting is Reaction.FIND_RECORD:
            self._linger_until = 0.0  # a search takes many rounds, and nothing may change meanwhile
        asyncio.get_running_loop().call_later(delay_seconds, self._buffer.resume_deferred)
