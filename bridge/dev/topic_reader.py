"""The newest records of the topics, read back from Kafka and decoded: they prove the whole path of a line.

An update costs little at any rate: one request for the end offsets of all partitions, and one batch of each
partition that has grown.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from bridge.dev.record_summary import printable, summarize
from bridge.errors import BridgeError, Undecodable
from bridge.kafka.consumer import open_consumer
from bridge.serialization.decoding import open_deserializer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiokafka import AIOKafkaConsumer, ConsumerRecord

    from bridge.app import Bridge
    from bridge.serialization.deserializer import Deserializer
    from bridge.topics import AnyTopic

UPDATE_TIMEOUT_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest record of a topic, in one line."""

    text: str
    timestamp_ms: int


class TopicReader:
    """A consumer of the topics that a bridge writes to; records with a timestamp before ``since_ms`` are ignored."""

    def __init__(self, bridge: Bridge, since_ms: int) -> None:
        self.newest: dict[AnyTopic, Newest] = {}
        #: Number of records in each topic, of any writer.
        self.counts: Counter[AnyTopic] = Counter()
        #: Why the last update failed.
        self.problem: str | None = None
        self._bridge = bridge
        self._since_ms = since_ms
        self._opened = AsyncExitStack()
        self._deserializer: Deserializer
        self._consumer: AIOKafkaConsumer = None
        self._read: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        self._deserializer = await self._opened.enter_async_context(open_deserializer(self._bridge.settings))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def update(self, timeout_seconds: float = UPDATE_TIMEOUT_SECONDS) -> None:
        """Read what is new; if that fails, set ``problem``."""
        # Empty until the bridge has reached Kafka and knows the partitions.
        topics = {TopicPartition(queue.name, queue.partition): queue.topic for queue in self._bridge.buffer.queues()}
        if not topics:
            return
        self.problem = None
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._update(topics)
        except TimeoutError:
            self.problem = f"Kafka did not answer the consumer within {timeout_seconds:g} s"
        except (KafkaError, BridgeError, OSError) as error:
            self.problem = str(error) or type(error).__name__

    async def _update(self, topics: Mapping[TopicPartition, AnyTopic]) -> None:
        if self._consumer is None:
            self._consumer = await self._opened.enter_async_context(open_consumer(self._bridge.settings, "dev"))
        if topics.keys() != self._consumer.assignment():
            self._consumer.assign(list(topics))
            self._consumer.pause(*topics)  # only the last records are fetched, see below
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(list(topics))
        self.counts = Counter()
        for partition, end in ends.items():
            self.counts[topics[partition]] += end
        grown = {partition: end for partition, end in ends.items() if end > self._read.get(partition, 0)}
        for message in await _last_records(self._consumer, grown):
            partition = TopicPartition(message.topic, message.partition)
            self._read[partition] = ends[partition]
            await self._set_newest(topics[partition], message)

    async def _set_newest(self, topic: AnyTopic, message: ConsumerRecord) -> None:
        current = self.newest.get(topic)
        if message.timestamp < (self._since_ms if current is None else current.timestamp_ms):
            return
        try:
            text = summarize(await self._deserializer.decode(message.value))
        except Undecodable as error:
            text = printable(f"not decodable: {error}")
        self.newest[topic] = Newest(text, message.timestamp)


async def _last_records(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> Iterable[ConsumerRecord]:
    """Return the last record of each partition.

    Records are taken one by one: the consumer fetches nothing ahead while others of the same fetch are unread.
    """
    for partition, end in ends.items():
        consumer.seek(partition, end - 1)
    consumer.resume(*ends)
    found: dict[TopicPartition, ConsumerRecord] = {}
    try:
        while missing := ends.keys() - found.keys():
            message = await consumer.getone(*missing)
            found[TopicPartition(message.topic, message.partition)] = message
    finally:
        consumer.pause(*ends)
    return found.values()
