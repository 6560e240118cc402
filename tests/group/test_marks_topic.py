"""Marks are read from the end of the topic of the shards, and from there on each of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from bridge.errors import KafkaUnreachable
from bridge.group.marks import Mark, MarkKind, encode
from bridge.group.marks_topic import TAIL_MARKS, MarkReader
from bridge.kafka.consumer import open_consumer
from bridge.settings.kafka_side import kafka_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka


def write(broker: EmbeddedBroker | RealKafka, topic: str, epochs: Iterable[int]) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for epoch in epochs:
        key, value = encode(Mark(kind=MarkKind.HOLD, shard=0, shards=1, epoch=epoch, owner="a", process="p"))
        producer.produce(topic, value, key, 0)
    assert producer.flush(30) == 0


async def read_to_end(reader: MarkReader) -> list[int]:
    ends, found = await reader.ends(), []
    async with asyncio.timeout(30):
        while not await reader.has_read(ends):
            found += [mark.epoch for mark in await reader.read(0.1)]
    return found


async def test_only_the_newest_marks_are_read(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """A topic holds a week of marks; what was written meanwhile is read from where the reader was."""
    topic = f"{topic_prefix}.shards"
    broker.create_topics([topic])
    write(broker, topic, range(TAIL_MARKS + 500))
    async with open_consumer(kafka_settings(broker.bootstrap_servers, {}), "test") as consumer:
        reader = MarkReader(consumer, topic, 1)
        assert await read_to_end(reader) == list(range(500, TAIL_MARKS + 500))
        write(broker, topic, range(9000, 9000 + TAIL_MARKS + 7))
        assert await read_to_end(reader) == list(range(9000, 9000 + TAIL_MARKS + 7))


async def test_a_topic_that_was_created_again_is_read_from_its_beginning(kafka: RealKafka, topic_prefix: str) -> None:
    """The reader does not take itself to be at the end of the new topic because it was farther in the old one."""
    topic = f"{topic_prefix}.shards"
    kafka.create_topic(topic, 1)
    write(kafka, topic, range(5))
    async with open_consumer(kafka_settings(kafka.bootstrap_servers, {}), "test") as consumer:
        reader = MarkReader(consumer, topic, 1)
        assert await read_to_end(reader) == list(range(5))
        admin = kafka.admin()
        for deleted in admin.delete_topics([topic], operation_timeout=20).values():
            deleted.result(timeout=20)
        kafka.create_topic(topic, 1)
        write(kafka, topic, [9])
        with pytest.raises(KafkaUnreachable, match="created again"):
            await reader.ends()
