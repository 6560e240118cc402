"""The library's states are those of the market, whatever happens between the feed and the consumer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from bridge.consumer import MarketView, Missed
from bridge.simulator.data_kinds import DataKind
from bridge.simulator.market import Market
from bridge.topics import MARKET_DATA, Topic
from tests.consumer.records import record
from tests.pipeline.test_pipeline_properties import Core, Stream, decoded
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from bridge.pipeline.partition_queue import Record

SYMBOLS: Final = ("AAPL", "MSFT")
PRICES: Final = st.none() | st.sampled_from(["1.5", "2.25", "0.000000001"])
UPDATES: Final = st.dictionaries(st.sampled_from(["bidPrice", "askPrice", "bidChange", "askExchange"]), PRICES)
OF_THE_RECORD: Final = {"symbol", "ingest_time_us", "session_id", "seq", "after_gap", "cleared"}
#: The functions of avro/README.md that build states.
CONTRACT: Final[dict[str, Any]] = {}
for _example in re.findall(r"```python\n(.*?)```", (ROOT / "avro" / "README.md").read_text("utf-8"), re.DOTALL)[:2]:
    exec(_example, CONTRACT)


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
        assert state.fields == {
            name: value for name, value in contract.items() if value is not None and name not in OF_THE_RECORD
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


def _by(key: str, rows: Any) -> dict[Any, Any]:
    return {row[key]: row for row in rows}
