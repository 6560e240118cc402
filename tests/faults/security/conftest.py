"""What tests of security share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.topics import Topic

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.brokers import RealKafka


@pytest.fixture
def topics(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Create the topics of one test on the embedded broker."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)


@pytest.fixture
def kafka_topics(kafka: RealKafka, topic_prefix: str) -> None:
    """Create the topics of one test on the real broker."""
    for topic in Topic:
        kafka.create_topic(f"{topic_prefix}.{topic}", partitions=2)
