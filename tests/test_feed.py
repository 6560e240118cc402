"""The feed's loop, where two things come at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.service import environment, eventually, running

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker


@pytest.mark.parametrize("turns", range(6))
async def test_the_end_is_heard_while_the_connection_is_lost(
    broker: EmbeddedBroker, topic_prefix: str, turns: int
) -> None:
    """A bridge told to end so many turns of the loop after its connection broke off ends, and does not dial again."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator() as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await eventually(lambda: bridge.feed.state == "streaming", "streaming")
            simulator.connections[0].link.drop()
            for _ in range(turns):
                await asyncio.sleep(0)
            lost = dict(bridge.feed.reconnects)
        assert bridge.feed.reconnects == lost
