"""The library's states are those of the market, whatever happens between the feed and the consumer."""

from __future__ import annotations

import re
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from bridge.consumer import MarketView, Missed
from bridge.market_data import UpdateKind
from bridge.serialization.field_mappings import FIELD_MAPPINGS
from bridge.simulator.data_kinds import DataKind
from bridge.simulator.market import Market
from bridge.topics import MARKET_DATA, Topic
from tests.consumer.records import record
from tests.pipeline.test_ingest import Table
from tests.pipeline.test_pipeline_properties import Core, Stream, decoded
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from bridge.pipeline.partition_queue import Record

SYMBOLS: Final = ("AAPL", "MSFT")
PRICES: Final = st.none() | st.sampled_from(["1.5", "2.25", "0.000000001"])
UPDATES: Final = st.dictionaries(st.sampled_from(["bidPrice", "askPrice", "bidChange", "askExchange"]), PRICES)
OF_THE_RECORD: Final = {"symbol", "ingest_time_us", "session_id", "seq", "after_gap", "cleared"}
#: Some fields of each kind, and the topic of their records.
FIELDS: Final = {
    UpdateKind.QUOTE: (Topic.QUOTES, ("bidPrice", "askPrice")),
    UpdateKind.TRADE: (Topic.TRADES, ("lastPrice", "openPrice", "size", "totalVolume", "netChange")),
    UpdateKind.GREEKS: (Topic.GREEKS, ("delta", "gamma", "impliedVolatility")),
}
#: The functions of avro/README.md that build states.
CONTRACT: Final[dict[str, Any]] = {}
for _example in re.findall(r"```python\n(.*?)```", (ROOT / "avro" / "README.md").read_text("utf-8"), re.DOTALL)[:2]:
    exec(_example, CONTRACT)


def updates(kind: UpdateKind) -> st.SearchStrategy[tuple[UpdateKind, str, dict[str, str | None]]]:
    """Return updates of a kind, of any of its fields."""
    values = st.none() | st.sampled_from(["0.5", "1.25"])
    fields = st.dictionaries(st.sampled_from(FIELDS[kind][1]), values)
    return st.tuples(st.just(kind), st.sampled_from(SYMBOLS), fields)


class ConsumedCore(Core):
    """The pipeline with the library behind it, which gets some records again."""

    def __init__(self) -> None:
        super().__init__()
        self.view = MarketView()
        self.arrived: list[tuple[Topic, dict[str, Any]]] = []

    @precondition(lambda self: self.arrived)
    @rule(count=st.integers(1, 6))
    def repeat(self, count: int) -> None:
        """Let the newest records come again, as after a replaced producer: nothing comes of it."""
        ignored = self.view.repeats + self.view.outdated
        for topic, again in self.arrived[-count:]:
            assert self.view.take(topic, again, 0) == []
        assert self.view.repeats + self.view.outdated == ignored + len(self.arrived[-count:])

    def arrive(self, topic: Topic, record: Record) -> None:
        super().arrive(topic, record)
        if topic not in MARKET_DATA:
            return
        found = decoded(topic, record[2])
        self.arrived.append((topic, found))
        events = self.view.take(topic, found, 0)
        assert not any(isinstance(event, Missed) for event in events), "the bridge marks what is lost"
        state = self.view.state(topic, found["symbol"])
        assert state is not None
        assert state.is_complete
        if topic is Topic.QUOTES:
            stream: Stream = found["session_id"], topic, found["symbol"]
            assert state.fields == self.truth(stream, found["seq"])


TestConsumedCore = ConsumedCore.TestCase
TestConsumedCore.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)


@given(updates=st.lists(st.tuples(UPDATES, st.booleans()), min_size=1, max_size=12))
def test_the_state_of_quotes_is_that_of_the_contract(updates: list[tuple[dict[str, object], bool]]) -> None:
    """For any updates the library and the function in avro/README.md know the same of a symbol."""
    view = MarketView()
    contract: dict[str, Any] = {}
    for seq, (fields, after_gap) in enumerate(updates):
        quote = record(Topic.QUOTES, fields, seq=seq, after_gap=after_gap or not seq)
        view.take(Topic.QUOTES, quote, 0)
        contract = CONTRACT["apply"](contract, quote)
        state = view.state(Topic.QUOTES, "AAPL")
        assert state is not None
        assert state.fields == _market_fields(contract)


@given(
    steps=st.lists(st.sampled_from(sorted(FIELDS)).flatmap(updates), max_size=25),
    conflate_ms=st.sampled_from([0, 10]),
)
async def test_states_of_all_kinds_are_those_of_the_feed(
    steps: list[tuple[UpdateKind, str, dict[str, str | None]]], conflate_ms: int
) -> None:
    """Quotes, trades and greeks that went through the pipeline, merged or not, add up to what the feed has sent."""
    table, view = Table(conflate_ms=conflate_ms), MarketView()
    truth: dict[tuple[Topic, str], dict[str, Any]] = defaultdict(dict)
    for number, (kind, symbol, fields) in enumerate(steps):
        topic = FIELDS[kind][0]
        mappings = FIELD_MAPPINGS[topic]
        table.take(kind, symbol, at_us=number * 1_000, **fields)
        known = truth[topic, symbol] | {mappings[name].record_field: value for name, value in fields.items()}
        truth[topic, symbol] = {name: value for name, value in known.items() if value is not None}
    table.ingest.release_all(1_000_000)
    for topic, _ in FIELDS.values():
        contract: dict[str, dict[str, Any]] = defaultdict(dict)
        for one in await table.waiting(topic):
            view.take(topic, one, 0)
            contract[one["symbol"]] = CONTRACT["apply"](contract[one["symbol"]], one)
        for state in view.states(topic):
            assert state.fields == _market_fields(contract[state.symbol])
            assert {name: Decimal(str(value)) for name, value in state.fields.items()} == {
                name: Decimal(value) for name, value in truth[topic, state.symbol].items()
            }
            assert state.is_complete
    assert {place for place, known in truth.items() if known} <= {
        (topic, state.symbol) for topic, _ in FIELDS.values() for state in view.states(topic)
    }


@given(
    seed=st.integers(0, 50),
    is_full=st.sampled_from([True, False, None]),
    steps=st.lists(st.tuples(st.sampled_from(SYMBOLS), st.booleans()), min_size=1, max_size=60),
)
def test_books_are_those_of_the_simulated_market(
    *,
    seed: int,
    is_full: bool | None,
    steps: list[tuple[str, bool]],
) -> None:
    """Whether messages have all rows or the changes, the library's books are the market's and the contract's."""
    market, view = Market(seed=seed, level2_changes=is_full is False), MarketView()
    contract: dict[str, Any] = {symbol: {} for symbol in SYMBOLS}
    seqs = dict.fromkeys(SYMBOLS, 0)
    for symbol, is_quoted in steps:
        if is_quoted:  # the price moves between two books
            market.make_event(symbol, DataKind.QUOTE, 0)
        fields = market.make_event(symbol, DataKind.LEVEL2, 0).fields
        message = record(Topic.L2, dict(fields), seq=seqs[symbol], symbol=symbol, is_full=is_full)
        seqs[symbol] += 1
        view.take(Topic.L2, message, 0)
        contract[symbol] = CONTRACT["apply_level2"](contract[symbol], message)
        state, instrument = view.state(Topic.L2, symbol), market.instrument(symbol)
        assert state is not None
        truth = record(
            Topic.L2, {"orderBook": [*instrument._book.values()], "quotes": [*instrument._exchanges.values()]}
        )
        assert state.book.levels == _by("price", truth["book"]) == contract[symbol]["book"]
        assert state.book.exchanges == _by("exchange", truth["quotes"]) == contract[symbol]["quotes"]
        assert [row["price"] for row in state.book.bids] == sorted(
            (row["price"] for row in state.book.levels.values() if row["bid_size"]), reverse=True
        )
        assert state.book.asks[0]["price"] > state.book.bids[0]["price"]


def _market_fields(state: dict[str, Any]) -> dict[str, Any]:
    """Return what a state of the contract says of the market."""
    return {name: value for name, value in state.items() if value is not None and name not in OF_THE_RECORD}


def _by(key: str, rows: Any) -> dict[Any, Any]:
    return {row[key]: row for row in rows}
