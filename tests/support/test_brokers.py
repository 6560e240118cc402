from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import KafkaException

from tests.support.brokers import unique
from tests.support.consumer import Message, read_all, wait_for

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka

STAMP_MS = 1_700_000_000_000


async def produce(bootstrap_servers: str, topic: str, values: list[bytes]) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True, compression_type="zstd"
    ) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, key=b"AAPL", partition=1, timestamp_ms=STAMP_MS)


async def test_real_kafka_keeps_what_is_produced(kafka: RealKafka, topic_prefix: str) -> None:
    """Records of an idempotent producer are read back from a real broker, whole and in order."""
    topic = f"{topic_prefix}.quotes"
    kafka.create_topic(topic, partitions=3)

    await produce(kafka.bootstrap_servers, topic, [b"a", b"b"])

    assert read_all(kafka.bootstrap_servers, [topic]) == [
        Message(topic, 1, 0, b"AAPL", b"a", STAMP_MS),
        Message(topic, 1, 1, b"AAPL", b"b", STAMP_MS),
    ]


async def test_paused_broker_answers_when_resumed(kafka: RealKafka, topic_prefix: str) -> None:
    """A paused broker acknowledges nothing; resumed, it acknowledges what was sent."""
    kafka.create_topic(topic_prefix)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all") as producer:
        await producer.send_and_wait(topic_prefix, b"first")
        kafka.pause()
        try:
            sent = await producer.send(topic_prefix, b"second")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(sent), 0.3)
        finally:
            kafka.resume()
        await sent


def test_topics_are_not_created_automatically(kafka: RealKafka) -> None:
    """Requesting the metadata of a missing topic does not create it."""
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC"):
        read_all(kafka.bootstrap_servers, [unique("missing")])


def test_tests_of_a_module_share_the_embedded_broker(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The embedded broker of a module serves topics under each test's own prefix."""
    broker.create_topics([topic_prefix])

    assert read_all(broker.bootstrap_servers, [topic_prefix]) == []


def test_waiting_ends_at_the_deadline(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Waiting for messages that do not come ends with how many came."""
    broker.create_topics([topic_prefix])

    with pytest.raises(TimeoutError, match="only 0 messages"):
        wait_for(broker.bootstrap_servers, [topic_prefix], 1, deadline_seconds=0.01)
