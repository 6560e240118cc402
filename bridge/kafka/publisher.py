"""The producer's shell: one task sends what the queues hold, and replaces a producer that is no good any more.

aiokafka's idempotent producer can be poisoned for good (a sequence hole after an expired batch, aiokafka #1017 and
#1133), fenced, closed or stuck. So a producer is never trusted to recover: the first failed batch, or one that is
not acknowledged within the delivery timeout, ends it. What it had in flight goes back to the head of its queue, and
a new one sends on from there, in order. Repeats are possible then, holes and overtaking are not.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import structlog
from aiokafka import errors as kafka_errors

from bridge.backoff import Backoff
from bridge.clock import wall_us
from bridge.errors import BadLine, KafkaUnreachable, SecretUnreadable, SettingsError, TopicConfigurationError
from bridge.kafka import producer as producers
from bridge.kafka.record_batch import batch_maker
from bridge.kafka.topic_backoff import TopicBackoff
from bridge.observability import log_events

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from aiokafka import AIOKafkaProducer

    from bridge.observability.latency import LatencyMetrics
    from bridge.pipeline.record_buffer import PartitionQueue, Record, RecordBuffer
    from bridge.topics import Topic

log = structlog.get_logger(__name__)

BACKOFF_MIN_SECONDS, BACKOFF_MAX_SECONDS = 0.25, 10.0
#: How long the other batches in flight get to be acknowledged when one has failed: each that is, is no repeat.
SETTLE_SECONDS = 1.0
#: How long an attempt to reach Kafka may take: short at first, as each asks brokers at random, and one may hang.
START_MIN_SECONDS, START_MAX_SECONDS = 5.0, 30.0
#: What uvloop's timers are late in the mean: they count whole milliseconds.
TIMERS_LATE_SECONDS = 0.0005
WATCH_SECONDS = 0.25
#: How often Kafka is asked anew for what is amiss, and after what silence whether it has moved.
LOOK_SECONDS, STRANDED_SECONDS = 1.0, 5.0
STRANDED = "none of the brokers it knew can be used any more, and Kafka is reached anew"
#: Records put into batches before the loop gets to turn.
RECORDS_PER_TURN = 500

#: The broker does not want this batch: it is cut in halves until the record to blame stands alone.
RECORD_REFUSED = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidTimestampError,
)
#: The producer's own state is to blame: a new one has none, and may go on at once.
PRODUCER_POISONED = (
    kafka_errors.OutOfOrderSequenceNumber,
    kafka_errors.UnknownProducerId,
    kafka_errors.InvalidProducerEpoch,
    kafka_errors.ProducerFenced,
)
#: So is what its connections were told; with OAUTHBEARER a refused token ends in an illegal state.
CONNECTION_REFUSED = (
    kafka_errors.IllegalSaslStateError,
    kafka_errors.SaslAuthenticationFailed,
    kafka_errors.ClusterAuthorizationFailedError,
)
#: aiokafka has no name for every answer, such as INVALID_RECORD (KIP-467): one that is repeated so often for a
#: batch of one is taken for the record's fault.
TRIES = 4


class ProducerLost(Exception):
    """Say that the producer is no good any more, and which queue's batch showed it."""

    def __init__(self, error: BaseException, queue: PartitionQueue | None = None) -> None:
        self.error = error
        self.queue = queue
        super().__init__(str(error) or type(error).__name__)


class Publisher:
    """Send batches until cancelled; ``connect`` first."""

    def __init__(
        self,
        buffer: RecordBuffer,
        latency: LatencyMetrics,
        *,
        names: Mapping[Topic, str],
        topics: Collection[Topic],
        options: Callable[[], Mapping[str, object]],
        refuse: Callable[[Record, PartitionQueue, BadLine], None],
        linger_seconds: float,
        compression: str,
        batch_bytes: int,
        delivery_timeout_seconds: float,
    ) -> None:
        self.connected = False
        #: Whether the last word of Kafka on a batch was its acknowledgement.
        self.acking = False
        #: When it last did anything of its own: sent, was answered, or tried to reach Kafka (monotonic seconds).
        self.moved_at = 0.0
        self.rebuilds = 0
        self.last_error: str | None = None
        self._buffer = buffer
        self._latency = latency
        self._names = names
        self._topics = topics
        self._options = options
        self._refuse = refuse
        self._linger_seconds = linger_seconds
        self._batch_bytes = batch_bytes
        self._new_batch = batch_maker(compression, batch_bytes)
        self._delivery_timeout_seconds = delivery_timeout_seconds
        self._producer: AIOKafkaProducer | None = None
        self._flights: dict[asyncio.Future[object], PartitionQueue] = {}
        self._failure: ProducerLost | None = None
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._draining = False
        self._all_acknowledged = asyncio.Event()
        self._backoff = Backoff(BACKOFF_MIN_SECONDS, BACKOFF_MAX_SECONDS)
        self._topic_backoff = TopicBackoff()
        #: Names of topics of which a partition that we have records for has no leader, or is gone.
        self._leaderless: set[str] = set()
        buffer.on_work = self._work.set

    async def connect(self) -> None:
        """Connect to Kafka, however long it takes, and check the topics; raise ``TopicConfigurationError``."""
        self._options()  # what is wrong with it at start ends the start; later it is waited out
        self._producer = await self._start_producer()
        self._buffer.open(producers.partition_counts(self._producer, self._names, self._topics))

    def open_topics(self, topics: Collection[Topic]) -> None:
        """Open queues for topics that were not needed before; raise ``TopicConfigurationError``."""
        if self._producer is None:
            raise TopicConfigurationError("Kafka is not connected, so that new topics cannot be looked at")
        wanted = sorted({*self._topics, *topics})
        counts = producers.partition_counts(self._producer, self._names, wanted)
        self._buffer.open({topic: count for topic, count in counts.items() if topic not in self._topics})
        self._topics = wanted

    def partition_drift(self) -> dict[str, int]:
        """Return the topics whose number of partitions is another by now."""
        producer = self._producer
        if producer is None:
            return {}
        found = {topic: len(producers.partitions(producer, self._names[topic])) for topic in self._topics}
        return {
            self._names[topic]: count
            for topic, count in found.items()
            if count and count != self._buffer.partitions(topic)
        }

    def shut_topics(self) -> set[str]:
        """Return the names of the topics that hold records and cannot be written just now."""
        queues = self._buffer.queues()
        return {queue.name for queue in queues if queue.waiting and not queue.in_flight and self._is_shut(queue)}

    async def run(self) -> None:
        """Send what the queues hold, for ever, through as many producers as it takes."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="delivery watch")
            tasks.create_task(self._look_around(), name="look around")
            while True:
                try:
                    await self._send()
                except ProducerLost as lost:
                    await self._replace_producer(lost)

    async def drained(self) -> None:
        """Send without lingering from now on, and wait until every record is acknowledged."""
        self._draining = True
        self._urgent.set()
        while not self._buffer.empty:
            self._all_acknowledged.clear()
            await self._all_acknowledged.wait()

    async def close(self) -> None:
        """Let go of the producer: in peace where all is acknowledged, by force otherwise."""
        producer, self._producer = self._producer, None
        self.connected = False
        if producer is not None:
            await (producers.abandon(producer) if self._flights else producers.close(producer))

    # -- sending ------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        while True:
            await self._work.wait()
            self._move()
            if self._linger_seconds and self._failure is None and self._buffer.bytes < self._batch_bytes:
                await self._linger()
            self._work.clear()
            if self._failure is not None:
                raise self._failure
            for queue in self._buffer.take_ready():
                if self._launch(queue) > RECORDS_PER_TURN:
                    await asyncio.sleep(0)

    async def _linger(self) -> None:
        """Give more records the time to join the oldest that waits (Kafka's ``linger.ms``)."""
        age_seconds = (wall_us() - self._buffer.oldest_ready_us()) / 1e6
        left_seconds = min(self._linger_seconds - age_seconds, self._linger_seconds)  # a clock may be set back
        left_seconds -= TIMERS_LATE_SECONDS
        if left_seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left_seconds):
                    await self._urgent.wait()

    def _launch(self, queue: PartitionQueue) -> int:
        producer = self._producer
        assert producer is not None
        if self._is_shut(queue):
            self._buffer.defer(queue)
            return 0
        batch = self._new_batch()
        count = batch.fill(islice(queue.waiting, queue.max_records or None))
        try:
            flight = producers.send(producer, batch, queue)
        except kafka_errors.KafkaError as error:
            raise ProducerLost(error, queue) from error
        self._buffer.sent(queue, count, self._move())
        self._flights[flight] = queue
        flight.add_done_callback(partial(self._acknowledged, producer))
        return count

    def _is_shut(self, queue: PartitionQueue) -> bool:
        """Return whether a queue's topic is put off, or its partition has no leader, or is not there (any more)."""
        producer = self._producer
        if producer is None or not producers.has_leader(producer, queue):
            return True
        return self._topic_backoff.holds(queue.name, _now())

    def _acknowledged(self, producer: AIOKafkaProducer, flight: asyncio.Future[object]) -> None:
        queue = self._flights.pop(flight, None)
        error = None if flight.cancelled() else flight.exception()
        if producer is not self._producer or queue is None:
            return  # of a producer given up before: these records are sent again already
        if error is not None:
            self._fail(ProducerLost(error, queue))
            return
        self._backoff.reset()
        if self._topic_backoff and queue.name not in self._leaderless:
            self._topic_backoff.lift(queue.name)
        self.acking = True
        self._latency.acknowledged(queue, self._move(), wall_us())
        self._buffer.acknowledged(queue)
        self.last_error = None
        if not self._flights:
            self._all_acknowledged.set()

    async def _watch(self) -> None:
        """Notice a batch that is not acknowledged in time, and wake the sender for queues put off."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            oldest = self._buffer.oldest_in_flight()
            if oldest is not None and _now() - oldest > self._delivery_timeout_seconds:
                reason = f"no acknowledgement within {self._delivery_timeout_seconds:g} s"
                self._fail(ProducerLost(TimeoutError(reason)))
            if self._buffer.has_ready:
                self._work.set()

    async def _look_around(self) -> None:
        """Look for topics that are gone and brokers that have moved, as aiokafka does late or not at all."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            producer = self._producer
            if producer is None:
                continue
            if producers.has_ended(producer):
                self._fail(ProducerLost(kafka_errors.ProducerClosed("a task of the producer has ended by itself")))
            self._look_for_leaders(producer)
            oldest = self._buffer.oldest_in_flight()
            if oldest is not None and _now() - oldest > STRANDED_SECONDS and await self._is_stranded(producer):
                self._fail(ProducerLost(kafka_errors.KafkaConnectionError(STRANDED)))

    def _look_for_leaders(self, producer: AIOKafkaProducer) -> None:
        queues = [queue for queue in self._buffer.queues() if len(queue) and not producers.has_leader(producer, queue)]
        self._leaderless = {queue.name for queue in queues}
        if queues:
            producer.client.force_metadata_update()
        for queue in queues:
            known = producers.partitions(producer, queue.name)
            if queue.in_flight and queue.partition not in known:
                reason = _missing(queue, len(known))
                self._fail(ProducerLost(kafka_errors.UnknownTopicOrPartitionError(reason), queue))
                return
            self._topic_backoff.note(queue.name, _missing(queue, len(known)))

    async def _is_stranded(self, producer: AIOKafkaProducer) -> bool:
        try:
            stranded = await producers.is_stranded(producer, self._options())
        except (SettingsError, SecretUnreadable):
            return False
        return stranded and producer is self._producer

    def _fail(self, failure: ProducerLost) -> None:
        self._failure = self._failure or failure
        self._work.set()
        self._urgent.set()

    def _move(self) -> float:
        self.moved_at = _now()
        return self.moved_at

    # -- a new producer -----------------------------------------------------------------------------------------

    async def _replace_producer(self, lost: ProducerLost) -> None:
        self._move()
        self.connected = self.acking = False
        self.last_error = str(lost)
        self.rebuilds += 1
        if self._flights and not isinstance(lost.error, TimeoutError):
            await asyncio.wait(self._flights, timeout=SETTLE_SECONDS)
        producer, self._producer = self._producer, None
        returned = self._buffer.requeue()
        self._flights.clear()
        self._failure = None
        self._all_acknowledged.set()
        if not self._draining:
            self._urgent.clear()
        log.warning(
            log_events.PRODUCER_REPLACED,
            reason=str(lost),
            error=type(lost.error).__name__,
            topic=lost.queue.name if lost.queue else None,
            records=returned,
            rebuilds=self.rebuilds,
        )
        if lost.queue is not None:
            self._treat(lost.queue, lost.error)
        if producer is not None:
            await producers.abandon(producer)
        await asyncio.sleep(self._backoff.next_seconds())
        self._producer = await self._start_producer()
        log.info(log_events.PRODUCER_READY, rebuilds=self.rebuilds)

    def _treat(self, queue: PartitionQueue, error: BaseException) -> None:
        if isinstance(error, RECORD_REFUSED):
            self._narrow(queue, error)
        elif _is_refusal(error):
            tries = self._topic_backoff.put_off(queue.name, str(error), _now())
            if isinstance(error, kafka_errors.UnknownError) and tries >= TRIES:
                self._narrow(queue, error)

    def _narrow(self, queue: PartitionQueue, error: BaseException) -> None:
        """Cut a refused batch in halves; the record that is refused alone is no longer sent."""
        if queue.last_count > 1:
            queue.max_records = queue.last_count // 2
            return
        queue.max_records = 0
        record = self._buffer.remove_first(queue)
        size = len(record[2]) + len(record[1] or b"")
        self._refuse(record, queue, BadLine("record_refused", f"Kafka refused its record of {size} bytes: {error}"))

    async def _start_producer(self) -> AIOKafkaProducer:
        backoff = Backoff(BACKOFF_MIN_SECONDS, BACKOFF_MAX_SECONDS)
        patience_seconds = START_MIN_SECONDS
        while True:
            self._move()
            try:
                producer = await producers.start(self._options(), patience_seconds)
            except (KafkaUnreachable, SettingsError, SecretUnreadable) as error:
                self.last_error = str(error)
                patience_seconds = min(2 * patience_seconds, START_MAX_SECONDS)
                delay = backoff.next_seconds()
                log.warning(log_events.KAFKA_UNAVAILABLE, reason=str(error), retry_seconds=round(delay, 2))
                await asyncio.sleep(delay)
            else:
                self.connected = True
                self._work.set()
                return producer


def _is_refusal(error: BaseException) -> bool:
    """Return whether a broker answered that it does not take a topic's records, and may do so later."""
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return True
    return (
        isinstance(error, kafka_errors.BrokerResponseError)
        and not error.retriable
        and not isinstance(error, PRODUCER_POISONED + CONNECTION_REFUSED)
    )


def _missing(queue: PartitionQueue, known: int) -> str:
    if not known:
        return "it is gone, or we may not see it any more"
    if queue.partition >= known:
        return f"it has {known} partitions now: restart the bridge to use them"
    return f"its partition {queue.partition} has no leader"


def _now() -> float:
    # uvloop's loop.time() has a resolution of 1 ms, as long as many an acknowledgement takes.
    return time.monotonic()
