"""A Kafka producer as the publisher needs it, and the one that aiokafka's parts make."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, ProducerClosed

from bridge.errors import KafkaUnreachable
from bridge.kafka.aiokafka_internals import assemble, retrieve
from bridge.kafka.broker_support import UnusableBrokers, missing_request, unsupported_compression
from bridge.kafka.client_options import readable_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from bridge.kafka.broker_support import Lack
    from bridge.kafka.record_batch import RecordBatch

START_TIMEOUT_SECONDS: Final = 30.0
CLOSE_TIMEOUT_SECONDS: Final = 3.0
ANSWER_TIMEOUT_SECONDS: Final = 5.0


class Producer(Protocol):
    """A started producer: idempotent, ``acks=all``, in order within a partition until it fails."""

    def send(self, batch: RecordBatch, topic: str, partition: int) -> asyncio.Future[object]:
        """Send a batch, and return its acknowledgement to come; raise ``KafkaError`` if the producer has ended."""

    def rewind(self, topic: str, partition: int, records: int) -> None:
        """Let the next batch of a partition have the sequence number of the last one, which failed."""

    @property
    def last_failure(self) -> str:
        """Return why the last connection to a broker failed, empty if none did."""

    def unsupported(self, compression: str) -> Lack | None:
        """Return what brokers lack to take batches with this compression."""

    def partitions(self, topic: str) -> Collection[int]:
        """Return the numbers of a topic's partitions, none if the topic is not there."""

    def may_describe(self, topic: str) -> bool:
        """Return whether Kafka tells us whether a topic exists."""

    def has_leader(self, topic: str, partition: int) -> bool:
        """Return whether the broker is known that takes a partition's records."""

    def refresh_metadata(self) -> None:
        """Ask for topics, partitions and leaders soon."""

    def has_ended(self) -> bool:
        """Return whether it can send no more: a task of its own has ended."""

    async def why_silent(self) -> str:
        """Ask the brokers; return why none of them answers, empty if one does."""

    async def is_stranded(self, options: Mapping[str, object]) -> bool:
        """Return whether no broker that it knows answers, while Kafka can be reached with these options."""

    async def close(self) -> None:
        """Close it; nothing is in flight."""

    async def abandon(self) -> None:
        """End it in whatever state, without waiting for acknowledgements."""


class AiokafkaProducer:
    """A producer made of aiokafka's parts; a fresh one for each attempt to start (aiokafka #759)."""

    def __init__(self, options: Mapping[str, object], topics: Collection[str] = ()) -> None:
        """``options`` are those of ``bridge.kafka.client_options``, ``topics`` all names that are ever sent to."""
        self._topics = topics
        self._client, self._accumulator, self._sender = assemble(options, topics)

    @classmethod
    async def start(
        cls, options: Mapping[str, object], topics: Collection[str] = (), timeout_seconds: float = START_TIMEOUT_SECONDS
    ) -> AiokafkaProducer:
        """Return a producer that is connected and knows these topics, or all if none is named.

        Raises ``KafkaUnreachable``.
        """
        producer = cls(options, topics)
        try:
            async with readable_errors(options), asyncio.timeout(timeout_seconds):
                await producer._connect()
        except (KafkaUnreachable, asyncio.CancelledError):
            await producer.abandon()
            raise
        return producer

    async def _connect(self) -> None:
        await self._client.bootstrap()
        if (lack := missing_request(self._client.versions)) is not None:
            raise UnusableBrokers(str(lack))
        # Before the sender: it would ask unreachable brokers for its id again and again.
        if not await self._client.force_metadata_update():
            raise UnusableBrokers(self._client.last_failure or "no broker answered a metadata request")
        await self._sender.start()
        # Until its task has begun: to close it at once would else raise that it was cancelled.
        await asyncio.sleep(0)

    def send(self, batch: RecordBatch, topic: str, partition: int) -> asyncio.Future[object]:
        """Send a batch, and return its acknowledgement to come; raise ``KafkaError`` if the producer has ended."""
        return self._accumulator.send(batch, topic, partition)

    def rewind(self, topic: str, partition: int, records: int) -> None:
        """Let the next batch of a partition have the sequence number of the last one, which failed."""
        self._accumulator.rewind(topic, partition, records)

    @property
    def last_failure(self) -> str:
        """Return why the last connection to a broker failed, empty if none did."""
        return self._client.last_failure

    def unsupported(self, compression: str) -> Lack | None:
        """Return what brokers lack to take batches with this compression."""
        return unsupported_compression(self._client.versions, compression)

    def partitions(self, topic: str) -> Collection[int]:
        """Return the numbers of a topic's partitions, none if the topic is not there."""
        return self._client.cluster.partitions_for_topic(topic) or ()

    def may_describe(self, topic: str) -> bool:
        """Return whether Kafka tells us whether a topic exists."""
        return topic not in self._client.hidden_topics

    def has_leader(self, topic: str, partition: int) -> bool:
        """Return whether the broker is known that takes a partition's records."""
        leader = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
        return leader is not None and leader >= 0

    def refresh_metadata(self) -> None:
        """Ask for topics, partitions and leaders soon."""
        self._client.force_metadata_update()

    def has_ended(self) -> bool:
        """Return whether a task has ended that it cannot do without: its sender, or the metadata updates."""
        tasks = self._sender.sender_task, self._client._sync_task  # noqa: SLF001 - as in aiokafka_internals
        return any(task is None or task.done() for task in tasks)

    async def why_silent(self) -> str:
        """Ask the brokers; return why none of them answers, empty if one does."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                return await self._client.why_silent()
        except TimeoutError:
            return f"no broker has answered within {ANSWER_TIMEOUT_SECONDS:g} s"

    async def is_stranded(self, options: Mapping[str, object]) -> bool:
        """Return whether no broker that it knows answers, while Kafka can be reached with these options.

        aiokafka never asks the bootstrap servers again, as Kafka's own client does (KIP-899): if all brokers have
        moved, it looks for them at their old addresses for ever.
        """
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                if await self._client.force_metadata_update():
                    return False
                await (await self.start(options, self._topics)).close()
                return not await self._client.force_metadata_update()
        except (TimeoutError, KafkaUnreachable):
            return False

    async def close(self) -> None:
        """Close it; nothing is in flight."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await self._accumulator.close()
                await self._sender.close()
                await self._client.close()
        except (TimeoutError, KafkaError):
            await self.abandon()

    async def abandon(self) -> None:
        """End it in whatever state, without waiting for acknowledgements.

        The connections are cut first, then every task that works on batches is ended, and only then the batches are
        failed: a request that still ran would put its failed batches back.
        """
        self._client.abort_connections()
        synchronizer = self._client.detach_synchronizer()
        await _cancel(lambda: {self._sender.sender_task, synchronizer, *self._sender.requests})
        self._accumulator.fail_everything(ProducerClosed())
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await self._client.close()
        except (TimeoutError, KafkaError, OSError) as error:
            logging.getLogger(__name__).debug("closing connections: %s", error)


async def _cancel(tasks: Callable[[], set[asyncio.Task[object] | None]]) -> None:
    """Cancel tasks until all have ended, also those that start meanwhile."""
    seen: set[asyncio.Task[object]] = set()
    while pending := {task for task in tasks() if task is not None and not task.done()}:
        seen |= pending
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.05)
    for task in seen | {task for task in tasks() if task is not None}:
        retrieve(task)
