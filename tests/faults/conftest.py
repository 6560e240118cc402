"""Fixtures of the fault tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.topics import Topic

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka


@pytest.fixture
def kafka_topics(kafka: RealKafka, topic_prefix: str) -> None:
    """Create the topics of one test on the real broker."""
    for topic in Topic:
        kafka.create_topic(f"{topic_prefix}.{topic}", partitions=2)
