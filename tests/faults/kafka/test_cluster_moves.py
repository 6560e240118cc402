"""Leaders that move, rolling restarts, missing replicas: a cluster of three brokers."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING

from confluent_kafka import ElectionType, TopicPartition

from bridge.topics import Topic
from tests.faults.kafka.load import CAN_AGAIN, CANNOT, PATIENT, create_topics, under_load
from tests.support.service import eventually

if TYPE_CHECKING:
    import pytest

    from tests.support.brokers import RealKafka

#: What aiokafka rightly logs as an error while a broker is away.
ABSENT = (
    'Unable connect to "%s:%s": %s',
    "Unable connect to node with id %s: %s",
    "Unable to update metadata from %s",
)
BROKERS = (1, 2, 3)


async def test_every_broker_restarted_in_turn(kafka_cluster: RealKafka, topic_prefix: str) -> None:
    """A rolling restart, with leaders that move back at its end, causes neither a producer replacement nor a repeat."""
    create_topics(kafka_cluster, topic_prefix, partitions=3, replicas=3, config={"min.insync.replicas": "2"})
    async with under_load(kafka_cluster, topic_prefix, PATIENT) as load:
        for number in BROKERS:
            await asyncio.to_thread(kafka_cluster.terminate, number)
            await load.flows(100)
            await asyncio.to_thread(kafka_cluster.restart, number)
            await load.flows(100)
        await asyncio.to_thread(elect_preferred, kafka_cluster, topic_prefix)
        await load.flows()

    report = await load.proof()
    assert load.bridge.publisher.state.rebuilds == 0
    assert sum(row.repeats for row in report.rows) == 0


async def test_a_killed_broker_stops_only_partitions_without_another_replica(
    kafka_cluster: RealKafka, topic_prefix: str
) -> None:
    """Other replicas take over; without one, records wait, visibly, until the broker returns."""
    create_topics(
        kafka_cluster,
        topic_prefix,
        partitions=1,
        replicas=3,
        config={"min.insync.replicas": "2"},
        limits={Topic.L2: {"min.insync.replicas": "1"}},
        lone=[Topic.L2],
    )
    books = f"{topic_prefix}.l2"
    leader = kafka_cluster.leader_of(books, 0)
    async with under_load(kafka_cluster, topic_prefix, PATIENT) as load:
        published = load.bridge.accounts.published
        await asyncio.to_thread(kafka_cluster.kill, leader)
        await eventually(lambda: load.logged(CANNOT), "the missing leader is noticed")
        books_before = published[Topic.L2]
        await load.flows(1_000)
        assert published[Topic.L2] == books_before
        await asyncio.to_thread(kafka_cluster.restart, leader)
        await eventually(lambda: load.logged(CAN_AGAIN), "the leader is back")
        await load.flows()

    report = await load.proof()
    assert load.bridge.publisher.state.rebuilds == 0
    assert sum(row.repeats for row in report.rows) == 0
    assert [(line["topic"], line["reason"]) for line in load.logged(CANNOT)] == [
        (books, "its partition 0 has no leader")
    ]


async def test_too_few_replicas_in_sync(kafka_cluster: RealKafka, topic_prefix: str) -> None:
    """Below `min.insync.replicas` nothing is acknowledged; once replicas are in sync, everything is.

    The broker that is missing hangs: those that are asked at random meet it, too. If it is the controller, without
    which some brokers can hand out no producer id, another one is found after half a minute.
    """
    create_topics(kafka_cluster, topic_prefix, partitions=1, replicas=3, config={"min.insync.replicas": "3"})
    async with under_load(kafka_cluster, topic_prefix) as load:
        await asyncio.to_thread(kafka_cluster.pause, 2)
        try:
            await load.until(lambda: load.logged(CANNOT))
            await load.piles_up(2_000)
        finally:
            await asyncio.to_thread(kafka_cluster.resume, 2)
        await load.flows()

    await load.proof()


async def test_replacements_leave_no_error_of_the_library(
    kafka_cluster: RealKafka, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However many queues are in flight when brokers hang or die, no task or callback of aiokafka fails later."""
    caplog.set_level(logging.ERROR, "aiokafka")  # records of warnings would keep what failed from being looked at
    create_topics(kafka_cluster, topic_prefix, partitions=12)
    async with under_load(kafka_cluster, topic_prefix, {"KAFKA_DELIVERY_TIMEOUT_SECONDS": "0.5"}) as load:
        for times in range(1, 4):
            for number in BROKERS:
                kafka_cluster.pause(number)
            await load.gives_up(times)
            await asyncio.sleep(1)  # there is no sign of when a task that is left over would fail
            for number in BROKERS:
                kafka_cluster.resume(number)
            await load.flows()
        publisher = load.bridge.publisher
        before = publisher.state.rebuilds
        await asyncio.to_thread(kafka_cluster.kill, 1)
        # On a busy machine the pauses were so long that the broker leads nothing any more: then none is given up.
        await load.until(lambda: publisher.state.rebuilds > before or publisher._sender.leaderless)
        await asyncio.to_thread(kafka_cluster.restart, 1)
        await load.flows()

    await load.proof()
    gc.collect()
    assert library_errors(caplog) == []


def library_errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the errors that libraries logged, except those of a broker that is away."""
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    return [record.getMessage() for record in errors if record.msg not in ABSENT]


def elect_preferred(kafka: RealKafka, prefix: str) -> None:
    partitions = [TopicPartition(f"{prefix}.{topic}", number) for topic in Topic for number in range(3)]
    admin = kafka.admin()
    admin.elect_leaders(ElectionType.PREFERRED, partitions).result(timeout=20)
