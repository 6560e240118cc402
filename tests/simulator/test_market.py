from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator.data_kinds import KINDS_OF, QUOTE_FIELDS, TRADE_FIELDS, DataKind, symbol_class
from bridge.simulator.feed_timestamps import iso_with_offset
from bridge.simulator.market import Market, MarketEvent

OPTION = "AAPL240119C00150000"
EVERYTHING = {"AAPL": frozenset(DataKind), "SPX": frozenset(DataKind), OPTION: frozenset(DataKind)}
ONE_KIND_EACH = {"AAPL": frozenset({DataKind.QUOTE}), "MSFT": frozenset({DataKind.TIME_AND_SALES})}
NOON_MS = 1_750_838_400_000


def events(
    count: int, *, seed: int = 7, now_ms: int = NOON_MS, subscriptions: dict[str, frozenset[DataKind]] | None = None
) -> list[MarketEvent]:
    market = Market(seed=seed)
    market.set_subscriptions(subscriptions or EVERYTHING)
    made = [market.next_event(now_ms) for _ in range(count)]
    return [event for event in made if event is not None]


def of_kind(kind: DataKind, made: list[MarketEvent], symbol: str = "AAPL") -> list[MarketEvent]:
    return [event for event in made if event.kind is kind and event.symbol == symbol]


def test_same_seed_same_market() -> None:
    """The same seed generates the same events, and another seed others."""
    assert events(500) == events(500)
    assert events(500) != events(500, seed=8)


def test_the_clock_changes_only_timestamps() -> None:
    """Two runs at different times differ only in their timestamps."""

    def without_timestamps(made: list[MarketEvent]) -> list[object]:
        return [
            (event.kind, event.symbol, {n: v for n, v in event.fields.items() if "Timestamp" not in n})
            for event in made
        ]

    assert without_timestamps(events(500)) == without_timestamps(events(500, now_ms=NOON_MS + 86_400_000))


def test_only_subscribed_data_is_generated() -> None:
    """A market generates only the kinds and symbols that are subscribed."""
    made = events(
        200, subscriptions={"AAPL": frozenset({DataKind.QUOTE}), "MSFT": frozenset({DataKind.TIME_AND_SALES})}
    )
    assert {(event.symbol, event.kind) for event in made} == {
        ("AAPL", DataKind.QUOTE),
        ("MSFT", DataKind.TIME_AND_SALES),
    }


def test_no_events_without_subscriptions() -> None:
    """Without subscriptions there are no events."""
    assert Market(seed=1).next_event(NOON_MS) is None


@pytest.mark.parametrize("symbol", EVERYTHING)
def test_each_class_of_symbol_has_its_kinds(symbol: str) -> None:
    """Equities have no greeks, indices only trades, and options every kind."""
    kinds = {event.kind for event in events(300, subscriptions={symbol: frozenset(DataKind)})}
    assert kinds == KINDS_OF[symbol_class(symbol)]


def test_full_events_have_all_fields() -> None:
    """A quote and a trade have every field of the vendor's table."""
    made = events(400)
    quote = of_kind(DataKind.QUOTE, made, OPTION)[0]
    trade = of_kind(DataKind.TRADE, made, OPTION)[0]
    assert quote.fields.keys() - {"instrumentType"} == QUOTE_FIELDS
    assert trade.fields.keys() - {"instrumentType"} == TRADE_FIELDS - {"dividend"}


@given(seed=st.integers(0, 2**32), symbol=st.from_regex(r"\A[A-Z]{1,5}\Z"))
def test_quotes_are_plausible(seed: int, symbol: str) -> None:
    """The bid is below the ask, above zero, and a multiple of the symbol's tick."""
    for event in events(30, seed=seed, subscriptions={symbol: frozenset({DataKind.QUOTE})}):
        ask, bid = event.fields["askPrice"], event.fields["bidPrice"]
        assert isinstance(ask, Decimal)
        assert isinstance(bid, Decimal)
        assert 0 < bid < ask
        assert ask.as_tuple().exponent == bid.as_tuple().exponent
        assert ask.as_tuple().exponent in (-2, -4)


def test_trades_add_up() -> None:
    """Sequence numbers increase by one, the volume is the sum of sizes, and the price is in the day's range."""
    trades = [event.fields for event in of_kind(DataKind.TRADE, events(2000))]
    assert [trade["tradeSeq"] for trade in trades] == list(range(1, len(trades) + 1))
    for before, after in pairwise(trades):
        assert after["totalVolume"] == before["totalVolume"] + after["size"]  # type: ignore[operator]  # integers
        assert after["lowPrice"] <= after["lastPrice"] <= after["highPrice"]  # type: ignore[operator]  # decimals


def test_a_time_and_sale_belongs_to_its_trade() -> None:
    """Each time-and-sales entry has the price, size and sequence number of the trade before it."""
    made = events(500, subscriptions={"AAPL": frozenset({DataKind.TRADE, DataKind.TIME_AND_SALES})})
    for trade, sale in zip(made[::2], made[1::2], strict=True):
        assert (trade.kind, sale.kind) == (DataKind.TRADE, DataKind.TIME_AND_SALES)
        assert sale.fields.items() <= trade.fields.items()


def test_level2_rows_have_the_vendors_format() -> None:
    """Book rows are ask size, price, bid size; exchange rows begin with the exchange; some sides are empty."""
    rows: list[str] = []
    quotes: list[str] = []
    for event in of_kind(DataKind.LEVEL2, events(2000)):
        rows += event.fields["orderBook"]  # type: ignore[arg-type]  # a list of strings
        quotes += event.fields["quotes"]  # type: ignore[arg-type]  # likewise
    assert all(re.fullmatch(r"\d*:\d+\.\d{2,4}:\d*", row) for row in rows)
    assert all(re.fullmatch(r"[A-Z]+:[\d.]*:\d*:[\d.]*:\d*", row) for row in quotes)
    assert any(row.startswith(":") for row in rows)
    assert any(row.endswith(":0") for row in rows)
    assert any("::" in row for row in quotes)


def test_book_has_five_levels() -> None:
    """A book has five rows on each side."""
    market = Market(seed=1)
    assert len(market.make_event("AAPL", DataKind.LEVEL2, NOON_MS).fields["orderBook"]) == 10  # type: ignore[arg-type]  # a list


def test_greeks_are_plausible() -> None:
    """A call's delta is between 0 and 1, a put's between -1 and 0, and both lose value with time."""
    put = OPTION.replace("C0", "P0")
    made = events(300, subscriptions={OPTION: frozenset({DataKind.GREEKS}), put: frozenset({DataKind.GREEKS})})
    for event in made:
        delta, theta = event.fields["delta"], event.fields["theta"]
        assert isinstance(delta, float)
        assert isinstance(theta, float)
        assert 0 < (delta if event.symbol == OPTION else -delta) < 1
        assert theta < 0.05


def test_changed_fields_are_the_changed_ones() -> None:
    """An event's changed fields are those whose values differ from before."""
    quotes = of_kind(DataKind.QUOTE, events(400))
    for before, after in pairwise(quotes):
        assert after.before == before.fields
        assert {**before.fields, **after.changed} == after.fields
        assert "instrumentType" not in after.changed


def test_a_busy_market_is_mostly_quotes() -> None:
    """Quotes outnumber every other kind of event."""
    counts = Counter(event.kind for event in events(2000, subscriptions={"AAPL": frozenset(DataKind)}))
    assert counts.most_common(1)[0][0] is DataKind.QUOTE


def test_timestamps_have_the_vendors_format() -> None:
    """Quote and trade timestamps are ISO 8601 with milliseconds and a UTC offset."""
    assert iso_with_offset(1_750_839_134_327) == "2025-06-25T04:12:14.327-04:00"
