"""Chains stay resolved: over days, through failures, and when the price or the subscriptions change."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import structlog

from bridge.aries import subscriptions
from bridge.aries.chains import resolver as resolver_module
from bridge.aries.chains.listing import Listing
from bridge.aries.chains.merging import with_prices
from bridge.aries.chains.resolver import ChainResolver, resolve_once
from bridge.aries.chains.times import exchange_date
from bridge.aries.subscriptions.shards import own_share
from bridge.errors import ChainFailure, ChainUnavailable
from bridge.market_data import EventType
from tests.aries.chains.listings import contracts
from tests.support.background import in_background
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from bridge.aries.subscriptions import Plan

SECONDS_A_DAY = 86_400
START = datetime(2026, 11, 27, 15, tzinfo=UTC).timestamp()
ALL = '[{"underlying":"AAPL","expires_within_days":7}]'
AROUND = '[{"underlying":"AAPL","expires_within_days":7,"strikes":{"around":2}}]'


def plan_of(text: str, *symbols: str) -> Plan:
    return subscriptions.plan(symbols, ("quotes", "trades"), text)


@dataclass
class Exchange:
    """What is listed at the time of the clock, on each of the next Fridays, or why it cannot be told."""

    now: float = START
    strikes: Sequence[float] = (99, 100, 101)
    answer_price: float | None = 100.5
    error: ChainUnavailable | None = None
    requests: list[tuple[str, tuple[date, ...]]] = field(default_factory=list)
    feed_prices: dict[str, float] = field(default_factory=dict)

    def expirations(self) -> list[date]:
        today = exchange_date(self.now)
        friday = today + timedelta(days=(4 - today.weekday()) % 7)
        return [friday + timedelta(weeks=week) for week in range(3)]

    async def listing(self, underlying: str, expirations: Sequence[date] = ()) -> Listing:
        self.requests.append((underlying, tuple(expirations)))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        wanted = expirations or self.expirations()
        return Listing(
            tuple(contracts(wanted, self.strikes, "C", underlying)), None if expirations else self.answer_price
        )

    async def price(self, underlying: str) -> float | None:
        await asyncio.sleep(0)
        return self.answer_price


class Scene:
    """A resolver over an exchange, and the plans that it handed on."""

    def __init__(self, plan: Plan) -> None:
        self.exchange = Exchange()
        self.plans: list[Plan] = []
        self.resolver = ChainResolver(
            plan,
            self.exchange,
            last_price=self.exchange.feed_prices.get,
            on_plan=self.plans.append,
            clock=lambda: self.exchange.now,
        )

    @property
    def symbols(self) -> list[str]:
        """Return the symbols of the newest plan."""
        return list(self.plans[-1]) if self.plans else []

    def strikes(self) -> list[int]:
        """Return the strikes of the newest plan."""
        return sorted({int(symbol[-8:]) // 1000 for symbol in self.symbols})

    async def until(self, holds: Callable[[], object], what: str) -> None:
        await eventually(holds, what)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at clock and prices more often."""
    monkeypatch.setattr(resolver_module, "TICK_SECONDS", 0.001)


@asynccontextmanager
async def running(plan: Plan) -> AsyncIterator[Scene]:
    scene = Scene(plan)
    async with in_background(scene.resolver.run()):
        yield scene


async def test_resolved_at_start() -> None:
    """The contracts come beside the symbols that are named; a symbol that is named stays as it is."""
    named = "AAPL261127C00100000"
    async with running(plan_of(ALL, "MSFT", named)) as scene:
        await scene.until(lambda: scene.plans, "a plan")
        assert len(scene.symbols) == 1 + 2 * 3
        assert scene.symbols[:2] == ["MSFT", named]
        assert scene.plans[0].cause == "AAPL: start"
        assert [(one.is_resolved, one.contracts) for one in scene.resolver.statuses()] == [(True, 6)]


async def test_many_days() -> None:
    """Over weekends, holidays and a change of the clocks there is one request a day, and the plan is as wanted."""
    async with running(plan_of(ALL)) as scene:
        exchange = scene.exchange
        exchange.now = datetime(2027, 3, 1, 15, tzinfo=UTC).timestamp()

        def is_as_wanted() -> bool:
            today = exchange_date(exchange.now)
            wanted = {f"{day:%y%m%d}" for day in exchange.expirations() if today <= day <= today + timedelta(days=7)}
            return {symbol[4:10] for symbol in scene.symbols} == wanted

        for half_day in range(1, 41):
            exchange.now += SECONDS_A_DAY / 2
            if half_day == 1 or half_day % 2 == 0:  # at start, and later before noon
                await scene.until(lambda: scene.resolver.statuses()[0].resolved_at == exchange.now, "a resolution")
            await scene.until(is_as_wanted, "the expirations of the day")
        assert len(exchange.requests) == 1 + 20


async def test_contracts_expire_without_a_request() -> None:
    """At midnight of the exchange they leave, even if the endpoint fails."""
    async with running(plan_of(ALL)) as scene:
        await scene.until(lambda: scene.plans, "a plan")
        scene.exchange.error = ChainUnavailable(ChainFailure.SERVER, "failed")
        scene.exchange.now = datetime(2026, 11, 28, 5, tzinfo=UTC).timestamp()
        await scene.until(lambda: len(scene.plans) > 1, "the next plan")
        assert {symbol[4:10] for symbol in scene.symbols} == {"261204"}
        assert "date 2026-11-28" in scene.plans[-1].cause


async def test_failures_keep_what_is_known() -> None:
    """A failure is logged once, retried, counted by kind, and changes nothing; the retry waits as long as asked."""
    async with running(plan_of(ALL)) as scene:
        exchange = scene.exchange
        await scene.until(lambda: scene.plans, "a plan")
        with structlog.testing.capture_logs() as logs:
            exchange.error = ChainUnavailable(ChainFailure.BUSY, "busy", retry_after_seconds=1000)
            exchange.now += SECONDS_A_DAY / 4
            scene.resolver.resolve_now("SIGHUP")
            await scene.until(lambda: scene.resolver.failures.total() == 1, "a failure")
            exchange.now += 999
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert len(exchange.requests) == 2
            exchange.now += 2
            await scene.until(lambda: len(exchange.requests) == 3, "a third request")
            assert [line["event"] for line in logs] == ["option chain not resolved, keeping its last contracts"]
        assert len(scene.plans) == 1
        await scene.until(lambda: scene.resolver.failures["AAPL", ChainFailure.BUSY] == 2, "two failures")
        [status] = scene.resolver.statuses()
        assert (status.problem, status.is_resolved, status.contracts) == ("busy.", True, 6)
        exchange.error = None
        exchange.now += 1001
        await scene.until(lambda: not scene.resolver.statuses()[0].problem, "the chain is resolved again")


async def test_not_resolved_yet() -> None:
    """Until the first answer there are no contracts, and the status says why."""
    async with running(plan_of(ALL, "MSFT")) as scene:
        scene.exchange.error = ChainUnavailable(ChainFailure.SCOPE, "no scope", "Ask for it.")
        await scene.until(lambda: scene.resolver.statuses()[0].problem, "a failure")
        assert scene.resolver.statuses()[0].is_resolved is False
        assert list(scene.resolver.resolved) == ["MSFT"]
        scene.exchange.error = None
        scene.exchange.now += 301
        await scene.until(lambda: scene.plans, "a plan")


async def test_strikes_follow_the_price_of_the_feed() -> None:
    """Small moves change nothing, and large ones need no request."""
    async with running(plan_of(AROUND)) as scene:
        exchange = scene.exchange
        exchange.strikes = range(80, 121)
        await scene.until(lambda: scene.strikes() == [99, 100, 101, 102], "strikes around the price of the answer")
        exchange.feed_prices["AAPL"] = 101.5
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert len(scene.plans) == 1
        exchange.feed_prices["AAPL"] = 110.5
        await scene.until(lambda: scene.strikes() == [109, 110, 111, 112], "strikes around the new price")
        assert scene.plans[-1].cause == "AAPL: price 110.5"
        exchange.feed_prices["AAPL"] = 100.5
        await scene.until(lambda: scene.strikes() == [99, 100, 101, 102], "strikes around the old price")
        assert len(exchange.requests) == 1


async def test_the_price_runs_beyond_all_strikes() -> None:
    """Then the chain is requested again after some time, until the exchange lists more."""
    async with running(plan_of(AROUND)) as scene:
        exchange = scene.exchange
        exchange.strikes = range(95, 106)
        await scene.until(lambda: scene.plans, "a plan")
        exchange.feed_prices["AAPL"] = 120.5
        await scene.until(lambda: scene.strikes() == [104, 105], "the last strikes")
        exchange.strikes = range(95, 131)
        exchange.now += resolver_module.BEYOND_LISTING_SECONDS + 1
        await scene.until(lambda: scene.strikes() == [119, 120, 121, 122], "strikes that are listed by now")


async def test_the_price_comes_later() -> None:
    """Strikes around an unknown price wait for it."""
    async with running(plan_of(AROUND)) as scene:
        scene.exchange.answer_price = None
        await scene.until(lambda: scene.exchange.requests, "a request")
        await scene.until(lambda: "price" in scene.resolver.statuses()[0].problem, "the price is missing")
        assert not scene.plans
        scene.exchange.feed_prices["AAPL"] = 100.5
        await scene.until(lambda: scene.strikes() == [99, 100, 101], "strikes")
        assert scene.resolver.statuses()[0].is_resolved


async def test_explicit_expirations() -> None:
    """They are requested one by one, without those that have passed, and the price from elsewhere."""
    text = '[{"underlying":"AAPL","expirations":["2026-11-20","2026-12-04"],"strikes":{"around":1}}]'
    async with running(plan_of(text)) as scene:
        await scene.until(lambda: scene.plans, "a plan")
        assert scene.symbols == ["AAPL261204C00100000", "AAPL261204C00101000"]
        assert scene.exchange.requests == [("AAPL", (date(2026, 12, 4),))]


async def test_other_subscriptions() -> None:
    """What is known of a chain stays when the others change; a chain that is gone takes its contracts along."""
    async with running(plan_of(ALL)) as scene:
        await scene.until(lambda: scene.plans, "a plan")
        both = '[{"underlying":"AAPL","expires_within_days":7},{"underlying":"MSFT","expires_within_days":7}]'
        scene.resolver.replace(plan_of(both, "NVDA"))
        assert len(scene.symbols) == 1 + 6
        await scene.until(lambda: len(scene.symbols) == 1 + 12, "the new chain")
        assert [underlying for underlying, _ in scene.exchange.requests] == ["AAPL", "MSFT"]
        scene.resolver.replace(plan_of("[]", "NVDA"))
        assert scene.symbols == ["NVDA"]
        assert not scene.resolver.statuses()


async def test_another_entry_while_the_endpoint_fails() -> None:
    """What is listed of an underlying is known from the entry before, also if the new one cannot be resolved."""
    async with running(plan_of(ALL)) as scene:
        await scene.until(lambda: scene.plans, "a plan")
        scene.exchange.error = ChainUnavailable(ChainFailure.SERVER, "failed")
        scene.resolver.replace(plan_of('[{"underlying":"AAPL","expirations":["2026-12-04"],"max_contracts":2}]'))
        assert scene.symbols == ["AAPL261204C00100000", "AAPL261204C00101000"]
        await scene.until(lambda: scene.resolver.statuses()[0].problem, "a failure")
        assert not scene.resolver.statuses()[0].is_resolved
        assert len(scene.plans) == 2


async def test_requested_by_a_signal() -> None:
    """A request from outside is answered at once, also while a retry waits."""
    async with running(plan_of(ALL)) as scene:
        scene.exchange.error = ChainUnavailable(ChainFailure.BUSY, "busy", retry_after_seconds=1000)
        await scene.until(lambda: scene.resolver.statuses()[0].problem, "a failure")
        scene.exchange.error = None
        scene.resolver.resolve_now("SIGHUP")
        await scene.until(lambda: scene.plans, "a plan")
        assert scene.plans[0].cause == "AAPL: SIGHUP"


async def test_shards_share_a_chain() -> None:
    """Each contract is on one shard, and each shard follows the price of the underlying; one of them publishes it."""
    text = AROUND.replace("}}]", '},"include_underlying":true}]')
    resolved, _, problems = await resolve_once(plan_of(text), Exchange(strikes=range(80, 121)), START)
    assert not problems
    shares = [with_prices(own_share(resolved, [shard], 3)) for shard in range(3)]
    published = [symbol for share in shares for symbol, one in share.items() if one.published]
    assert sorted(published) == sorted(resolved)
    assert all("AAPL" in share for share in shares)
    assert sum(share["AAPL"].published for share in shares) == 1
    assert all(share.events == {EventType.QUOTES, EventType.TRADES} for share in shares)


async def test_resolved_once() -> None:
    """Without a service the plan is resolved once, and each chain that cannot be has its reason."""
    exchange = Exchange(answer_price=None)
    plan, _, problems = await resolve_once(plan_of(AROUND), exchange, START)
    assert "AAPL" in problems
    assert not plan
    exchange.error = ChainUnavailable(ChainFailure.SCOPE, "no scope", "Ask for it.")
    assert (await resolve_once(plan_of(ALL), exchange, START)).problems == {"AAPL": "no scope. Ask for it."}


async def test_too_many_contracts_are_logged_once() -> None:
    """The warning comes when it begins, not with every resolution."""
    with structlog.testing.capture_logs() as logs:
        async with running(plan_of('[{"underlying":"AAPL","expires_within_days":7,"max_contracts":2}]')) as scene:
            await scene.until(lambda: len(scene.symbols) == 2, "the nearest contracts")
            scene.resolver.resolve_now("SIGHUP")
            await scene.until(lambda: len([one for one in logs if one["event"] == "option chain resolved"]) == 2, "two")
    [warning] = [line for line in logs if line["log_level"] == "warning"]
    assert (warning["max_contracts"], warning["left_out"]) == (2, 4)


async def test_too_many_contracts() -> None:
    """The plan has a warning that says what was left out, and what to do."""
    text = '[{"underlying":"AAPL","expires_within_days":7,"max_contracts":2}]'
    plan, _, _ = await resolve_once(plan_of(text), Exchange(), START)
    assert len(plan) == 2
    assert "4 contracts more than its max_contracts (2)" in plan.warnings[0]
