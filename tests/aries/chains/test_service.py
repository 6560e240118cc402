"""Option chains in a running bridge: between the simulator's endpoints, its socket, and Kafka."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from bridge.app import signals
from bridge.aries.chains import resolver as resolver_module
from bridge.observability.health import readiness
from bridge.observability.rate_history import RateHistory
from bridge.observability.status import status
from bridge.simulator.faults import ChainAnswer
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.service import by_symbol, control, environment, eventually, read, running

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bridge.kafka.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.usefixtures("topics")

EXPIRY = "270115"
LISTED = [f"AAPL{EXPIRY}{right}{strike * 1000:08d}" for strike in range(90, 111) for right in "CP"]
EVENTS = ("quotes", "trades")


def around(*strikes: int) -> list[str]:
    """Return the contracts of these strikes."""
    return [f"AAPL{EXPIRY}{right}{strike * 1000:08d}" for strike in strikes for right in "CP"]


def chain(**more: object) -> str:
    entry = {"underlying": "AAPL", "expires_within_days": 3000, "strikes": {"around": 2}, "events": EVENTS, **more}
    return json.dumps([entry])


async def simulator_at(price: str, simulator: Simulator) -> None:
    simulator.chains.list_only("AAPL", LISTED)
    await simulator.trade("AAPL", lastPrice=price)


async def subscribed_exactly(simulator: Simulator, symbols: Iterable[str]) -> None:
    """Wait until the sessions together are subscribed to these symbols and no others."""
    wanted = sorted(symbols)

    def found() -> list[str]:
        each = (session.stream.subscriptions.items() for session in simulator.sessions)
        return sorted(symbol for items in each for symbol, kinds in items if kinds)

    await eventually(lambda: found() == wanted, f"exactly {wanted}")


async def test_a_chain_follows_the_price(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The strikes follow the trades of an underlying that is not published; the change is announced with its reason."""
    async with Simulator() as simulator:
        await simulator_at("100.50", simulator)
        environ = environment(
            simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS="MSFT", ARIES_SUBSCRIPTIONS=chain()
        )
        async with running(environ) as bridge:
            await subscribed_exactly(simulator, ["AAPL", "MSFT", *around(99, 100, 101, 102)])
            await eventually(lambda: all(check.ok for check in readiness(bridge, 0)[:3]), "the bridge is ready")
            await simulator.trade("AAPL", lastPrice="101.50", price="101.50", size=1)
            await simulator.trade("AAPL", lastPrice="104.50", price="104.50", size=1)
            await subscribed_exactly(simulator, ["AAPL", "MSFT", *around(103, 104, 105, 106)])
            await simulator.trade(around(105)[0], lastPrice="3.20", price="3.20", size=1)
            await eventually(lambda: bridge.accounts.published.total() >= 1, "a record")
            assert len(simulator.chain_endpoint.requests) == 1
            document = status(bridge, RateHistory(bridge.accounts), 0, 0)
            assert document["chains"][0]["contracts"] == 8
    found = await read(broker.bootstrap_servers, topic_prefix)
    records = by_symbol(found)
    assert not any(symbol == "AAPL" for _, symbol in records)
    assert [record["after_gap"] for record in records[Topic.TRADES, around(105)[0]]][:1] == [True]
    reasons = [record["reason"] for record in control(found) if record["kind"] == "PLAN_CHANGED"]
    assert any("(AAPL: price 104.5)" in reason for reason in reasons), reasons


async def test_a_chain_that_cannot_be_resolved_at_start(
    broker: EmbeddedBroker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bridge starts with the symbols that are named, is not ready, says why, and adds the chain when it comes."""
    monkeypatch.setattr(resolver_module, "RETRY_MIN_SECONDS", 0.01)
    async with Simulator() as simulator:
        await simulator_at("100.50", simulator)
        await simulator.inject(ChainAnswer(status=403))
        environ = environment(
            simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS="MSFT", ARIES_SUBSCRIPTIONS=chain()
        )
        async with running(environ) as bridge:
            await simulator.subscribed("MSFT")
            await eventually(lambda: bridge.plans.chains.failures, "a failure")
            checks = {check.name: check for check in readiness(bridge, 0)}
            assert not checks["chains"].ok
            assert "options:information" in checks["chains"].detail
            simulator.active_faults.clear()
            await subscribed_exactly(simulator, ["AAPL", "MSFT", *around(99, 100, 101, 102)])
            assert {check.name: check.ok for check in readiness(bridge, 0)}["chains"]


async def test_new_listings_at_a_signal(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """SIGHUP resolves the chains at once."""
    async with Simulator() as simulator:
        simulator.chains.list_only("AAPL", around(100))
        entry = chain(strikes="all")
        environ = environment(
            simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS="", ARIES_SUBSCRIPTIONS=entry
        )
        async with running(environ) as bridge:
            with signals(asyncio.Event(), bridge):
                await subscribed_exactly(simulator, around(100))
                simulator.chains.list_only("AAPL", around(100, 105))
                os.kill(os.getpid(), signal.SIGHUP)
                await subscribed_exactly(simulator, around(100, 105))


async def test_a_chain_in_the_watched_file(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> None:
    """A change of the file changes the chains, too, on the open connection."""
    file = tmp_path / "subscriptions.json"
    file.write_text('["MSFT"]')
    async with Simulator() as simulator:
        await simulator_at("100.50", simulator)
        environ = environment(
            simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS="", ARIES_SUBSCRIPTIONS_FILE=str(file)
        )
        async with running(environ):
            await subscribed_exactly(simulator, ["MSFT"])
            file.write_text(chain(include_underlying=True))
            await subscribed_exactly(simulator, ["AAPL", *around(99, 100, 101, 102)])
            file.write_text(chain(types="call"))
            await subscribed_exactly(simulator, ["AAPL", *around(99, 100, 101, 102)[::2]])
            assert len(simulator.all_sessions) == 1


async def test_shards_of_a_chain(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Each contract is on one of two shards, both follow the price, and one publishes the underlying."""
    entry = chain(include_underlying=True)
    async with Simulator() as simulator:
        await simulator_at("100.50", simulator)
        shards = [
            environment(
                simulator,
                broker.bootstrap_servers,
                topic_prefix,
                ARIES_SYMBOLS="",
                ARIES_SUBSCRIPTIONS=entry,
                BRIDGE_SHARDS="2",
                BRIDGE_SHARD=str(shard),
                BRIDGE_INSTANCE=f"shard-{shard}",
            )
            for shard in range(2)
        ]
        async with running(shards[0]), running(shards[1]):
            await subscribed_exactly(simulator, ["AAPL", "AAPL", *around(99, 100, 101, 102)])
            await simulator.trade("AAPL", lastPrice="104.50", price="104.50", size=1)
            await subscribed_exactly(simulator, ["AAPL", "AAPL", *around(103, 104, 105, 106)])
            await simulator.trade("AAPL", lastPrice="104.60", price="104.60", size=1)
    records = by_symbol(await read(broker.bootstrap_servers, topic_prefix))[Topic.TRADES, "AAPL"]
    assert [record["seq"] for record in records] == [*range(len(records))]
