"""The shards topic: the newest marks of all partitions are read and those that follow, and written to the shard's own.

An owner writes a mark a second, and a segment is not compacted before it is closed, a week later by default: a topic
may have 600,000 marks of a shard.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from bridge.errors import KafkaUnreachable, TopicConfigurationError
from bridge.group import marks
from bridge.kafka.aiokafka_internals import client_of
from bridge.kafka.client_options import CONNECT_TIMEOUT_SECONDS
from bridge.kafka.consumer import fetch
from bridge.kafka.partition_counts import shards_topic_problem
from bridge.kafka.produce_requests import OutgoingBatch
from bridge.kafka.producer import AiokafkaProducer, send_batch
from bridge.kafka.record_batch import batch_maker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiokafka import AIOKafkaConsumer

    from bridge.group.marks import Mark
    from bridge.kafka.producer import Producer

#: How long a mark may take: others see no renewal meanwhile.
WRITE_TIMEOUT_SECONDS: Final = 3.0
_BATCH_BYTES: Final = 16 << 10
#: Kafka's NO_TIMESTAMP: brokers reject records an hour ahead (message.timestamp.after.max.ms), and a lease must not end
#: because the wall clock was set forward.
_NO_TIME_US: Final = -1000
#: How many of the newest marks of a shard are read, those of a quarter of an hour: a lease lasts seconds.
TAIL_MARKS: Final = 1000


class MarkReader:
    """The marks of all shards, through consumers that are members of no group."""

    def __init__(self, consumer: AIOKafkaConsumer, asking: AIOKafkaConsumer, topic: str, shards: int) -> None:
        """``asking`` asks for ends: a broker answers a connection in order, and a fetch waits for records."""
        self._consumer = consumer
        self._asking = asking
        self._topic = topic
        self._shards = shards
        self._partitions: list[TopicPartition] = []
        self._ends: Mapping[TopicPartition, int] = {}

    async def read(self, timeout_seconds: float) -> Iterable[Mark]:
        """Return the marks that arrive within the timeout; raise ``KafkaUnreachable``."""
        found: list[Mark] = []
        for at, records in (await fetch(self._consumer, timeout_seconds)).items():
            for record in records:
                mark = marks.decode(record.value)
                if mark is not None and mark.shard == at.partition:  # else it has no place in the order of its shard
                    found.append(mark)
        return found

    async def ends(self) -> Mapping[TopicPartition, int]:
        """Return the present ends of all partitions, those that were added since, too.

        Raises ``TopicConfigurationError`` if the topic is missing or has too few partitions, ``KafkaUnreachable``
        if it was created again, and ``KafkaError``.
        """
        await self._assign()
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            ends: Mapping[TopicPartition, int] = await self._asking.end_offsets(self._partitions)
        # Not those of the last time alone, which may be long ago: whoever is behind the end has nothing left to read.
        before = {partition: await self._consumer.position(partition) for partition in self._partitions}
        if any(ends[partition] < max(at, self._ends.get(partition, 0)) for partition, at in before.items()):
            raise KafkaUnreachable(f"{self._topic} was deleted and created again; it is read from its beginning")
        self._ends = ends
        return ends

    async def has_read(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Return whether everything before these ends has been read."""
        return all([await self._consumer.position(partition) >= end for partition, end in ends.items()])

    async def _assign(self) -> None:
        """Read all partitions that there are; those that are read already go on where they are."""
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            cluster = await client_of(self._asking).fetch_all_metadata()
        numbers = sorted(cluster.partitions_for_topic(self._topic) or ())
        if problem := shards_topic_problem(len(numbers), self._shards, self._topic):
            raise TopicConfigurationError(problem)
        partitions = [TopicPartition(self._topic, number) for number in numbers]
        if partitions == self._partitions:
            return
        positions = {known: await self._consumer.position(known) for known in self._partitions if known in partitions}
        client = client_of(self._consumer)
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            await client.fetch_all_metadata()
        self._consumer.assign(partitions)
        client.set_topics([])  # a request that names a topic could create it; see bridge.kafka.consumer
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            ends = await self._asking.end_offsets(partitions)
            beginnings = await self._asking.beginning_offsets(partitions)
        for partition in partitions:
            tail = max(beginnings[partition], ends[partition] - TAIL_MARKS)
            self._consumer.seek(partition, positions.get(partition, tail))
        self._partitions = partitions


class MarkWriter:
    """A producer for marks: one mark of a shard on its way at a time, and a new connection after each failure."""

    def __init__(self, topic: str, options: Callable[[], Mapping[str, object]]) -> None:
        self._topic = topic
        self._options = options
        self._new_batch = batch_maker("none", _BATCH_BYTES)
        self._producer: Producer | None = None
        self._starting = asyncio.Lock()
        self._order: dict[int, asyncio.Lock] = {}

    async def write(self, mark: Mark) -> None:
        """Write a mark; raise ``KafkaUnreachable`` if that is not known, and what is wrong with the options."""
        async with self._order.setdefault(mark.shard, asyncio.Lock()):
            producer = await self._started()
            batch = self._new_batch()
            key, value = marks.encode(mark)
            batch.fill([(_NO_TIME_US, key, value, None)])
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                    await send_batch(producer, OutgoingBatch(self._topic, mark.shard, batch))
            except (KafkaError, TimeoutError, asyncio.CancelledError) as error:
                await self._abandon(producer)
                if isinstance(error, asyncio.CancelledError):
                    raise
                raise KafkaUnreachable(
                    f"{self._topic} cannot be written: {str(error) or type(error).__name__}"
                ) from error

    async def close(self) -> None:
        """Close the connections; nothing is on its way."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    async def _started(self) -> Producer:
        async with self._starting:
            if self._producer is None:
                self._producer = await AiokafkaProducer.start(self._options(), [self._topic], WRITE_TIMEOUT_SECONDS)
            return self._producer

    async def _abandon(self, producer: Producer) -> None:
        if self._producer is producer:
            self._producer = None
            await producer.abandon()
