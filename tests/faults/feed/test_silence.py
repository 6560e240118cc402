"""The connection stays open, but no data is received: a stall, missing pongs, a closed market."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.clock import wall_us
from bridge.errors import DisconnectCause
from bridge.observability.symbol_ages import TopicAges
from bridge.simulator import faults
from bridge.simulator.fault_script import parse_script
from bridge.simulator.market_status import MarketState
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.feed.scene import PING_SOON
from tests.support.service import eventually

if TYPE_CHECKING:
    from tests.faults.feed.scene import Stage


async def test_a_silent_stall_in_market_hours_ends_in_a_reconnect(stage: Stage) -> None:
    """If data stops while pings are answered, the bridge subscribes again, then reconnects."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator, ARIES_STALE_AFTER_SECONDS="0.3", **PING_SOON) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.Silence())
            await scene.loses()
            simulator.active_faults.clear()
            await scene.flows(sessions=2)
        assert scene.causes[0] is DisconnectCause.STALE
        assert "nor after subscribing again" in scene.losses[0]["reason"]
        assert len(scene.logged("no data although pings are answered, subscribing again")) >= 1
    # A connection that was opened while the server was still silent has had no session: its gap is the one before.
    await scene.proof(*(cause for cause in scene.causes if cause is not DisconnectCause.AUTH_TIMEOUT))


@pytest.mark.parametrize(
    ("ending", "cause"),
    [
        (faults.Drop(), DisconnectCause.NETWORK),
        (faults.Close(), DisconnectCause.CLOSED),
        (faults.NoPongs(), DisconnectCause.PONG_TIMEOUT),
        (faults.ForgetAuth(), DisconnectCause.CLOSED),
    ],
    ids=["dropped", "closed", "no pongs", "session forgotten"],
)
async def test_the_gap_of_a_silence_begins_with_the_last_data(
    ending: faults.Fault, cause: DisconnectCause, stage: Stage
) -> None:
    """What was not sent before the connection ended is missing, too, although pings were answered."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator, **PING_SOON) as scene:
            await scene.flows(sessions=1)
            sent_from_us = wall_us()
            await scene.flows()
            sent_to_us = wall_us()
            pings = simulator.received_counts["Ping"]
            await eventually(lambda: simulator.received_counts["Ping"] >= pings + 3, "answered pings")
            await simulator.inject(ending)
            await eventually(lambda: scene.bridge.client.connection_history.gaps, "a gap")
            simulator.active_faults.clear()
            await scene.flows(sessions=2)
    announced = await scene.proof(cause)
    gap = next(record for record in announced if record["kind"] == "GAP")
    assert sent_from_us <= gap["gap_from_us"] <= sent_to_us


async def test_silence_outside_market_hours_is_no_fault(stage: Stage) -> None:
    """Outside market hours the connection is kept, as long as pings are answered."""
    async with Simulator(dialect="envelope", market=MarketState.CLOSED) as simulator:
        async with stage.bridge(simulator, ARIES_STALE_AFTER_SECONDS="0.2", **PING_SOON) as scene:
            await scene.flows(sessions=1)
            pings = simulator.received_counts["Ping"]
            await eventually(lambda: simulator.received_counts["Ping"] >= pings + 3, "longer than stale")
        assert not scene.causes
    await scene.proof()


async def test_a_frozen_symbol_is_reported_while_the_connection_is_fine(stage: Stage) -> None:
    """It is named on control once, also if the bridge reconnects meanwhile, and again when it has data."""
    script = parse_script([{"at": 0, "fault": "freeze_symbol", "symbol": "MSFT"}])
    async with Simulator(dialect="envelope", rate=200, script=script) as simulator:
        await eventually(lambda: simulator.active_faults.find(faults.FreezeSymbol), "the fault")
        async with stage.bridge(simulator, ARIES_STALE_SYMBOL_SECONDS="quotes=1") as scene:
            ages = scene.bridge.symbol_ages
            await eventually(lambda: ages.oldest_stale, "a stale symbol")
            await simulator.inject(faults.Drop())
            await scene.flows(sessions=2)
            age = ages.oldest_stale[0].age_seconds
            await eventually(lambda: ages.oldest_stale[0].age_seconds > age, "an older symbol")
            assert [(one.topic, one.symbol) for one in ages.oldest_stale] == [(Topic.QUOTES, "MSFT")]
            assert scene.bridge.accounts.published[Topic.QUOTES] > 0
            await simulator.inject(faults.Heal())
            await eventually(lambda: not ages.oldest_stale, "its data")
        assert scene.causes == [DisconnectCause.NETWORK]
    announced = await scene.proof(DisconnectCause.NETWORK)
    assert [record["reason"] for record in announced if record["kind"] == "STALE_SYMBOLS"] == [
        "quotes: 1 stale (MSFT)",
        "quotes: 1 recovered (MSFT)",
    ]


async def test_frozen_symbols_do_not_count_while_the_market_is_closed(stage: Stage) -> None:
    """In a night no symbol becomes stale, whatever the limit is."""
    async with Simulator(dialect="action", market=MarketState.CLOSED) as simulator:
        async with stage.bridge(simulator, ARIES_STALE_SYMBOL_SECONDS="1", **PING_SOON) as scene:
            await scene.flows(sessions=1)
            pings = simulator.received_counts["Ping"]
            await eventually(lambda: simulator.received_counts["Ping"] >= pings + 8, "longer than the limit")
            assert all(ages == TopicAges() for ages in scene.bridge.symbol_ages.topics.values())
    announced = await scene.proof()
    assert "STALE_SYMBOLS" not in {record["kind"] for record in announced}


@pytest.mark.parametrize("dialect", ["action", "envelope"])
async def test_missing_pongs_end_in_a_reconnect(dialect: Any, stage: Stage) -> None:
    """A server that answers no ping, and sends no data, is disconnected within the pong timeout."""
    async with Simulator(dialect=dialect) as simulator:
        async with stage.bridge(simulator, **PING_SOON) as scene:
            await scene.flows(sessions=1)
            await eventually(lambda: simulator.received_counts["Ping"] >= 2, "pings that are answered")
            await simulator.inject(faults.NoPongs())
            await scene.loses()
            simulator.active_faults.clear()
            await scene.flows(sessions=2)
        assert scene.causes[0] is DisconnectCause.PONG_TIMEOUT
    await scene.proof(*scene.causes)


@pytest.mark.parametrize("dialect", ["action", "envelope"])
async def test_missing_pongs_are_a_warning_while_data_is_received(dialect: Any, stage: Stage) -> None:
    """A server that answers no ping, but sends data, stays connected; a warning is logged."""
    async with Simulator(dialect=dialect, rate=200) as simulator:
        async with stage.bridge(simulator, **PING_SOON) as scene:
            await scene.flows(sessions=1)
            await eventually(lambda: simulator.received_counts["Ping"] >= 2, "pings that are answered")
            await simulator.inject(faults.NoPongs())
            await eventually(
                lambda: scene.logged("ping not answered while data is received, keeping the connection"), "warning"
            )
            pings = simulator.received_counts["Ping"]
            await eventually(lambda: simulator.received_counts["Ping"] >= pings + 3, "more pings")
            assert not scene.causes
            simulator.rate = 0
            simulator.active_faults.clear()
    await scene.proof()


async def test_a_server_that_sends_nothing_at_all(stage: Stage) -> None:
    """Without data, pongs and an answer to the close, the connection is aborted, and another one opened."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator, **PING_SOON) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.Silence(pongs=False))
            await scene.loses()
            simulator.active_faults.clear()
            await scene.flows(sessions=2)
        assert scene.causes == [DisconnectCause.PONG_TIMEOUT]
    await scene.proof(DisconnectCause.PONG_TIMEOUT)
