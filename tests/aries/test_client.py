"""The feed's loop, where two things come at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.proxy import Proxy
from tests.support.process import process
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker

#: Whether a connection ends before anything was sent on it is a matter of luck.
TURNED_AWAY = 20


@pytest.mark.parametrize("turns", range(6))
async def test_the_end_is_heard_while_the_connection_is_lost(
    broker: EmbeddedBroker, topic_prefix: str, turns: int
) -> None:
    """A bridge told to end so many turns of the loop after its connection broke off ends, and does not dial again."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator() as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await eventually(lambda: bridge.client.state == "streaming", "streaming")
            simulator.sessions[0].connection.drop()
            for _ in range(turns):
                await asyncio.sleep(0)
            lost = dict(bridge.client.reconnects)
        assert bridge.client.reconnects == lost


async def test_a_server_that_closes_at_once_is_dialled_again(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Connections that end before the handshake has begun (with uvloop some do) are lost ones like others."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator() as simulator, Proxy(simulator.port) as network:
        network.turn_away()
        url = network.instead_of(simulator.url)
        quick = {"ARIES_BACKOFF_MAX_SECONDS": "0.02"}
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_WS_URL=url, **quick)
        async with process(environ, "run") as bridge:
            await bridge.logged("Aries connection lost", TURNED_AWAY)
            network.heal()
            await bridge.logged("subscribed")
