"""A bridge with a shard of its own looks for a group before it starts, if it may."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined] # public all the same

from bridge import log_events
from bridge.errors import KafkaUnreachable
from bridge.group.end_of_group import await_end_of_group
from bridge.group.marks import MarkKind
from bridge.kafka.client_options import client_options
from bridge.kafka.producer import AiokafkaProducer
from bridge.settings.kafka_side import kafka_settings
from tests.check.test_kafka import allow
from tests.cli.test_group import HOUR_US, bridge, mark, member, write
from tests.support.brokers import LOGIN, Listener, needs_users
from tests.support.service import eventually

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from bridge.settings import Settings
    from tests.support.brokers import RealKafka


def settings(kafka: RealKafka, prefix: str) -> Settings:
    return kafka_settings(kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": prefix})


async def test_a_group_without_members_is_not_waited_for(kafka: RealKafka, topic_prefix: str) -> None:
    """Also if its last owner was killed long ago, and never released its shard."""
    kafka.create_topic(topic := f"{topic_prefix}.shards", partitions=1)
    write(kafka, topic, mark(MarkKind.HOLD, 0, "a", ago_us=HOUR_US))
    with structlog.testing.capture_logs() as logs:
        await await_end_of_group(settings(kafka, topic_prefix))
    assert logs == []


async def test_members_are_waited_for(kafka: RealKafka, topic_prefix: str) -> None:
    """The caller and the log learn their names, and when there is none any more."""
    kafka.create_topic(topic := f"{topic_prefix}.shards", partitions=1)
    alive: list[list[str]] = []
    with structlog.testing.capture_logs() as logs:
        async with member(kafka, topic, bridge("a")) as joined:
            await eventually(lambda: joined.assignment, "the assignment")
            waiting = asyncio.create_task(
                await_end_of_group(settings(kafka, topic_prefix), lambda names: alive.append([*names]))
            )
            await eventually(lambda: alive, "the members")
            assert alive[-1] == ["a"]
        await waiting
    assert alive[-1] == []
    assert [line["event"] for line in logs] == [log_events.OTHER_BRIDGES_ALIVE, log_events.OTHER_BRIDGES_ENDED]
    assert [line["instances"] for line in logs] == [["a"], ["a"]]


async def test_brokers_that_show_no_groups_are_not_waited_for(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """As the embedded one: the log says that a group would not be seen."""
    broker.create_topics([f"{topic_prefix}.shards"])
    with structlog.testing.capture_logs() as logs:
        await await_end_of_group(kafka_settings(broker.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix}))
    assert [line["event"] for line in logs] == [log_events.OTHER_BRIDGES_UNKNOWN]


@needs_users
async def test_a_user_without_the_right_is_told(kafka_with_acls: RealKafka, topic_prefix: str) -> None:
    """A topic that it may not describe is none; if a right on the group is missing, the log names it."""
    kafka, topic = kafka_with_acls, f"{topic_prefix}.shards"
    kafka.create_topic(topic, partitions=1)
    user = kafka_settings(kafka.addresses(Listener.SASL), {"KAFKA_TOPIC_PREFIX": topic_prefix, **LOGIN})
    allow(kafka, ResourceType.TOPIC, f"{topic_prefix}.quotes", AclOperation.WRITE)
    async with asyncio.timeout(60):  # a broker learns of a right a moment after it was granted
        producer = None
        while producer is None:
            with suppress(KafkaUnreachable):
                producer = await AiokafkaProducer.start(client_options(user, "test"))
        assert not await producer.has_topic(topic)
        allow(kafka, ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
        while not await producer.has_topic(topic):
            pass
    await producer.close()
    with structlog.testing.capture_logs() as logs:
        await await_end_of_group(user)
    assert [line["event"] for line in logs] == [log_events.OTHER_BRIDGES_UNKNOWN]
    assert f"not authorized to describe the consumer group {topic}" in logs[0]["reason"]
