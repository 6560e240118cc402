"""The market from Kafka: a thin layer of aiokafka around ``MarketView``."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from bridge.consumer.events import Event, Unreadable
from bridge.consumer.market_view import MarketView
from bridge.errors import Undecodable
from bridge.kafka.client_options import client_options, readable_errors
from bridge.kafka.consumer import assign_topics, fetch, open_consumer
from bridge.kafka.partitioner import partition as partition_of
from bridge.serialization.decoding import open_deserializer
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import MARKET_DATA, Topic

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

    from bridge.serialization.deserializer import Deserializer

#: Longest wait for records before silent bridges are looked for.
POLL_SECONDS: Final = 1.0


class MarketReader:
    """A reader of topics into a ``view``, which has the states while ``events`` is iterated."""

    def __init__(self, consumer: AIOKafkaConsumer, decoder: Deserializer, names: Mapping[Topic, str]) -> None:
        self.view = MarketView()
        self._consumer = consumer
        self._decoder = decoder
        self._topics = {name: topic for topic, name in names.items()}
        self._next: dict[TopicPartition, int] = {}

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield what the records mean as they arrive, without end.

        Raises KafkaUnreachable and TopicConfigurationError, RegistryUnreachable and RegistryRefused.
        """
        while True:
            for partition, messages in (await fetch(self._consumer, POLL_SECONDS)).items():
                for message in messages:
                    for event in [*self._note_missing(partition, message.offset), *await self._take(message)]:
                        yield event
                    self._next[partition] = message.offset + 1
            for event in self.view.tick(_now_us()):
                yield event

    def _note_missing(self, partition: TopicPartition, offset: int) -> list[Event]:
        """Note which symbols may miss records if offsets before this one were deleted or compacted away."""
        topic = self._topics[partition.topic]
        if topic not in MARKET_DATA or offset <= self._next.get(partition, offset):
            return []
        count = sum(one.topic == partition.topic for one in self._consumer.assignment())
        return self.view.miss(topic, lambda symbol: partition_of(symbol.encode(), count) == partition.partition)

    async def _take(self, message: ConsumerRecord) -> list[Event]:
        topic = self._topics[message.topic]
        try:
            record = await self._decoder.decode_as(topic, message.value)
        except Undecodable as error:
            return [Unreadable(message.topic, message.partition, message.offset, str(error))]
        return self.view.take(topic, record, _now_us())


@asynccontextmanager
async def open_market(
    *topics: Topic | str, bootstrap: str | None = None, from_beginning: bool = True
) -> AsyncIterator[MarketReader]:
    """Provide a reader of these topics (none: all of the bridge's that exist) and of the control topic.

    The settings are those of the bridge, ``KAFKA_*`` and ``SCHEMA_REGISTRY_*``; ``bootstrap`` takes precedence over
    ``KAFKA_BOOTSTRAP_SERVERS``. From the beginning it reads all that the topics hold, else only what comes.
    Raises SettingsError, KafkaUnreachable and TopicConfigurationError.
    """
    settings = kafka_settings(bootstrap)
    names = settings.topics
    async with open_deserializer(settings) as decoder, open_consumer(settings, "consumer") as consumer:
        async with readable_errors(client_options(settings, "consumer")):
            await assign_topics(consumer, names, tuple(names[Topic(one)] for one in topics), also=(Topic.CONTROL,))
            if not from_beginning:
                await consumer.seek_to_end()
        yield MarketReader(consumer, decoder, names)


def _now_us() -> int:
    return time.monotonic_ns() // 1000
