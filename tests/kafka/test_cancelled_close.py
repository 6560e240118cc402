"""Closing what is aiokafka's: no cancellation is lost, which would let a loop go on, and none is made up.

Over TLS a connection is closed when the broker has answered that, or after 30 s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition

from bridge.kafka.aiokafka_internals import Client
from bridge.kafka.client_options import CLOSE_TIMEOUT_SECONDS, client_options
from bridge.kafka.consumer import open_consumer
from bridge.kafka.producer import AiokafkaProducer
from bridge.settings.kafka_side import kafka_settings
from tests.support.background import cancel_after
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.kafka.client_options import KafkaSettings
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka

#: Into how many of its steps a close is cancelled, one after the other; it has fewer.
STEPS = 12


@pytest.mark.parametrize("steps", range(1, STEPS))
async def test_a_client(broker: EmbeddedBroker, steps: int) -> None:
    """It ends as cancelled in whichever step, and leaves neither a connection nor a task."""
    client = Client({"bootstrap_servers": broker.bootstrap_servers})
    await client.bootstrap()
    assert await client.force_metadata_update()
    connections = list(client._conns.values())
    assert any(connection.connected() for connection in connections)
    await cancel_after(asyncio.create_task(client.close()), steps)
    client.abort_connections()
    assert not any(connection.connected() for connection in connections)
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task is left")


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


@pytest.fixture
def hanging(kafka: RealKafka) -> Iterator[HangingBroker]:
    """Return a broker that hangs as soon as it is told to, until the test ends."""
    try:
        yield HangingBroker(kafka)
    finally:
        kafka.resume()
        kafka.wait_until_ready()


class HangingBroker:
    """A broker that clients reach over TLS."""

    def __init__(self, kafka: RealKafka) -> None:
        self._kafka = kafka
        self.settings: KafkaSettings = kafka_settings(environ=kafka.tls_settings())

    def hang(self) -> None:
        """Leave everything unanswered."""
        self._kafka.pause()


async def test_a_producer_of_a_broker_that_hangs(hanging: HangingBroker) -> None:
    """After the timeout its connections are cut, and it is closed."""
    producer = await AiokafkaProducer.start(client_options(hanging.settings, "test"))
    hanging.hang()
    async with asyncio.timeout(3 * CLOSE_TIMEOUT_SECONDS):
        await producer.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_consumer_of_a_broker_that_hangs(hanging: HangingBroker) -> None:
    """After the timeout its connections are cut, and it is closed: whoever reads may open another one."""
    async with asyncio.timeout(3 * CLOSE_TIMEOUT_SECONDS):
        async with open_consumer(hanging.settings, "test") as consumer:
            await consumer.topics()  # by then the connection of the bootstrap is closed
            hanging.hang()
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task is left")


async def test_a_client_is_closed_again_after_a_timeout(hanging: HangingBroker) -> None:
    """The second time it is waited for as well, and what cuts the connections off ends that."""
    client = Client(client_options(hanging.settings, "test"))
    await client.bootstrap()
    assert await client.force_metadata_update()  # by a connection that stays
    hanging.hang()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client.close()
    closing = asyncio.create_task(client.close())
    client.abort_connections()
    async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
        await closing
