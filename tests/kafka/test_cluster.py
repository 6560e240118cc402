"""Topics are described by the embedded broker, by Apache Kafka, and by older brokers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import KafkaError

from bridge.kafka.client_options import client_options
from bridge.kafka.cluster import PartitionDescription, TopicDescription, describe_topics, open_client
from bridge.kafka.metadata_request import DescribeTopicsRequest
from bridge.settings.kafka_side import kafka_settings

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka

METADATA = 3


def options(servers: str) -> dict[str, object]:
    return client_options(kafka_settings(servers, {}), "test")


async def test_a_broker_without_settings_and_authorized_operations(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Settings and rights are unknown; a missing topic is left out and not created."""
    broker.create_topics([topic_prefix])
    async with open_client(options(broker.bootstrap_servers)) as client:
        for _ in range(2):
            found = await describe_topics(client, [topic_prefix, f"{topic_prefix}-not-there"])

    assert found.unauthorized == frozenset()
    assert dict(found.topics) == {topic_prefix: TopicDescription(topic_prefix, (PartitionDescription(1, 1, 1),) * 4)}


async def test_a_broker_that_reports_everything(kafka: RealKafka, topic_prefix: str) -> None:
    """Settings have their values, and without an authorizer every user may write."""
    kafka.create_topic(topic_prefix, 3, config={"retention.ms": "7"})
    async with open_client(options(kafka.bootstrap_servers)) as client:
        found = (await describe_topics(client, [topic_prefix])).topics[topic_prefix]

    assert found.partitions == (PartitionDescription(1, 1, 1),) * 3
    assert found.may_write is True
    assert (found.config_number("retention.ms"), found.config_number("no.such.setting")) == (7, None)
    assert found.config is not None
    assert found.config["cleanup.policy"] == "delete"


async def test_errors_of_an_unreachable_broker_are_let_through() -> None:
    """What aiokafka raises reaches the caller."""
    with pytest.raises(KafkaError):
        async with open_client(options("127.0.0.1:1")):
            pass


@pytest.mark.parametrize(("newest", "version", "flags"), [(13, 8, (False, False, True)), (7, 5, (False,))])
def test_the_newest_supported_version_is_used(newest: int, version: int, flags: tuple[bool, ...]) -> None:
    """Authorized operations are requested from version 8 on; no version creates a topic."""
    request = DescribeTopicsRequest(["a"]).prepare({METADATA: (0, newest)})

    assert (request.API_VERSION, *request.to_object().values()) == (version, ["a"], *flags)


def test_replication_factor_is_the_lowest_of_all_partitions() -> None:
    """A topic is as safe as the partition with the fewest replicas."""
    topic = TopicDescription("a", (PartitionDescription(1, 3, 3), PartitionDescription(1, 2, 2)))

    assert topic.replication_factor == 2
