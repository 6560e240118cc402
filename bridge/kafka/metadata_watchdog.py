"""The watchdog of a producer: overdue batches, brokers that are silent or have moved, partitions without a leader.

aiokafka notices these late or not at all.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from aiokafka import errors as kafka_errors

from bridge.clock import wall_us
from bridge.errors import SecretUnreadable, SettingsError
from bridge.kafka.batch_sender import ProducerLost
from bridge.topics import OWN_RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.kafka.batch_sender import BatchSender
    from bridge.kafka.delivery_state import DeliveryState
    from bridge.kafka.producer import Producer
    from bridge.kafka.topic_backoff import TopicBackoff
    from bridge.pipeline.ingest import Ingest
    from bridge.pipeline.partition_queue import PartitionQueue
    from bridge.pipeline.record_buffer import RecordBuffer

#: How often batches in flight and deferred queues are looked at.
DELIVERY_CHECK_SECONDS: Final = 0.25
#: How often leaders are looked at, and after what silence brokers count as unreachable.
METADATA_CHECK_SECONDS: Final = 1.0
UNREACHABLE_AFTER_SECONDS: Final = 5.0
#: After what time without an answer a broker is asked something, as there may be nothing to send.
ASK_AFTER_SECONDS: Final = 5.0
#: After what silence a queue shares the budget of stalled queues; a leader election takes less.
STALLED_AFTER_SECONDS: Final = 1.0
#: Records of a queue that are dropped at a time, if stalled queues hold more than their share.
MAX_SHED_RECORDS: Final = 2000
BROKERS_MOVED: Final = "none of the known brokers answers, but Kafka can be reached by its bootstrap servers"


class MetadataWatchdog:
    """The periodic checks of whether the producer can still deliver; a failed one makes the sender end."""

    def __init__(
        self,
        sender: BatchSender,
        buffer: RecordBuffer,
        ingest: Ingest,
        topic_backoff: TopicBackoff,
        state: DeliveryState,
        *,
        note_delivery: Callable[[], None],
        options: Callable[[], Mapping[str, object]],
        delivery_timeout_seconds: float,
    ) -> None:
        self._sender = sender
        self._buffer = buffer
        self._ingest = ingest
        self._topic_backoff = topic_backoff
        self._state = state
        self._note_delivery = note_delivery
        self._options = options
        self._delivery_timeout_seconds = delivery_timeout_seconds

    async def watch_delivery(self) -> None:
        """Fail a producer whose batch is not acknowledged in time, wake the sender for deferred queues, note all."""
        while True:
            await asyncio.sleep(DELIVERY_CHECK_SECONDS)
            if self._silent_seconds() > self._delivery_timeout_seconds:
                reason = f"no acknowledgement within {self._delivery_timeout_seconds:g} s"
                self._sender.fail(ProducerLost(TimeoutError(reason)))
            self._note_stalled()
            self._ingest.release_after_overload(wall_us())
            self._buffer.resume_deferred()
            self._buffer.resume_waiting()  # for other brokers, if leaders have moved
            self._note_delivery()

    async def watch_connection(self) -> None:
        """Note whether brokers answer; if none has for a while, ask."""
        while True:
            await asyncio.sleep(METADATA_CHECK_SECONDS)
            producer, heard_at = self._sender.producer, self._state.heard_at
            is_known = self._state.connected and time.monotonic() - heard_at < ASK_AFTER_SECONDS
            if producer is None or is_known:
                continue
            silence = await producer.why_silent()
            if producer is not self._sender.producer:
                continue
            if not silence:
                self._state.note_answer()
            elif self._state.heard_at <= heard_at:
                self._state.note_silence(silence)

    async def watch_metadata(self) -> None:
        """Fail a producer that cannot go on: a task has ended, a topic is gone, or all brokers have moved."""
        while True:
            await asyncio.sleep(METADATA_CHECK_SECONDS)
            producer = self._sender.producer
            if producer is None:
                continue
            if producer.has_ended():
                error = kafka_errors.ProducerClosed("a task of the producer has ended unexpectedly")
                self._sender.fail(ProducerLost(error))
            self._check_leaders(producer)
            is_silent = not self._state.connected or self._silent_seconds() > UNREACHABLE_AFTER_SECONDS
            if is_silent and await self._is_stranded(producer):
                self._sender.fail(ProducerLost(kafka_errors.KafkaConnectionError(BROKERS_MOVED)))

    def _note_stalled(self) -> None:
        """Count queues as stalled that no broker answers, and drop what stalled queues hold beyond their share."""
        overdue = time.monotonic() - STALLED_AFTER_SECONDS
        for queue in self._buffer.queues():
            if _is_overdue(queue.unanswered_since, overdue) or (
                queue.waiting and _is_overdue(self._sender.waits_since(queue), overdue)
            ):
                self._buffer.set_stalled(queue, is_stalled=True)
            elif queue.is_stalled and not len(queue) and not self._sender.is_blocked(queue):
                # One that has records recovers when Kafka takes some, not when they may be sent again.
                self._buffer.set_stalled(queue, is_stalled=False)
            if queue.is_stalled and queue.waiting and queue.topic not in OWN_RECORDS:
                self._ingest.shed(queue, MAX_SHED_RECORDS)

    def _silent_seconds(self) -> float:
        """Return how long no broker has answered a batch."""
        oldest = self._buffer.oldest_unanswered()
        return 0.0 if oldest is None else time.monotonic() - oldest

    def _check_leaders(self, producer: Producer) -> None:
        leaderless = [
            queue
            for queue in self._buffer.queues()
            if len(queue) and not producer.has_leader(queue.name, queue.partition)
        ]
        by_topic = {queue.name: queue for queue in reversed(leaderless)}
        self._sender.leaderless = set(by_topic)
        if leaderless:
            producer.refresh_metadata()
        for name, queue in by_topic.items():
            self._topic_backoff.block(name, _why_leaderless(queue, len(producer.partitions(name))))

    async def _is_stranded(self, producer: Producer) -> bool:
        try:
            stranded = await producer.is_stranded(self._options())
        except (SettingsError, SecretUnreadable):
            return False
        return stranded and producer is self._sender.producer


def _is_overdue(since: float | None, overdue: float) -> bool:
    return since is not None and since < overdue


def _why_leaderless(queue: PartitionQueue, known: int) -> str:
    if not known:
        return "the topic does not exist, or this user may not describe it"
    if queue.partition >= known:
        return f"it has {known} partitions now: restart the bridge to use them"
    return f"its partition {queue.partition} has no leader"
