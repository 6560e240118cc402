"""A bridge over simulated days: whatever prices and endpoints do, it is subscribed to what the chains should have."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bridge import settings
from bridge.app import Service
from bridge.simulator.faults import ChainAnswer
from bridge.simulator.server import Simulator
from tests.support.service import environment, eventually

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.usefixtures("topics")

UNDERLYINGS = ("AAPL", "MSFT", "SPX")
AROUND, DAYS = 3, 9
FAULTS = (
    ChainAnswer(status=500, html=True, times=2),
    ChainAnswer(status=429, retry_after=1, times=1),
    ChainAnswer(status=403, times=1),
    ChainAnswer(half="text", times=1),
    ChainAnswer(half="bytes", times=1),
    ChainAnswer(next_host="http://localhost:9"),
)


class World:
    """The clock of exchange and bridge, the prices, and what should be subscribed to."""

    def __init__(self, start: str) -> None:
        self.now = datetime.fromisoformat(start).replace(tzinfo=UTC)
        self.simulator = Simulator(chain_clock=lambda: int(self.now.timestamp() * 1000))
        self.prices: dict[str, float] = {}

    def clock(self) -> float:
        return self.now.timestamp()

    async def trade(self, underlying: str, price: float) -> None:
        self.prices[underlying] = price
        await self.simulator.trade(underlying, lastPrice=str(price), price=str(price), size=1)

    def wanted(self, today: date) -> set[str]:
        """Return the contracts around the present prices that are listed and expire soon enough."""
        found: set[str] = set()
        for underlying in UNDERLYINGS:
            price = self.prices[underlying]
            live = [one for one in self.simulator.chains.listed(underlying) if (one.expiration - today).days <= DAYS]
            for day in {one.expiration for one in live}:
                strikes = sorted({one.strike for one in live if one.expiration == day})
                near = {*[s for s in strikes if s < price][-AROUND:], *[s for s in strikes if s > price][:AROUND]}
                found |= {one.symbol for one in live if one.expiration == day and one.strike in near}
        return found

    def subscribed(self) -> set[str]:
        each = (session.stream.subscriptions.items() for session in self.simulator.sessions)
        return {symbol for items in each for symbol, kinds in items if kinds} - set(UNDERLYINGS)


@pytest.mark.parametrize("start", ["2026-03-05T15:00", "2026-10-29T15:00", "2026-12-23T15:00"])
async def test_days(broker: EmbeddedBroker, topic_prefix: str, start: str) -> None:
    """Over a change of the clocks, and over holidays, the contracts are exactly those that are wanted each morning."""
    moves = random.Random(start)
    entries = [
        {"underlying": name, "expires_within_days": DAYS, "strikes": {"around": AROUND}, "events": ["quotes", "greeks"]}
        for name in UNDERLYINGS
    ]
    world = World(start)
    async with world.simulator as simulator:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_SYMBOLS="",
            ARIES_SUBSCRIPTIONS=json.dumps(entries),
            ARIES_MAX_FRAMES_PER_SECOND="10000",
        )
        service = Service(settings.load(environ), chain_clock=world.clock)
        chains, prices = service.bridge.plans.chains, service.bridge.ingest.last_prices

        for underlying, price in zip(UNDERLYINGS, (150.37, 412.13, 6012.41), strict=True):
            await world.trade(underlying, price)
        stop = asyncio.Event()
        running = asyncio.create_task(service.run(stop))
        try:
            await simulator.subscribed(*UNDERLYINGS)
            for _ in range(8):
                wanted = world.wanted(simulator.chains.today)
                await eventually(lambda wanted=wanted: world.subscribed() == wanted, f"what is wanted on {world.now}")  # type: ignore[misc]
                for underlying in UNDERLYINGS:
                    price = round(world.prices[underlying] * moves.uniform(0.97, 1.03), 2)
                    await world.trade(underlying, price)
                await eventually(
                    lambda: all(prices.get(name) == world.prices[name] for name in UNDERLYINGS), "the last prices"
                )
                await simulator.inject(moves.choice(FAULTS))
                world.now += timedelta(days=1)
                morning = world.now.timestamp()
                while not all((status.resolved_at or 0) >= morning for status in chains.statuses()):
                    world.now += timedelta(seconds=10)  # for the retries
                    await asyncio.sleep(0.01)
                simulator.active_faults.clear()
            assert len(simulator.all_sessions) == 1
            assert set(chains.failures.values())
        finally:
            stop.set()
            await running
