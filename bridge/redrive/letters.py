"""The dead letters of a topic, from a consumer group's position to the ends that the partitions have at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiokafka.errors import GroupAuthorizationFailedError

from bridge.errors import TopicConfigurationError
from bridge.kafka.client_options import client_options, readable_errors
from bridge.kafka.consumer import assign_topics, fetch
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

    from bridge.settings import Settings

POLL_SECONDS: Final = 1.0
#: Letters in memory at a time; one may have half a megabyte.
MAX_LETTERS: Final = 100


class Letters:
    """A reader of dead letters in batches; the caller commits ``position`` when it has processed them."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, group: str) -> None:
        self._settings = settings
        self._consumer = consumer
        self._group = group
        self._ends: dict[TopicPartition, int] = {}
        self._starts: dict[TopicPartition, int] = {}

    @property
    def left(self) -> int:
        """Return how many offsets there were to read at the start."""
        return sum(max(0, end - self._starts[partition]) for partition, end in self._ends.items())

    async def prepare(self) -> None:
        """Go to the group's position.

        Raises KafkaUnreachable, and TopicConfigurationError if there is no topic or the group may not be used.
        """
        async with readable_errors(client_options(self._settings, "redrive")):
            partitions = await assign_topics(self._consumer, self._settings.topics, (Topic.DLQ.value,))
            self._ends = dict(await self._consumer.end_offsets(partitions))
            beginnings = await self._consumer.beginning_offsets(partitions)
            for partition in partitions:
                committed = await self._committed(partition)
                start = int(beginnings[partition])
                if committed is not None and start <= committed <= self._ends[partition]:  # else it was deleted
                    start = committed
                self._starts[partition] = start
                self._consumer.seek(partition, start)

    async def portions(self) -> AsyncIterator[Mapping[TopicPartition, list[ConsumerRecord]]]:
        """Yield the letters up to the ends, in the order of each partition; raises KafkaUnreachable."""
        consumer = self._consumer
        unread = {partition for partition, end in self._ends.items() if self._starts[partition] < end}
        consumer.pause(*(self._ends.keys() - unread))
        while unread:
            found = await fetch(consumer, POLL_SECONDS, max_records=MAX_LETTERS)
            before_ends = {
                partition: [message for message in messages if message.offset < self._ends[partition]]
                for partition, messages in found.items()
            }
            yield {partition: messages for partition, messages in before_ends.items() if messages}
            for partition in list(unread):
                if await consumer.position(partition) >= self._ends[partition]:
                    consumer.pause(partition)
                    unread.discard(partition)

    async def commit(self, position: Mapping[TopicPartition, int]) -> None:
        """Commit the offsets of the next letters; raises KafkaUnreachable or TopicConfigurationError."""
        if not position:
            return
        async with readable_errors(client_options(self._settings, "redrive")):
            try:
                await self._consumer.commit(dict(position))
            except GroupAuthorizationFailedError as error:
                raise self._forbidden() from error

    async def _committed(self, partition: TopicPartition) -> int | None:
        try:
            offset: int | None = await self._consumer.committed(partition)
        except GroupAuthorizationFailedError as error:
            raise self._forbidden() from error
        return offset

    def _forbidden(self) -> TopicConfigurationError:
        return TopicConfigurationError(
            f"not authorized to use the consumer group {self._group}: grant Read on it to the account of "
            "KAFKA_SASL_USERNAME (or of the client certificate), or name another with --group."
        )
