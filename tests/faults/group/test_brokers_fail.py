"""Brokers fail that a group needs: its coordinator, the leader of a shard's marks, or all of them."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined] # public all the same

from bridge import log_events
from tests.faults.group.members import PATIENCE_SECONDS, group, publishes, reads
from tests.faults.kafka.load import create_topics

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka

TERM = signal.SIGTERM


def coordinator_of(kafka: RealKafka, group_id: str) -> int:
    """Return the number of the broker that coordinates a group, which need not exist; the first one takes a moment."""
    admin, deadline = kafka.admin(), time.monotonic() + PATIENCE_SECONDS
    while True:
        [described] = admin.describe_consumer_groups([group_id]).values()
        try:
            return int(described.result(timeout=30).coordinator.id)
        except KafkaException:
            if time.monotonic() > deadline:
                raise


def create_led_topic(kafka: RealKafka, name: str, *, brokers: list[int]) -> None:
    """Create the topic of one shard on given brokers, the first of which leads its partition."""
    admin = kafka.admin()
    topic = NewTopic(name, 1, replica_assignment=[brokers], config={"cleanup.policy": "compact"})
    for created in admin.create_topics([topic], operation_timeout=20).values():
        created.result(timeout=20)


@pytest.mark.parametrize("killed", ["coordinator", "leader"])
async def test_the_death_of_a_broker_moves_no_shard(kafka_cluster: RealKafka, topic_prefix: str, killed: str) -> None:
    """Without its coordinator the owner goes on; without the leader of its marks it stops for a moment at most."""
    kafka, marks = kafka_cluster, f"{topic_prefix}.shards"
    create_topics(kafka, topic_prefix, partitions=2, replicas=3)
    coordinator = await asyncio.to_thread(coordinator_of, kafka, marks)
    leader, other = sorted({1, 2, 3} - {coordinator})
    # None on the coordinator: until brokers have noticed the death of a replica, nothing is acknowledged there.
    await asyncio.to_thread(create_led_topic, kafka, marks, brokers=[leader, other])
    victim = coordinator if killed == "coordinator" else leader
    async with group(kafka, topic_prefix, creates_topic=False) as running:
        owner, standby = await running.start_owner(), await running.start_standby()
        await asyncio.to_thread(kafka.kill, victim)
        try:
            await publishes(owner, 2000)
            assert killed == "leader" or owner.all(log_events.LEASES_ENDED) == []
            assert standby.all(log_events.SHARD_CLAIMED) == []
            await running.stop("bridge 1", TERM)
            await running.stop_all(TERM)
        finally:
            await asyncio.to_thread(kafka.restart, victim)
    report = await running.proven()
    assert report.handovers.released == report.handovers.expired == 0
    assert running.dropped() == 0


async def test_kafka_away_for_longer_than_the_lease(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """The owner stops, and goes on once it has read that no process has claimed its shard: nothing is lost."""
    async with group(kafka, topic_prefix) as running:
        owner = await running.start_owner()
        await asyncio.to_thread(kafka.kill)
        await owner.logged(log_events.LEASES_ENDED)
        await reads(owner, 300)
        await asyncio.to_thread(kafka.restart)
        await owner.logged(log_events.LEASES_RENEWED)
        await publishes(owner, 1000)
        await running.stop_all(TERM)
    report = await running.proven()
    assert report.handovers.expired == 0
    assert len(owner.all(log_events.SESSION_STARTED)) == 1
    assert running.dropped() == 0


async def test_an_owner_and_a_standby_while_kafka_is_away(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """Whoever is first has the shard: the owner with all that it has read, or the standby after a gap."""
    async with group(kafka, topic_prefix) as running:
        owner, standby = await running.start_owner(), await running.start_standby()
        await asyncio.to_thread(kafka.kill)
        await owner.logged(log_events.LEASES_ENDED)
        await asyncio.to_thread(kafka.restart)
        await running.until_published(600)
        await running.stop("bridge 1", TERM)
        await running.stop_all(TERM)
    await running.proven()
    if not standby.all(log_events.SHARD_CLAIMED):
        assert running.dropped() == 0


async def test_a_process_that_is_stopped_while_kafka_is_away_waits_for_it(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """Its lease has ended; once Kafka is back, it publishes what it has read, releases its shard, and ends in order."""
    async with group(kafka, topic_prefix, {"BRIDGE_DRAIN_SECONDS": "60"}) as running:
        owner = await running.start_owner()
        await asyncio.to_thread(kafka.kill)
        await owner.logged(log_events.LEASES_ENDED)
        await reads(owner, 300)
        owner.signal(TERM)
        await owner.logged(log_events.DRAINING)
        await asyncio.to_thread(kafka.restart)
        await running.stop_all(TERM, signalled=True)
    await running.proven()
    assert running.dropped() == 0
    assert len(owner.all(log_events.SHARD_RELEASED)) == 1
