"""The wall clock is set back or forward while the bridge runs: session ids still grow, and no wait changes."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import clock
from bridge.oauth.current_grant import CurrentGrant
from bridge.oauth.endpoint import Grant
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from tests.faults.proof import prove
from tests.support.service import control, environment, eventually, read, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.kafka.embedded_broker import EmbeddedBroker

HOURS = 3600.0


@pytest.fixture
def topics_in(broker: EmbeddedBroker, topics: None, topic_prefix: str) -> tuple[str, str]:
    """Return a broker and the prefix of its topics."""
    return broker.bootstrap_servers, topic_prefix


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the wall clock of this process by so many seconds at each call."""
    real_seconds, real_ns = time.time, time.time_ns
    off_seconds = [0.0]
    monkeypatch.setattr(time, "time", lambda: real_seconds() + off_seconds[0])
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(off_seconds[0] * 1e9))

    def move(seconds: float) -> None:
        off_seconds[0] += seconds

    return move


@given(st.lists(st.integers(min_value=1, max_value=2**53), min_size=1))
def test_session_ids_grow_whatever_the_clock_says(readings: list[int]) -> None:
    """A later session has a larger id, although the clock stops or goes back; if it advances, the id is the time."""
    ids = clock.SessionIds()
    with pytest.MonkeyPatch.context() as patch:
        given_ids = []
        for reading in readings:
            patch.setattr(time, "time_ns", lambda reading=reading: reading * 1000)
            given_ids.append(ids.next())
    assert all(later > earlier for earlier, later in pairwise(given_ids))
    for number, (reading, session_id) in enumerate(zip(readings, given_ids, strict=True)):
        assert session_id == reading or session_id == given_ids[number - 1] + 1


@pytest.mark.parametrize(("hours", "conflate_ms"), [(-5, "0"), (7, "0"), (-5, "50"), (7, "50")])
async def test_a_clock_that_jumps_stops_nothing_and_loses_nothing(
    hours: int,
    conflate_ms: str,
    shift: Callable[[float], None],
    topics_in: tuple[str, str],
) -> None:
    """No deadline fires early or late, conflated records are released, and a session after it has a larger id."""
    more = {
        "BRIDGE_CONFLATE_MS": conflate_ms,
        "ARIES_PING_INTERVAL_SECONDS": "0.2",
        "ARIES_STALE_AFTER_SECONDS": "5",
        "KAFKA_DELIVERY_TIMEOUT_SECONDS": "5",
    }
    async with Simulator(rate=500, lines_per_frame=5) as simulator:
        async with running(environment(simulator, *topics_in, **more)) as bridge:

            async def flows() -> None:
                target = bridge.accounts.published.total() + 100
                await eventually(lambda: bridge.accounts.published.total() >= target, "records on Kafka")

            await flows()
            shift(hours * HOURS)
            await flows()
            assert bridge.client.reconnects == {}
            assert bridge.publisher.state.rebuilds == 0
            before = bridge.control.session_id
            await simulator.inject(faults.Drop())
            await eventually(lambda: bridge.control.session_id != before, "another session")
            assert bridge.control.session_id is not None
            assert before is not None
            assert bridge.control.session_id > before
            await flows()
    await prove(*topics_in, bridge)
    assert bridge.accounts.undelivered.total() == bridge.accounts.dropped.total() == 0
    kinds = [record["kind"] for record in control(await read(*topics_in))]
    assert kinds.count("GAP") == kinds.count("RESUMED") == 1


async def test_a_token_expires_although_the_clock_was_set_back(shift: Callable[[float], None]) -> None:
    """A token is renewed by its real age: with a clock set back by hours it would be used long after its expiry."""
    steady = [0.0]
    granted = []

    async def renew() -> Grant:
        granted.append(steady[0])
        return Grant(f"token {len(granted)}", lifetime_seconds=600)

    current = CurrentGrant(renew, clock=time.time, steady_clock=lambda: steady[0])
    assert (await current.get()).access_token == "token 1"
    shift(-5 * HOURS)
    steady[0] = 599
    assert (await current.get()).access_token == "token 2"
    shift(5 * HOURS)  # forward again, or asleep: too early is no harm
    assert (await current.get()).access_token == "token 3"
