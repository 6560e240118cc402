"""Topics that go, come back, change their right to be written or their limits, while the bridge publishes."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition

from bridge.topics import Topic
from tests.faults.kafka.load import GIVEN_UP, create_topics, under_load
from tests.faults.proof import nothing_lost, prove, verified
from tests.service import by_symbol, environment, eventually, read, running

if TYPE_CHECKING:
    from tests.brokers import RealKafka

CANNOT = "a topic cannot be written, its records wait"
CAN_AGAIN = "the topic can be written again"


@pytest.fixture
def prefix(kafka: RealKafka, topic_prefix: str) -> str:
    """Return a prefix whose topics exist."""
    create_topics(kafka, topic_prefix)
    return topic_prefix


def delete(kafka: RealKafka, topic: str) -> None:
    admin = kafka.admin()
    for deleted in admin.delete_topics([topic], operation_timeout=20).values():
        deleted.result(timeout=20)


async def test_a_deleted_topic_that_is_created_again_goes_on_where_it_was(kafka: RealKafka, prefix: str) -> None:
    """What the deleted topic held is gone with it; what was not acknowledged yet arrives in the new one, in order."""
    quotes = f"{prefix}.quotes"
    async with under_load(kafka, prefix) as load:
        await asyncio.to_thread(delete, kafka, quotes)
        await eventually(lambda: load.logged(CANNOT), "the missing topic is noticed", 30)
        before = load.bridge.accounts.published[Topic.QUOTES]
        await load.flows()  # the other topics
        assert load.bridge.accounts.published[Topic.QUOTES] == before
        await asyncio.to_thread(kafka.create_topic, quotes)
        await eventually(lambda: load.logged(CAN_AGAIN), "the new topic is found", 30)
        await load.flows()

    nothing_lost(load.bridge, load.simulator)
    assert [line["topic"] for line in load.logged(CANNOT)] == [quotes]
    print(load.logs)
    found = by_symbol(await read(kafka.bootstrap_servers, prefix))
    for (topic, symbol), records in found.items():
        if topic is Topic.QUOTES:
            seqs = [r["seq"] for r in records]
            print(symbol, len(seqs), seqs[:5], seqs[-3:], [b for a, b in pairwise(seqs) if b != a + 1])
    report = await verified(kafka.bootstrap_servers, prefix)
    print([str(f) for f in report.findings])
