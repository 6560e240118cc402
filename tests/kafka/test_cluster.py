"""What Kafka tells of topics: on the embedded broker, on a real one, and on brokers that tell less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import KafkaError

from bridge.kafka.client_options import client_options
from bridge.kafka.cluster import PartitionDescription, TopicDescription, _DescribeTopics, describe_topics, open_client
from bridge.settings.kafka_side import kafka_settings

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka

METADATA = 3


def options(servers: str) -> dict[str, object]:
    return client_options(kafka_settings(servers, {}), "test")


async def test_a_broker_that_tells_little(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Settings and rights are unknown, partitions are not; what is not there is left out, and not created."""
    broker.create_topics([topic_prefix])
    async with open_client(options(broker.bootstrap_servers)) as client:
        for _ in range(2):
            found = await describe_topics(client, [topic_prefix, f"{topic_prefix}-not-there"])

    assert found.hidden == frozenset()
    assert dict(found.topics) == {topic_prefix: TopicDescription(topic_prefix, (PartitionDescription(1, 1, 1),) * 4)}


async def test_a_broker_that_tells_all(kafka: RealKafka, topic_prefix: str) -> None:
    """Settings come with their values, and without an authorizer all may write."""
    kafka.create_topic(topic_prefix, 3, config={"retention.ms": "7"})
    async with open_client(options(kafka.bootstrap_servers)) as client:
        found = (await describe_topics(client, [topic_prefix])).topics[topic_prefix]

    assert found.partitions == (PartitionDescription(1, 1, 1),) * 3
    assert found.may_write is True
    assert (found.number("retention.ms"), found.number("no.such.setting")) == (7, None)
    assert found.config is not None
    assert found.config["cleanup.policy"] == "delete"


async def test_nobody_at_the_address() -> None:
    """What aiokafka raises is let through, for those who know how to put it."""
    with pytest.raises(KafkaError):
        async with open_client(options("127.0.0.1:1")):
            pass


@pytest.mark.parametrize(("newest", "version", "flags"), [(13, 8, (False, False, True)), (7, 5, (False,))])
def test_older_brokers_are_asked_what_they_know(newest: int, version: int, flags: tuple[bool, ...]) -> None:
    """Rights are asked for from version 8 on; in every version, nothing is to be created."""
    request = _DescribeTopics(["a"]).prepare({METADATA: (0, newest)})

    assert (request.API_VERSION, *request.to_object().values()) == (version, ["a"], *flags)


def test_the_fewest_copies_count() -> None:
    """A topic is as safe as its least copied partition."""
    topic = TopicDescription("a", (PartitionDescription(1, 3, 3), PartitionDescription(1, 2, 2)))

    assert topic.replication_factor == 2
