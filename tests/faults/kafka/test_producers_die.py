"""Producers that cannot continue, for each known reason: a new one continues, in order and without a hole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition

from bridge.kafka.produce_requests import SequenceNumbers
from bridge.kafka.producer import AiokafkaProducer
from tests.faults.kafka.load import GIVEN_UP, LINES_PER_SECOND, PATIENT, create_topics, under_load
from tests.faults.proof import nothing_lost, verified
from tests.support.service import eventually

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka

Harm = Callable[[AiokafkaProducer], Awaitable[None]]


@pytest.fixture
def prefix(kafka: RealKafka, topic_prefix: str) -> str:
    """Return a prefix whose topics exist."""
    create_topics(kafka, topic_prefix)
    return topic_prefix


async def closed(producer: AiokafkaProducer) -> None:
    """Close the producer, as otherwise only the publisher does."""
    await producer.close()


async def metadata_stale(producer: AiokafkaProducer) -> None:
    """End the task that refreshes metadata: no new leader would be found."""
    producer._client._sync_task.cancel()  # type: ignore[union-attr]  # it runs
    producer._client.cluster._partitions.clear()


async def out_of_order(producer: AiokafkaProducer) -> None:
    """Leave a hole in the sequence, as an expired batch does: the broker rejects the next batch."""
    sequences = producer._requests._sequences
    for place in list(sequences._next):
        sequences.take(place, 5)


async def fenced(producer: AiokafkaProducer) -> None:
    """Write once under the next epoch and return to the old one, which the broker rejects from then on."""
    requests = producer._requests
    (number, epoch), sequences = requests._producer, requests._sequences
    requests._producer, requests._sequences = (number, epoch + 1), SequenceNumbers()
    await eventually(lambda: requests._sequences._next, "something is written")
    await asyncio.sleep(0)
    requests._producer, requests._sequences = (number, epoch), sequences


HARMS = {
    closed: "ProducerClosed",
    metadata_stale: "ProducerClosed",
    out_of_order: "OUT_OF_ORDER_SEQUENCE_NUMBER",
    fenced: "INVALID_PRODUCER_EPOCH",
}


@pytest.mark.parametrize(("harm", "error"), HARMS.items(), ids=[harm.__name__ for harm in HARMS])
async def test_a_producer_that_cannot_continue_is_replaced(
    kafka: RealKafka, prefix: str, caplog: pytest.LogCaptureFixture, harm: Harm, error: str
) -> None:
    """It is replaced, the name of its error is logged, and the next one sends again what was in flight."""
    async with under_load(kafka, prefix, PATIENT) as load:
        producer = load.bridge.publisher._producer
        assert isinstance(producer, AiokafkaProducer)
        await harm(producer)
        await load.gives_up()
        await load.flows()

    await load.proof()
    assert load.logged(GIVEN_UP)[0]["error"] == error
    assert len(load.logged(GIVEN_UP)) == 1
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_a_broker_that_forgets_an_idle_producer(kafka: RealKafka, prefix: str) -> None:
    """Idle longer than `producer.id.expiration.ms`, a producer still continues."""
    expiration = "producer.id.expiration.ms"
    await asyncio.to_thread(kafka.configure, expiration, "1000")
    try:
        async with under_load(kafka, prefix) as load:
            load.simulator.rate = 0
            await eventually(lambda: not load.bridge.accounts.pending, "all acknowledged")
            await asyncio.sleep(2)  # there is no sign of when the broker forgets it
            load.simulator.rate = LINES_PER_SECOND
            await load.flows()
    finally:
        await asyncio.to_thread(kafka.configure, expiration, None)
    await load.proof()


async def test_records_deleted_under_a_producer(kafka: RealKafka, prefix: str) -> None:
    """Deleting all records of a topic deletes the state of its producers, too; they continue."""
    quotes = f"{prefix}.quotes"
    async with under_load(kafka, prefix) as load:
        await asyncio.to_thread(delete_records, kafka, quotes)
        await load.flows()

    nothing_lost(load.bridge, load.simulator)
    assert (await verified(kafka.bootstrap_servers, prefix)).violations == []


def delete_records(kafka: RealKafka, topic: str) -> None:
    ends = [TopicPartition(topic, number, -1) for number in range(4)]
    admin = kafka.admin()
    for deleted in admin.delete_records(ends).values():
        deleted.result(timeout=20)
