"""A Kafka producer as the publisher needs it: aiokafka's client with produce requests of our own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiokafka.errors import KafkaError

from bridge.errors import KafkaUnreachable
from bridge.kafka.aiokafka_internals import Client, retrieve
from bridge.kafka.broker_support import UnusableBrokers, missing_request, unsupported_compression
from bridge.kafka.client_options import readable_errors
from bridge.kafka.produce_requests import ProduceRequests
from bridge.kafka.producer_id import new_producer_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from bridge.kafka.broker_support import Lack
    from bridge.kafka.produce_requests import BatchAnswer, OnAnswers, OutgoingBatch

START_TIMEOUT_SECONDS: Final = 30.0
CLOSE_TIMEOUT_SECONDS: Final = 3.0
ANSWER_TIMEOUT_SECONDS: Final = 5.0


class Producer(Protocol):
    """A started producer: idempotent, ``acks=all``, in order within a partition until it fails."""

    def send(self, batches: Sequence[OutgoingBatch], on_answers: OnAnswers) -> None:
        """Send batches, of which no partition has another in flight; raise ``KafkaError`` if the producer has ended.

        Each is answered once, with others or alone. One that was not sent after all has the error ``NotSent``.
        """

    def busy_since(self, topic: str, partition: int) -> float | None:
        """Return since when the broker of a partition has something to answer first (monotonic seconds), if it has."""

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
        """Return whether it can send no more, or learns of no new leader."""

    async def has_topic(self, topic: str) -> bool:
        """Ask whether a topic exists that nothing is sent to; True if that is not known, False if it is hidden."""

    async def why_silent(self) -> str:
        """Ask the brokers; return why none of them answers, empty if one does."""

    async def is_stranded(self, options: Mapping[str, object]) -> bool:
        """Return whether no broker that it knows answers, while Kafka can be reached with these options."""

    async def close(self) -> None:
        """Close it; nothing is in flight."""

    async def abandon(self) -> None:
        """End it in whatever state, without waiting for acknowledgements."""


class AiokafkaProducer:
    """A producer over aiokafka's connections; a fresh one for each attempt to start."""

    def __init__(
        self,
        options: Mapping[str, object],
        topics: Collection[str] = (),
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        """``options`` are those of ``bridge.kafka.client_options``, ``topics`` all names that are ever sent to.

        ``may_send`` is asked immediately before each request is written, whether anything may be.
        """
        self._topics = topics
        self._client = Client(options, topics)
        self._requests = ProduceRequests(self._client, may_send)

    @classmethod
    async def start(
        cls,
        options: Mapping[str, object],
        topics: Collection[str] = (),
        timeout_seconds: float = START_TIMEOUT_SECONDS,
        *,
        may_send: Callable[[], bool] = lambda: True,
    ) -> AiokafkaProducer:
        """Return a producer that is connected and knows these topics, or all if none is named.

        Raises ``KafkaUnreachable``.
        """
        producer = cls(options, topics, may_send)
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
        # First: else unreachable brokers would be asked for an id again and again.
        if not await self._client.force_metadata_update():
            raise UnusableBrokers(self._client.last_failure or "no broker answered a metadata request")
        self._requests.start(*await new_producer_id(self._client))

    def send(self, batches: Sequence[OutgoingBatch], on_answers: OnAnswers) -> None:
        """Send batches, of which no partition has another in flight; raise ``KafkaError`` if the producer has ended."""
        self._requests.send(batches, on_answers)

    def busy_since(self, topic: str, partition: int) -> float | None:
        """Return since when the broker of a partition has something to answer first (monotonic seconds), if it has."""
        return self._requests.busy_since(topic, partition)

    def rewind(self, topic: str, partition: int, records: int) -> None:
        """Let the next batch of a partition have the sequence number of the last one, which failed."""
        self._requests.rewind((topic, partition), records)

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
        return self._client.leader(topic, partition) is not None

    def refresh_metadata(self) -> None:
        """Ask for topics, partitions and leaders soon."""
        self._client.force_metadata_update()

    def has_ended(self) -> bool:
        """Return whether it can send no more, or learns of no new leader."""
        return self._requests.is_closed or self._client.has_ended()

    async def has_topic(self, topic: str) -> bool:
        """Ask whether a topic exists that nothing is sent to; True if that is not known, False if it is hidden."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                return await self._client.has_topic(topic)
        except (KafkaError, TimeoutError):
            return True

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
                self._requests.abandon()
                await self._client.close()
        except (TimeoutError, KafkaError):
            await self.abandon()

    async def abandon(self) -> None:
        """End it in whatever state, without waiting for acknowledgements.

        The connections are cut first, so that nothing leaves any more, and only then the batches end: once.
        """
        self._client.abort_connections()
        await _cancel({*self._client.detach_synchronizer(), *self._requests.abandon()})
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await self._client.close()
        except (TimeoutError, KafkaError, OSError) as error:
            logging.getLogger(__name__).debug("closing connections: %s", error)


def send_batch(producer: Producer, batch: OutgoingBatch) -> asyncio.Future[None]:
    """Send one batch, and return its acknowledgement to come; raise ``KafkaError`` if the producer has ended."""
    acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_answers(answers: Sequence[BatchAnswer]) -> None:
        if acknowledged.done():
            return  # it was waited for no longer
        [(_, _, error)] = answers
        if error is None:
            acknowledged.set_result(None)
        else:
            acknowledged.set_exception(error)

    producer.send([batch], on_answers)
    return acknowledged


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all have ended."""
    while pending := {task for task in tasks if not task.done()}:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.05)
    for task in tasks:
        retrieve(task)
