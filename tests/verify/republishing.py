"""Copy what a bridge wrote to other topics, with a change on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer

from bridge.topics import Topic
from tests.support.consumer import Message, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.kafka.embedded_broker import EmbeddedBroker

    Change = Callable[[list[Message]], list[Message]]


async def copied(
    broker: EmbeddedBroker, prefix: str, to: str, changed: Topic = Topic.DLQ, change: Change = list
) -> None:
    """Create topics of another prefix and copy all records there, ``change`` applied to those of one topic."""
    broker.create_topics(f"{to}.{topic}" for topic in Topic)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        for topic in Topic:
            messages = await asyncio.to_thread(read_all, broker.bootstrap_servers, [f"{prefix}.{topic}"])
            messages.sort(key=lambda message: (message.partition, message.offset))
            for message in change(messages) if topic is changed else messages:
                await producer.send(
                    f"{to}.{topic}",
                    message.value,
                    key=message.key,
                    partition=message.partition,
                    timestamp_ms=message.timestamp_ms,
                )
        await producer.flush()
