"""Topics that a change of the subscriptions needs: looked up only if new, with fresh metadata if not found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.errors import KafkaUnreachable, TopicConfigurationError
from bridge.kafka.batch_sender import Batching
from bridge.kafka.publisher import Publisher
from bridge.observability.latency import LatencyMetrics
from bridge.pipeline.assembly import assemble
from bridge.serialization import schemas
from bridge.topics import ALWAYS, Topic, topic_names
from tests.kafka.fake_producer import FakeProducer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bridge.pipeline.record_buffer import RecordBuffer

SCHEMAS = schemas.load()
NAMES = topic_names("t", {})
TOPICS = (Topic.QUOTES, *ALWAYS)


class WithLargeGreeks(FakeProducer):
    """A producer of topics of which one has more partitions than the others."""

    def partitions(self, topic: str) -> Collection[int]:
        """Return two partitions of greeks, one of any other topic."""
        return (0, 1) if topic == NAMES[Topic.GREEKS] else (0,)


@pytest.fixture
def producer() -> FakeProducer:
    """Return the producer that the publisher will start."""
    return FakeProducer()


def parts(producer: FakeProducer) -> tuple[Publisher, RecordBuffer]:
    """Return a publisher of quotes, not connected yet, and its buffer."""

    async def start(_options: Mapping[str, object], _topics: Collection[str], _timeout_seconds: float) -> FakeProducer:
        return producer

    pipeline = assemble(
        SCHEMAS,
        names=NAMES,
        wanted={},
        dialect="envelope",
        partition=lambda _key, _partitions: 0,
        budget_bytes=1 << 20,
    )
    publisher = Publisher(
        pipeline.buffer,
        pipeline.ingest,
        LatencyMetrics(),
        names=NAMES,
        topics=TOPICS,
        options=lambda: {"bootstrap_servers": "kafka:9092"},
        batching=Batching(linger_seconds=0, batch_bytes=1 << 16, compression="none"),
        delivery_timeout_seconds=60,
        start_producer=start,
    )
    return publisher, pipeline.buffer


async def test_topics_that_are_open_are_not_looked_at(producer: FakeProducer) -> None:
    """Whether Kafka is there or has lost one of them does not matter."""
    publisher, _ = parts(producer)
    publisher.open_topics(TOPICS)
    await publisher.connect()
    producer.missing = {NAMES[topic] for topic in Topic}
    publisher.open_topics(TOPICS)
    await publisher.close()
    publisher.open_topics(TOPICS)
    assert producer.metadata_requests == 0


async def test_a_new_topic_is_opened_although_another_is_gone(producer: FakeProducer) -> None:
    """Only the new one must be there."""
    publisher, buffer = parts(producer)
    await publisher.connect()
    producer.missing = {NAMES[Topic.QUOTES]}
    publisher.open_topics([Topic.QUOTES, Topic.GREEKS])
    assert buffer.partitions(Topic.GREEKS) == 1


async def test_a_new_topic_that_is_not_found_is_asked_for(producer: FakeProducer) -> None:
    """The metadata may be a minute old; the next attempt finds what they bring."""
    publisher, buffer = parts(producer)
    await publisher.connect()
    producer.missing = {NAMES[Topic.GREEKS]}
    with pytest.raises(TopicConfigurationError, match=NAMES[Topic.GREEKS]):
        publisher.open_topics([Topic.GREEKS])
    assert producer.metadata_requests == 1
    producer.missing = set()
    publisher.open_topics([Topic.GREEKS])
    assert buffer.partitions(Topic.GREEKS) == 1


async def test_without_a_producer_a_new_topic_cannot_be_opened_yet(producer: FakeProducer) -> None:
    """The error is about Kafka, not about the topic; and no topic is opened."""
    publisher, _ = parts(producer)
    with pytest.raises(KafkaUnreachable, match=NAMES[Topic.GREEKS]):
        publisher.open_topics([Topic.GREEKS])
    await publisher.connect()
    publisher.open_topics([Topic.GREEKS])


async def test_a_new_topic_must_have_as_many_partitions_as_those_in_use() -> None:
    """A symbol has one partition on all data topics."""
    producer = WithLargeGreeks()
    publisher, _ = parts(producer)
    await publisher.connect()
    with pytest.raises(TopicConfigurationError, match="equal partition counts"):
        publisher.open_topics([Topic.GREEKS])
