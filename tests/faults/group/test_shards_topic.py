"""The topic in which shards are claimed is deleted, and created again."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from bridge import log_events
from tests.faults.group.members import create_marks_topic, group, publishes

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka

TERM = signal.SIGTERM


#: What no bridge writes.
GARBAGE = [
    b"",
    b"[]",
    b"\xff",
    b'{"kind":"claim","owner":"\xff"}',
    b'{"a":' * 3000,
    b'{"kind":"claim","shard":0,"epoch":-1}',
]


def write(kafka: RealKafka, name: str, values: list[bytes]) -> None:
    """Write records, as another client does, in a transaction."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": name})
    producer.init_transactions(20)
    producer.begin_transaction()
    for value in values:
        producer.produce(name, value, b"0", 0)
    producer.commit_transaction(20)


@pytest.mark.parametrize("waits", [True, False])
async def test_the_topic_is_deleted_and_created_again(
    kafka: RealKafka,
    kafka_topics: None,
    topic_prefix: str,
    waits: bool,  # noqa: FBT001 - parametrised
) -> None:
    """The owner stops at the end of its lease and goes on with the new topic; no process begins beside it."""
    async with group(kafka, topic_prefix) as running:
        owner, standby = await running.start_owner(), await running.start_standby()
        await asyncio.to_thread(kafka.delete_topic, f"{topic_prefix}.shards")
        if waits:
            await owner.logged(log_events.LEASES_ENDED)
            await owner.logged(log_events.MARKS_UNAVAILABLE)
        await asyncio.to_thread(create_marks_topic, kafka, topic_prefix)
        if waits:
            await owner.logged(log_events.LEASES_RENEWED)
        await publishes(owner, 2500)
        assert standby.all(log_events.SHARD_CLAIMED) == []
        await running.stop("bridge 0", TERM)
        await publishes(standby, 300)
        await running.stop_all(TERM)
    await running.proven()
    assert running.dropped() == 0


async def test_records_of_other_clients_in_the_topic_change_nothing(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """Neither garbage nor a transaction's marker ends a process, moves a shard, or keeps one from being claimed."""
    async with group(kafka, topic_prefix) as running:
        owner, standby = await running.start_owner(), await running.start_standby()
        await asyncio.to_thread(write, kafka, f"{topic_prefix}.shards", GARBAGE)
        await publishes(owner, 500)
        assert standby.all(log_events.SHARD_CLAIMED) == owner.all(log_events.SHARD_RELEASED) == []
        await running.stop("bridge 0", TERM)
        await publishes(standby, 100)
        await running.stop_all(TERM)
    await running.proven()
