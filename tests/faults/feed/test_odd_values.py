"""Values that feeds are known to send now and then, from the wire to the consumer, in both dialects."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.service import read

if TYPE_CHECKING:
    from tests.faults.feed.scene import Stage

dialects = pytest.mark.parametrize("dialect", ["action", "envelope"])
OPTION = "AAPL240119C00150000"
SETTINGS = {"ARIES_SYMBOLS": f"AAPL,{OPTION}", "ARIES_EVENTS": "quotes,trades,timesales,l2,greeks"}


async def records(stage: Stage, topic: Topic, symbol: str = "AAPL") -> list[dict[str, Any]]:
    found = await read(stage.bootstrap_servers, stage.prefix, topic)
    return [one.record for one in found if one.record["symbol"] == symbol]


@dialects
async def test_odd_values_cost_their_fields_only(dialect: Any, stage: Stage) -> None:
    """Every update is published; what cannot be read is null, and named in ``cleared`` of its record."""
    async with Simulator(dialect=dialect) as simulator:
        async with stage.bridge(simulator, **SETTINGS) as scene:
            await scene.flows(sessions=1)
            before = scene.bridge.accounts.lines_received
            await simulator.inject(faults.OddValues())
            await simulator.emit(200)
            await scene.takes(simulator.sent.lines)
            assert scene.bridge.accounts.lines_received >= before + 200
        assert not scene.bridge.accounts.dead_lettered
        assert not scene.causes
        counts = scene.bridge.ingest.bad_fields.counts
        assert counts[Topic.QUOTES, "askPrice"] == counts[Topic.QUOTES, "askSize"] > 0
        assert counts[Topic.QUOTES, "bidPrice"] == counts[Topic.TRADES, "lastPrice"] == 0
        odd = [quote for quote in await records(stage, Topic.QUOTES) if "ask_price" in quote["cleared"]]
        assert odd
        assert all(set(quote["cleared"]) == {"bid_price", "ask_price", "ask_size"} for quote in odd)
        assert all(quote["bid_size"] is not None for quote in odd)
        assert any(trade["cleared"] == ["last_price"] for trade in await records(stage, Topic.TRADES))
        assert any(one["cleared"] == ["delta"] for one in await records(stage, Topic.GREEKS, OPTION))
    await scene.proof()


@dialects
async def test_fractional_sizes_are_exact(dialect: Any, stage: Stage) -> None:
    """An execution of a fraction of a share, and a volume with one, as number or text."""
    async with Simulator(dialect=dialect) as simulator:
        async with stage.bridge(simulator, **SETTINGS) as scene:
            await scene.flows(sessions=1)
            await simulator.trade("AAPL", lastPrice="1.5", size=0.083, totalVolume="1234567.25")
            await simulator.time_and_sale("AAPL", price="1.5", size="0.083", tradeTimestamp=1764239640123.5)
            await scene.takes(simulator.sent.lines)
        trade = (await records(stage, Topic.TRADES))[-1]
        assert (trade["size"], trade["total_volume"]) == (Decimal("0.083"), Decimal("1234567.25"))
        sale = (await records(stage, Topic.TIMESALES))[-1]
        assert (sale["size"], round(sale["event_time"].timestamp() * 1000)) == (Decimal("0.083"), 1764239640123)
        assert not scene.bridge.accounts.dead_lettered
        assert not scene.bridge.ingest.bad_fields.counts
    await scene.proof()


@dialects
async def test_a_withdrawn_side_and_exchanges_as_numbers(dialect: Any, stage: Stage) -> None:
    """A quote of nulls only reaches consumers, and a number is the text of an exchange."""
    async with Simulator(dialect=dialect) as simulator:
        async with stage.bridge(simulator, **SETTINGS) as scene:
            await scene.flows(sessions=1)
            await simulator.quote("AAPL", bidPrice=None, bidSize=None)
            await simulator.quote("AAPL", askExchange=308, quoteTimestamp="2025-11-27T10:00:00")
            await scene.takes(simulator.sent.lines)
        *_, withdrawn, numbered = await records(stage, Topic.QUOTES)
        assert withdrawn["cleared"] == ["bid_price", "bid_size"]
        assert (numbered["ask_exchange"], numbered["event_time"]) == ("308", None)
        assert numbered["cleared"] == ["event_time"]
        assert dict(scene.bridge.ingest.bad_fields.counts) == {(Topic.QUOTES, "quoteTimestamp"): 1}
    await scene.proof()
