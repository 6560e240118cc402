"""Repeats on a real Kafka that no replaced producer explains."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.proof import verified
from tests.support.consumer import read_all
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from bridge.app import Bridge
    from tests.support.brokers import RealKafka


async def published(bridge: Bridge, more: int) -> None:
    """Wait until so many more records are acknowledged."""
    target = bridge.accounts.published.total() + more
    await eventually(lambda: bridge.accounts.published.total() >= target, f"{more} more records")


async def test_a_repeat_without_a_replaced_producer_is_found(kafka: RealKafka, topic_prefix: str) -> None:
    """A record that comes again is a violation, also if an idempotent producer wrote it."""
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

    violations = (await verified(kafka.bootstrap_servers, topic_prefix)).violations

    assert [violation.place.offset for violation in violations if violation.place] == [len(messages), len(messages) + 1]
    for violation in violations:
        assert violation.message.startswith("1 record comes again, from seq ")
        assert "has not announced on control that it replaced its producer" in violation.message
