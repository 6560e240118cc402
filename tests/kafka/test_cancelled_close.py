"""Closing what is aiokafka's while its owner is cancelled: a cancellation that is lost would let a loop go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition

from bridge.kafka.aiokafka_internals import Client
from bridge.kafka.consumer import open_consumer
from bridge.settings.kafka_side import kafka_settings
from tests.support.service import eventually, left_open

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker

#: Into how many of its steps a close is cancelled, one after the other; it has fewer.
STEPS = 12


async def cancel_after(closing: asyncio.Task[None], steps: int) -> None:
    """Let a task run for some steps, then cancel it: it ends as cancelled, unless it was done before."""
    for _ in range(steps):
        await asyncio.sleep(0)
    in_time = closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled() == in_time


@pytest.mark.parametrize("steps", range(1, STEPS))
async def test_a_client(broker: EmbeddedBroker, steps: int) -> None:
    """It ends as cancelled in whichever step, and leaves neither a connection nor a task."""
    before = left_open()
    client = Client({"bootstrap_servers": broker.bootstrap_servers})
    await client.bootstrap()
    closing = asyncio.create_task(client.close())
    await cancel_after(closing, steps)
    client.abort_connections()
    await eventually(lambda: left_open() <= before, "nothing of it is open")


@pytest.mark.parametrize("steps", range(1, STEPS))
async def test_a_consumer(broker: EmbeddedBroker, topic_prefix: str, steps: int) -> None:
    """It ends as cancelled in whichever step, also while it fetches."""
    broker.create_topics([topic_prefix])

    async def consume() -> None:
        async with open_consumer(kafka_settings(broker.bootstrap_servers), "test") as consumer:
            consumer.assign([TopicPartition(topic_prefix, 0)])
            closes.set()

    closes = asyncio.Event()
    consuming = asyncio.create_task(consume())
    await closes.wait()
    await cancel_after(consuming, steps)
