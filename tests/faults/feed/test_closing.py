"""Connections that the server or the bridge closes; ``tests/cli/test_run.py`` covers a close without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.errors import DisconnectCause
from bridge.simulator import faults
from bridge.simulator.feed_timestamps import wall_clock_ms
from bridge.simulator.server import Simulator
from tests.faults.feed.scene import PING_SOON
from tests.faults.proxy import BOTH, Proxy

if TYPE_CHECKING:
    from tests.faults.feed.scene import Stage


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        (1000, "", DisconnectCause.CLOSED),
        (1001, "going away", DisconnectCause.CLOSED),
        (1008, "session expired", DisconnectCause.CLOSED),
        (1011, "internal error", DisconnectCause.SERVER_ERROR),
        (1013, "try again later", DisconnectCause.MAINTENANCE),
        (4429, "too many requests", DisconnectCause.THROTTLED),
    ],
)
async def test_a_close_is_reported_by_its_code_and_reason(
    code: int, reason: str, cause: DisconnectCause, stage: Stage
) -> None:
    """Whatever close code the server sends, the lines before it are kept, and another session follows."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            simulator.burst(100)
            await simulator.inject(faults.Close(code=code, reason=reason))
            sent = simulator.sent.lines
            await scene.takes(sent)
            await scene.flows(sessions=2)
        assert scene.causes == [cause]
        assert str(code) in scene.losses[0]["reason"]
        assert reason in scene.losses[0]["reason"]
        assert scene.bridge.accounts.lines_received == simulator.sent.lines
    await scene.proof(cause)


@pytest.mark.parametrize("fault", ["no closing handshake", "black hole"])
async def test_a_stop_meets_its_deadline_whatever_the_server_does(fault: str, stage: Stage) -> None:
    """Closing has a deadline; what was read is on Kafka, and the last control record is published."""
    async with Simulator(dialect="envelope") as simulator, Proxy(simulator.port) as proxy:
        async with stage.bridge(simulator, proxy.instead_of(simulator.url)) as scene:
            await scene.flows(sessions=1)
            if fault == "black hole":
                proxy.black_hole(*BOTH)
            else:
                await simulator.inject(faults.NoClosingHandshake())
        assert not scene.causes
    announced = await scene.proof()
    assert announced[-1]["kind"] == "SESSION_COMPLETED"


async def test_an_unanswered_close_delays_the_reconnect_by_its_deadline_only(stage: Stage) -> None:
    """A server that answers neither pings nor the close delays the reconnect by the two deadlines only."""
    async with Simulator(dialect="action") as simulator, Proxy(simulator.port) as proxy:
        async with stage.bridge(simulator, proxy.instead_of(simulator.url), **PING_SOON) as scene:
            await scene.flows(sessions=1)
            proxy.black_hole(*BOTH)
            await scene.loses()
            assert simulator.sessions
            proxy.heal()
            await scene.flows(sessions=2)
        assert scene.causes[0] is DisconnectCause.PONG_TIMEOUT
    await scene.proof(DisconnectCause.PONG_TIMEOUT)


@pytest.mark.parametrize("off_seconds", [-10 * 365 * 86_400, 200 * 365 * 86_400])
async def test_a_server_whose_clock_is_wrong(off_seconds: int, stage: Stage) -> None:
    """Its times are passed on unchanged; order, sessions and ingest times are by the bridge's clock."""
    async with Simulator(dialect="envelope", clock=lambda: wall_clock_ms() + off_seconds * 1000) as simulator:
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.Drop())
            await scene.flows(sessions=2)
        assert scene.causes == [DisconnectCause.NETWORK]
    await scene.proof(DisconnectCause.NETWORK)
