"""The connection is cut, swallowed, slow, evicted, or fails to open for a long time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.errors import DisconnectCause
from bridge.simulator import faults
from bridge.simulator.requests import Authenticate
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.feed.scene import PING_SOON, take_away_jitter
from tests.faults.proof import prove
from tests.faults.proxy import BOTH, Direction, Proxy
from tests.support.service import by_symbol, control, environment, eventually, left_open, read, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.feed.scene import Stage

#: An hour of the longest delays, 3,000 times faster.
FAST = {"ARIES_BACKOFF_MIN_SECONDS": "0.002", "ARIES_BACKOFF_MAX_SECONDS": "0.01"}
ATTEMPTS_IN_AN_HOUR = 120
#: More bytes to ask for than the buffers on the way hold.
MANY_SYMBOLS = ",".join(f"S{number:059}" for number in range(20_000))
#: Sessions of a single line of data, which therefore never flowed for a while.
ONE_LINE = {"ARIES_SYMBOLS": "AAPL", "ARIES_EVENTS": "quotes"}
CYCLES = 200


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_a_cut_connection_is_resumed_with_a_visible_gap(reset: bool, stage: Stage) -> None:  # noqa: FBT001
    """All subscriptions are restored, and the gap is visible on control and in the records."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.Drop(reset=reset))
            await scene.flows(sessions=2)
            await scene.flows("MSFT")
        assert scene.causes == [DisconnectCause.NETWORK]
        assert len(scene.logged("data resumed after gap")) == 1
    announced = await scene.proof(DisconnectCause.NETWORK)
    assert [record["kind"] for record in announced] == [
        *("SESSION_STARTED", "SUBSCRIBED", "GAP", "SESSION_STARTED", "SUBSCRIBED", "RESUMED", "SESSION_COMPLETED")
    ]
    quotes = by_symbol(await read(stage.bootstrap_servers, stage.prefix, Topic.QUOTES))[Topic.QUOTES, "AAPL"]
    first, second = sorted({quote["session_id"] for quote in quotes})
    assert [quote["session_id"] for quote in quotes if quote["after_gap"]] == [first, second]


@pytest.mark.parametrize("fault", ["accepted", "subscribed"])
async def test_connections_that_are_closed_at_once_do_not_cause_a_storm(fault: str, stage: Stage) -> None:
    """Until data was received for a while, the delays between attempts only grow, and stay long."""
    async with Simulator(dialect="envelope") as simulator, Proxy(simulator.port) as proxy:
        if fault == "accepted":
            proxy.turn_away()
        else:
            await simulator.inject(faults.CutShort(stage=fault))  # type: ignore[arg-type]  # one of its words
        async with stage.bridge(simulator, proxy.instead_of(simulator.url), **FAST, **ONE_LINE) as scene:
            take_away_jitter(scene.bridge)
            await scene.loses(ATTEMPTS_IN_AN_HOUR)
            assert proxy.accepted <= len(scene.losses) + 1
            proxy.heal()
            simulator.active_faults.clear()
            await scene.flows()
        delays = [line["retry_seconds"] for line in scene.losses]
        assert delays == [0.002, 0.004, 0.008, *[0.01] * (len(delays) - 3)]
    gaps = 0 if fault == "accepted" else len(scene.losses)
    await scene.proof(*[DisconnectCause.CLOSED] * gaps)


@pytest.mark.parametrize("lost", [BOTH, (Direction.TO_CLIENT,), (Direction.TO_SERVER,)], ids=["both", "in", "out"])
async def test_a_half_open_connection_is_found_by_ping(lost: tuple[Direction, ...], stage: Stage) -> None:
    """A network that swallows one or both directions, with open sockets, is detected within interval and timeout."""
    async with Simulator(dialect="action") as simulator, Proxy(simulator.port) as proxy:
        async with stage.bridge(simulator, proxy.instead_of(simulator.url), **PING_SOON) as scene:
            await scene.flows(sessions=1)
            proxy.black_hole(*lost)
            await scene.loses()
            proxy.heal()
            await scene.flows(sessions=2)
        assert scene.causes[0] is DisconnectCause.PONG_TIMEOUT
        assert "a ping was not answered within 0.2 s" in scene.losses[0]["reason"]
    await scene.proof(DisconnectCause.PONG_TIMEOUT)


async def test_a_server_that_does_not_read_is_disconnected(stage: Stage) -> None:
    """If the server does not read requests and the send buffer is full, the bridge reconnects; it reads meanwhile."""
    async with Simulator(dialect="envelope") as simulator, Proxy(simulator.port, window_bytes=4096) as proxy:
        settings = {"ARIES_SYMBOLS": MANY_SYMBOLS, "ARIES_PONG_TIMEOUT_SECONDS": "0.3"}
        async with stage.bridge(simulator, proxy.instead_of(simulator.url), **settings) as scene:
            await simulator.requested(Authenticate)
            proxy.black_hole(Direction.TO_SERVER)
            await scene.loses()
        assert scene.causes[0] == DisconnectCause.NETWORK
        assert scene.losses[0]["reason"] == "Aries did not read from the connection for 0.3 s"
    await prove(stage.bootstrap_servers, stage.prefix, scene.bridge)


async def test_a_network_of_one_byte_at_a_time(stage: Stage) -> None:
    """Lines are complete, however small the pieces in which they arrive."""
    async with Simulator(dialect="envelope") as simulator, Proxy(simulator.port) as proxy:
        proxy.slow(chunk_bytes=1)
        async with stage.bridge(simulator, proxy.instead_of(simulator.url)) as scene:
            await scene.flows(sessions=1)
            await simulator.emit(20)
            await scene.takes(simulator.sent.lines)
        assert scene.bridge.accounts.lines_received == simulator.sent.lines
        assert not scene.causes
        assert not scene.bridge.accounts.dead_lettered
    await scene.proof()


async def test_a_burst_behind_the_subscription(stage: Stage) -> None:
    """Five thousand events before the subscription is acknowledged are all published."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.NoAcks())
        async with stage.bridge(simulator) as scene:
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.inject(faults.Burst(events=5_000))
            await scene.takes(simulator.sent.lines)
        assert scene.bridge.accounts.lines_received == simulator.sent.lines
        assert simulator.skipped.lines == 0
    await scene.proof()


async def test_an_eviction_is_a_cause_of_its_own(stage: Stage) -> None:
    """If another session of the account takes over, the cause is an eviction, with the slow delay."""
    async with Simulator(dialect="envelope") as simulator:
        async with stage.bridge(simulator) as scene:
            take_away_jitter(scene.bridge)
            await scene.flows(sessions=1)
            await simulator.inject(faults.Close(code=1008, reason="session replaced by another connection"))
            await scene.flows(sessions=2)
        assert scene.causes == [DisconnectCause.EVICTED]
        assert scene.losses[0]["retry_seconds"] == 0.08
        assert "session replaced by another connection" in scene.losses[0]["reason"]
    await scene.proof(DisconnectCause.EVICTED)


async def test_two_bridges_evict_each_other_at_growing_intervals(stage: Stage, other_stage: Stage) -> None:
    """If an account has one session, two bridges take turns without a storm; each turn is a gap in the records."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.OneSession())
        other_environ = environment(simulator, other_stage.bootstrap_servers, other_stage.prefix, **FAST, **ONE_LINE)
        async with stage.bridge(simulator, **FAST, **ONE_LINE) as one, running(other_environ) as other:
            for bridge in (one.bridge, other):
                take_away_jitter(bridge)
            await one.loses(12)
            simulator.active_faults.clear()
            await eventually(lambda: one.bridge.client.state == other.client.state == "streaming", "both stream")
        delays = [line["retry_seconds"] for line in one.losses]
        assert delays == [0.008, 0.008, 0.016, 0.016, 0.032, 0.032, *[0.04] * (len(delays) - 6)]
        assert set(one.causes) == {DisconnectCause.EVICTED}
    for at, bridge in ((stage, one.bridge), (other_stage, other)):
        await prove(at.bootstrap_servers, at.prefix, bridge)
        words = [record["kind"] for record in control(await read(at.bootstrap_servers, at.prefix, Topic.CONTROL))]
        assert words.count("GAP") == words.count("RESUMED") == bridge.client.reconnects[DisconnectCause.EVICTED]


async def test_reconnects_leak_nothing(stage: Stage, tmp_path: Path) -> None:
    """Neither tasks nor open files grow with the number of sessions, whichever side ends them."""
    file = tmp_path / "token"
    file.write_text("a-good-token")  # from a file, so that it may be refused again and again
    at_once = {"ARIES_BACKOFF_MIN_SECONDS": "0.0001", "ARIES_BACKOFF_MAX_SECONDS": "0.0001"}
    settings = {"ARIES_ACCESS_TOKEN": "", "ARIES_ACCESS_TOKEN_FILE": str(file), **at_once, **ONE_LINE}
    async with Simulator(dialect="envelope") as simulator:

        async def cycle(times: int) -> None:
            await simulator.inject(faults.RefuseAuth(times=times))
            await simulator.inject(faults.CutShort(stage="subscribed", times=times))

        await cycle(10)
        async with stage.bridge(simulator, **settings) as scene:
            await scene.flows(sessions=11)
            before = left_open()
            await cycle(CYCLES // 2)
            await simulator.inject(faults.Drop())
            await eventually(lambda: len(scene.losses) == 21 + CYCLES, "all reconnects")
            await scene.flows()
            await eventually(lambda: left_open() <= before, "no more than before")
            assert len(scene.bridge.client.connection_history.disconnects) <= 50
        gaps = [DisconnectCause.CLOSED] * 10 + [DisconnectCause.NETWORK] + [DisconnectCause.CLOSED] * (CYCLES // 2)
    await scene.proof(*gaps)
