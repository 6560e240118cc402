"""Fixtures of the examples' tests: the topics that they read, on each kind of broker.

Kafka's Java client and franz-go do not get along with the embedded broker: it does not answer newer ApiVersions
requests as Kafka does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.kafka.embedded_broker import EmbeddedBroker
from tests.examples.scene import TOPICS, in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.examples.scene import Scene
    from tests.support.brokers import RealKafka
    from tests.support.scripted_broker import ScriptedBroker


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """Publish on the embedded broker what all examples read."""
    with EmbeddedBroker() as broker:
        broker.create_topics(TOPICS)
        with in_thread(broker.bootstrap_servers) as scene:
            yield scene


@pytest.fixture(scope="session")
def kafka_scene(kafka: RealKafka) -> Iterator[Scene]:
    """Publish the same on Apache Kafka."""
    for topic in TOPICS:
        kafka.create_topic(topic, partitions=2)
    with in_thread(kafka.bootstrap_servers) as scene:
        yield scene


@pytest.fixture
def scripted_scene(scripted_broker: ScriptedBroker) -> Iterator[Scene]:
    """Publish the same on the scripted broker."""
    scripted_broker.create_topics(TOPICS, partitions=2)
    with in_thread(scripted_broker.bootstrap_servers) as scene:
        yield scene
