"""How long records wait to be sent together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.clock import wall_us
from bridge.topics import Topic
from tests.support.service import eventually, publishing

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker

A_MINUTE_MS = 60_000
LINGERING = {"KAFKA_LINGER_MS": str(A_MINUTE_MS)}
#: Of the event loop: without a time to wait a record is sent in the first of them.
TURNS = 100


async def test_a_record_that_has_waited_long_enough_is_sent_at_once(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """The time to wait for more counts from when the oldest record was read, not from when its partition is free."""
    async with publishing(broker.bootstrap_servers, topic_prefix, **LINGERING) as bridge:
        queue = bridge.buffer.queue_for(Topic.QUOTES, b"AAPL")
        bridge.buffer.add(queue, (wall_us() - A_MINUTE_MS * 1000, b"AAPL", b"old", None))
        bridge.buffer.add(queue, (wall_us(), b"AAPL", b"new", None))
        await eventually(lambda: bridge.accounts.published[Topic.QUOTES] == 2, "both are published")


async def test_a_new_record_waits_for_more_until_the_bridge_stops(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """A batch lingers so that it grows; a bridge that stops sends what it has."""
    async with publishing(broker.bootstrap_servers, topic_prefix, **LINGERING) as bridge:
        queue = bridge.buffer.queue_for(Topic.QUOTES, b"AAPL")
        bridge.buffer.add(queue, (wall_us(), b"AAPL", b"new", None))
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert (len(queue.waiting), queue.in_flight) == (1, [])
        await bridge.publisher.drained()
        assert bridge.accounts.published[Topic.QUOTES] == 1
