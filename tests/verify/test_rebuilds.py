"""A real Kafka that fails under the bridge: repeats by rebuilt producers are told from others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from bridge.verify.findings import Kind
from bridge.verify.reading import Selection
from tests.consumer import read_all
from tests.faults.proof import verified
from tests.service import environment, eventually, running

if TYPE_CHECKING:
    from bridge.app import Bridge
    from tests.brokers import RealKafka


async def published(bridge: Bridge, more: int) -> None:
    """Wait until so many more records are acknowledged."""
    target = bridge.accounts.published.total() + more
    await eventually(lambda: bridge.accounts.published.total() >= target, f"{more} more records")


async def test_what_a_bridge_writes_through_broker_failures_passes(kafka: RealKafka, topic_prefix: str) -> None:
    """A broker that hangs and one that is killed cost repeats at most, and those are explained by who wrote them."""
    for topic in Topic:
        kafka.create_topic(f"{topic_prefix}.{topic}", partitions=4)
    async with Simulator(rate=500, lines_per_frame=5) as simulator:
        environ = environment(
            simulator,
            kafka.bootstrap_servers,
            topic_prefix,
            KAFKA_DELIVERY_TIMEOUT_SECONDS="1",
            BRIDGE_DRAIN_SECONDS="60",
        )
        async with running(environ) as bridge:
            await published(bridge, 300)
            await asyncio.to_thread(kafka.pause)
            await eventually(lambda: bridge.publisher.rebuilds, "the producer is given up")
            await asyncio.to_thread(kafka.resume)
            await published(bridge, 300)
            await asyncio.to_thread(kafka.kill)
            await asyncio.to_thread(kafka.restart)
            await published(bridge, 300)

    report = await verified(kafka.bootstrap_servers, topic_prefix)

    assert report.findings == []
    assert report.records - sum(row.repeats for row in report.rows) == bridge.accounts.published.total()
    if sum(row.repeats for row in report.rows):
        strict = await verified(kafka.bootstrap_servers, topic_prefix, Selection(strict=True))
        assert {finding.kind for finding in strict.findings} == {Kind.REPEAT}


async def test_a_record_that_the_same_producer_repeats_is_found(kafka: RealKafka, topic_prefix: str) -> None:
    """What comes twice is a fault, also where an idempotent producer wrote it."""
    for topic in Topic:
        kafka.create_topic(f"{topic_prefix}.{topic}", partitions=1)
    async with Simulator() as simulator:
        async with running(environment(simulator, kafka.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.trade("AAPL", lastPrice="1.5")
            await published(bridge, 1)
    trades = f"{topic_prefix}.trades"
    messages = await asyncio.to_thread(read_all, kafka.bootstrap_servers, [trades])
    trade = [message for message in messages if message.key == b"AAPL"][-1]
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, enable_idempotence=True) as producer:
        for _ in range(2):
            await producer.send_and_wait(
                trades, trade.value, key=trade.key, partition=0, timestamp_ms=trade.timestamp_ms
            )

    (finding,) = (await verified(kafka.bootstrap_servers, topic_prefix)).findings

    assert "none was rebuilt" in finding.said
    assert finding.place is not None
    assert finding.place.offset == len(messages) + 1
