"""The client's loop, when two things happen at the same time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from bridge.aries.subscriptions import plan
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.proxy import Proxy
from tests.support.process import process
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker

#: Whether a connection is closed before anything was sent on it is a matter of chance.
TURNED_AWAY = 20


@pytest.mark.parametrize("turns", range(6))
async def test_a_bridge_that_is_stopped_while_the_connection_is_lost_ends(
    broker: EmbeddedBroker, topic_prefix: str, turns: int
) -> None:
    """However many iterations of the loop are between the two, it does not reconnect."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator() as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await eventually(lambda: bridge.client.state == "streaming", "streaming")
            simulator.sessions[0].connection.drop()
            for _ in range(turns):
                await asyncio.sleep(0)
            lost = dict(bridge.client.reconnects)
        assert bridge.client.reconnects == lost


async def test_a_quiet_session_sends_changed_subscriptions_at_once(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """While nothing is due for minutes, a change does not wait for it."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    slow = {"ARIES_PING_INTERVAL_SECONDS": "600", "ARIES_STALE_AFTER_SECONDS": "0"}
    async with Simulator() as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix, **slow)) as bridge:
            client = bridge.client
            await eventually(lambda: client.session and client.session.next_tick > time.monotonic() + 60, "quiet")
            client.replan(plan(("AAPL", "IBM"), ("quotes",)))
            await eventually(lambda: "IBM" in simulator.sessions[0].stream.subscriptions, "the new symbol")


async def test_a_quiet_session_authenticates_again_when_asked_to(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """While nothing is due for minutes, a request of the server does not wait for it."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    slow = {"ARIES_PING_INTERVAL_SECONDS": "600", "ARIES_STALE_AFTER_SECONDS": "0"}
    async with Simulator() as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix, **slow)) as bridge:
            client = bridge.client
            await eventually(lambda: client.session and client.session.next_tick > time.monotonic() + 60, "quiet")
            simulator.sessions[0].revoke_auth()
            await simulator.authenticated(2)


async def test_a_connection_that_is_closed_at_once_is_retried(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """A connection that is closed before the handshake (with uvloop some are) is a lost one like others."""
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
