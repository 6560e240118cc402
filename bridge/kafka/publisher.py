"""The publisher: queues to Kafka, through as many producers as it takes.

A failed batch goes back to the head of its queue and is sent again, or its record or topic is dealt with; the others
go on. A producer whose own state is at fault (fenced, out of sequence, closed), or that is not answered within the
delivery timeout, is replaced: what it had in flight goes back, and a new one sends on from there, in order. Repeats
are possible then, holes and overtaking are not.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from bridge import log_events
from bridge.backoff import Backoff
from bridge.errors import KafkaUnreachable, SecretUnreadable, SettingsError, TopicConfigurationError
from bridge.kafka.aiokafka_internals import check_version
from bridge.kafka.batch_sender import BatchSender, ProducerLost
from bridge.kafka.delivery_state import ACK_OVERDUE_SECONDS, DeliveryState
from bridge.kafka.metadata_watchdog import MetadataWatchdog
from bridge.kafka.missing_topics import HINT, wait_for_topics
from bridge.kafka.partition_counts import check_equal_partition_counts, partition_counts
from bridge.kafka.producer import AiokafkaProducer
from bridge.kafka.topic_backoff import TopicBackoff
from bridge.tasks import awaited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from bridge.kafka.batch_sender import Batching
    from bridge.kafka.producer import Producer
    from bridge.observability.latency import LatencyMetrics
    from bridge.pipeline.ingest import Ingest
    from bridge.pipeline.record_buffer import RecordBuffer
    from bridge.topics import AnyTopic, TopicNames

    StartProducer = Callable[[Mapping[str, object], Collection[str], float], Awaitable[Producer]]

log = structlog.get_logger(__name__)

BACKOFF_MIN_SECONDS: Final = 0.25
BACKOFF_MAX_SECONDS: Final = 10.0
#: How long an attempt to reach Kafka may take: short at first, as each asks brokers at random, and one may hang.
START_TIMEOUT_MIN_SECONDS: Final = 5.0
START_TIMEOUT_MAX_SECONDS: Final = 30.0


class ConnectionsCut(TimeoutError):
    """The reason why a producer is replaced without waiting for what it has in flight."""


class Publisher:
    """The supervisor of producers: it starts them, lets the sender use them, and replaces those that are lost."""

    def __init__(
        self,
        buffer: RecordBuffer,
        ingest: Ingest,
        latency: LatencyMetrics,
        *,
        names: TopicNames,
        topics: Collection[AnyTopic],
        options: Callable[[], Mapping[str, object]],
        batching: Batching,
        delivery_timeout_seconds: float,
        may_send: Callable[[], bool] = lambda: True,
        start_producer: StartProducer | None = None,
    ) -> None:
        """``options`` reads secrets and certificates again.

        ``may_send`` says whether anything may be sent at the moment: it is asked before batches are made, and again
        immediately before each request is written. When it says yes again, call ``RecordBuffer.resume_deferred``.
        """
        self.state = DeliveryState()
        self._buffer = buffer
        self._names = names
        self._topics = topics
        self._options = options
        #: Whether the producer's connections are cut, until it is replaced.
        self._is_cut = False
        self._may_send = may_send
        self._start_producer = start_producer or partial(AiokafkaProducer.start, may_send=self._may_send_now)
        self._compression = batching.compression
        self._backoff = Backoff(BACKOFF_MIN_SECONDS, BACKOFF_MAX_SECONDS)
        self._topic_backoff = TopicBackoff()
        self._producer: Producer | None = None
        self._sender = BatchSender(
            buffer,
            ingest,
            latency,
            self._topic_backoff,
            self.state,
            batching=batching,
            may_send=self._may_send_now,
        )
        self._watchdog = MetadataWatchdog(
            self._sender,
            buffer,
            ingest,
            self._topic_backoff,
            self.state,
            note_delivery=self._note_delivery,
            options=options,
            delivery_timeout_seconds=delivery_timeout_seconds,
        )

    async def connect(self) -> None:
        """Connect to Kafka and wait for the topics, however long it takes, and open the queues.

        Raises ``TopicConfigurationError``, ``UnsupportedLibrary``, and what is wrong with the options: later that is
        waited out.
        """
        check_version()
        self._options()
        self._producer = await self._started_producer()
        while not await wait_for_topics(self._producer, [self._names[topic] for topic in self._topics], self.state):
            await self._producer.abandon()
            self._producer = await self._started_producer()
        self._buffer.open(partition_counts(self._producer, self._names, self._topics))

    def open_topics(self, topics: Collection[AnyTopic]) -> None:
        """Open queues for topics that were not needed before; the others are not looked at.

        Raises ``KafkaUnreachable`` or ``TopicConfigurationError``; a later call may succeed, with newer metadata.
        """
        new = sorted({*topics} - {*self._topics})
        if not new:
            return
        names = ", ".join(self._names[topic] for topic in new)
        if self._producer is None:
            raise KafkaUnreachable(f"Kafka is not connected at the moment, so {names} cannot be looked up yet")
        try:
            counts = partition_counts(self._producer, self._names, new)
            opened = {topic: self._buffer.partitions(topic) for topic in self._topics}
            check_equal_partition_counts(self._names, {**opened, **counts})
        except TopicConfigurationError:
            self._producer.refresh_metadata()
            raise
        self._buffer.open(counts)
        self._topics = sorted({*self._topics, *new})

    async def has_topic(self, name: str) -> bool:
        """Ask Kafka whether a topic exists that nothing is published to; True if that is not known."""
        return self._producer is None or await self._producer.has_topic(name)

    def cut(self, reason: str) -> None:
        """Replace the producer at once: its connections are cut, and what was in flight may be sent again."""
        self._is_cut = True
        self._sender.fail(ProducerLost(ConnectionsCut(reason)))

    def resume(self) -> None:
        """Send what could not be sent while ``may_send`` said no."""
        self.state.note_activity()
        self._buffer.resume_deferred()

    def _may_send_now(self) -> bool:
        return not self._is_cut and self._may_send()

    def partition_drift(self) -> dict[str, int]:
        """Return the topics whose number of partitions has changed, with the new number."""
        if self._producer is None:
            return {}
        found = {topic: len(self._producer.partitions(self._names[topic])) for topic in self._topics}
        return {
            self._names[topic]: count
            for topic, count in found.items()
            if count and count != self._buffer.partitions(topic)
        }

    def blocked_topics(self) -> set[str]:
        """Return the names of the topics that hold records and cannot be written, also while one is tried again."""
        return {
            queue.name
            for queue in self._buffer.queues()
            if len(queue)
            and not self._sender.is_writable(queue)
            and (not queue.in_flight or self._topic_backoff.is_blocked(queue.name))
        }

    def problem(self, now: float) -> str | None:
        """Return why records are not acknowledged at a moment (monotonic seconds), None if they are."""
        if (outage := self._outage(now)) is not None:
            return outage
        if blocked := self.blocked_topics():
            return f"topics not writable: {', '.join(sorted(blocked))}"
        return None

    def _note_delivery(self) -> None:
        self.state.note_delivery(self._outage(time.monotonic()), is_blocked=bool(self.blocked_topics()))

    def _outage(self, now: float) -> str | None:
        """Return why no record at all is acknowledged."""
        state = self.state
        if not state.connected:
            return f"not connected: {state.last_error or 'connecting'}"
        if state.missing_topics:
            return f"waiting for topics: {', '.join(state.missing_topics)} ({HINT})"
        if not state.acking:
            return f"connected, but nothing is acknowledged yet; last error: {state.last_error or 'none'}"
        oldest = self._buffer.oldest_unanswered()
        if oldest is not None and now - oldest > ACK_OVERDUE_SECONDS:
            why = f": {state.last_error}" if state.last_error else ""
            return f"no acknowledgement for {now - oldest:.0f} s{why}"
        return None

    async def run(self) -> None:
        """Send what the queues hold until cancelled; ``connect`` first."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(awaited(self._watchdog.watch_delivery()), name="delivery watchdog")
            tasks.create_task(awaited(self._watchdog.watch_metadata()), name="metadata watchdog")
            tasks.create_task(awaited(self._watchdog.watch_connection()), name="connection watchdog")
            while True:
                assert self._producer is not None
                try:
                    await self._sender.run(self._producer)
                except ProducerLost as lost:
                    await self._replace_producer(lost)

    async def drained(self) -> None:
        """Send without lingering from now on, and wait until every record is acknowledged that can be."""
        await self._sender.drain()

    async def close(self) -> None:
        """Close the producer: gracefully if nothing is in flight, else abort."""
        producer, self._producer = self._producer, None
        self.state.connected = False
        if producer is not None:
            await (producer.abandon() if self._sender.has_in_flight else producer.close())
        self._sender.release_producer()

    # -- a new producer -----------------------------------------------------------------------------------------

    async def _replace_producer(self, lost: ProducerLost) -> None:
        state = self.state
        state.note_activity()
        if state.acking:
            self._backoff.reset()
        state.acking = False
        state.last_error = str(lost)
        state.rebuilds += 1
        if not isinstance(lost.error, TimeoutError):
            await self._sender.settle()
        producer, self._producer = self._sender.release_producer(), None
        requeued = self._buffer.requeue()
        log.warning(
            log_events.PRODUCER_REPLACED,
            reason=str(lost),
            error=lost.name,
            topic=lost.queue.name if lost.queue else None,
            records=requeued,
            rebuilds=state.rebuilds,
        )
        if producer is not None:
            await producer.abandon()
        await asyncio.sleep(self._backoff.next_seconds())
        self._is_cut = False
        self._producer = await self._started_producer()
        log.info(log_events.PRODUCER_READY, rebuilds=state.rebuilds)

    async def _started_producer(self) -> Producer:
        backoff = Backoff(BACKOFF_MIN_SECONDS, BACKOFF_MAX_SECONDS)
        timeout_seconds = START_TIMEOUT_MIN_SECONDS
        while True:
            self.state.note_activity()
            try:
                producer = await self._start_suitable(self._options(), timeout_seconds)
            except (KafkaUnreachable, SettingsError, SecretUnreadable) as error:
                self.state.note_silence(str(error))
                timeout_seconds = min(2 * timeout_seconds, START_TIMEOUT_MAX_SECONDS)
                delay = backoff.next_seconds()
                log.warning(log_events.KAFKA_UNAVAILABLE, reason=str(error), retry_seconds=round(delay, 2))
                await asyncio.sleep(delay)
            else:
                self.state.note_answer()
                self._buffer.resume_deferred()
                return producer

    async def _start_suitable(self, options: Mapping[str, object], timeout_seconds: float) -> Producer:
        """Start a producer; raise ``KafkaUnreachable`` also if its brokers would not take our batches."""
        producer = await self._start_producer(options, self._names.values(), timeout_seconds)
        if (lack := producer.unsupported(self._compression)) is not None:
            await producer.abandon()
            raise KafkaUnreachable(f"Kafka at {options['bootstrap_servers']} cannot be used: {lack}")
        return producer
