from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator.clocks import iso_with_offset, timestamp_writer
from bridge.simulator.fields import KINDS_OF, QUOTE_FIELDS, TRADE_FIELDS, Kind, symbol_class
from bridge.simulator.market import Market, MarketEvent

OPTION = "AAPL240119C00150000"
EVERYTHING = {"AAPL": frozenset(Kind), "SPX": frozenset(Kind), OPTION: frozenset(Kind)}
NOON_MS = 1_750_838_400_000


def events(
    count: int, *, seed: int = 7, now_ms: int = NOON_MS, follow: dict[str, frozenset[Kind]] | None = None
) -> list[MarketEvent]:
    market = Market(seed=seed, stamp=iso_with_offset)
    market.follow(follow or EVERYTHING)
    made = [market.next(now_ms) for _ in range(count)]
    return [event for event in made if event is not None]


def of_kind(kind: Kind, made: list[MarketEvent], symbol: str = "AAPL") -> list[MarketEvent]:
    return [event for event in made if event.kind is kind and event.symbol == symbol]


def test_same_seed_same_market() -> None:
    """The same seed makes the same events, another seed makes others."""
    assert events(500) == events(500)
    assert events(500) != events(500, seed=8)


def test_the_clock_changes_only_timestamps() -> None:
    """Two runs at different times differ in their timestamps alone."""

    def without_stamps(made: list[MarketEvent]) -> list[object]:
        return [
            (event.kind, event.symbol, {n: v for n, v in event.fields.items() if "Timestamp" not in n})
            for event in made
        ]

    assert without_stamps(events(500)) == without_stamps(events(500, now_ms=NOON_MS + 86_400_000))


def test_only_what_is_followed_happens() -> None:
    """A market makes just the kinds and symbols that somebody follows."""
    made = events(200, follow={"AAPL": frozenset({Kind.QUOTE}), "MSFT": frozenset({Kind.TIME_AND_SALES})})
    assert {(event.symbol, event.kind) for event in made} == {
        ("AAPL", Kind.QUOTE),
        ("MSFT", Kind.TIME_AND_SALES),
    }


def test_nobody_follows_nothing_happens() -> None:
    """Without followers there is no event."""
    assert Market(seed=1, stamp=iso_with_offset).next(NOON_MS) is None


@pytest.mark.parametrize("symbol", EVERYTHING)
def test_each_class_of_symbol_has_its_kinds(symbol: str) -> None:
    """Equities have no greeks, indices only trades, options everything."""
    kinds = {event.kind for event in events(300, follow={symbol: frozenset(Kind)})}
    assert kinds == KINDS_OF[symbol_class(symbol)]


def test_full_events_have_all_fields() -> None:
    """A quote and a trade carry every field that the vendor's table has for them."""
    made = events(400)
    quote = of_kind(Kind.QUOTE, made, OPTION)[0]
    trade = of_kind(Kind.TRADE, made, OPTION)[0]
    assert quote.fields.keys() - {"instrumentType"} == QUOTE_FIELDS
    assert trade.fields.keys() - {"instrumentType"} == TRADE_FIELDS - {"dividend"}


@given(seed=st.integers(0, 2**32), symbol=st.from_regex(r"\A[A-Z]{1,5}\Z"))
def test_quotes_are_sane(seed: int, symbol: str) -> None:
    """The bid stays below the ask, above zero, and on the symbol's tick."""
    for event in events(30, seed=seed, follow={symbol: frozenset({Kind.QUOTE})}):
        ask, bid = event.fields["askPrice"], event.fields["bidPrice"]
        assert isinstance(ask, Decimal)
        assert isinstance(bid, Decimal)
        assert 0 < bid < ask
        assert ask.as_tuple().exponent == bid.as_tuple().exponent
        assert ask.as_tuple().exponent in (-2, -4)


def test_trades_add_up() -> None:
    """Sequence numbers count up by one, the volume is the sum of sizes, and the day's range holds the price."""
    trades = [event.fields for event in of_kind(Kind.TRADE, events(2000))]
    assert [trade["tradeSeq"] for trade in trades] == list(range(1, len(trades) + 1))
    for before, after in pairwise(trades):
        assert after["totalVolume"] == before["totalVolume"] + after["size"]  # type: ignore[operator]  # integers
        assert after["lowPrice"] <= after["lastPrice"] <= after["highPrice"]  # type: ignore[operator]  # decimals


def test_a_sale_belongs_to_its_trade() -> None:
    """Each entry of time and sales has the price, size and number of the trade before it."""
    made = events(500, follow={"AAPL": frozenset({Kind.TRADE, Kind.TIME_AND_SALES})})
    for trade, sale in zip(made[::2], made[1::2], strict=True):
        assert (trade.kind, sale.kind) == (Kind.TRADE, Kind.TIME_AND_SALES)
        assert sale.fields.items() <= trade.fields.items()


def test_level2_rows_have_the_vendors_form() -> None:
    """Book rows are ask size, price, bid size; exchange rows name the exchange; sides are missing now and then."""
    rows: list[str] = []
    quotes: list[str] = []
    for event in of_kind(Kind.LEVEL2, events(2000)):
        rows += event.fields["orderBook"]  # type: ignore[arg-type]  # a list of strings
        quotes += event.fields["quotes"]  # type: ignore[arg-type]  # likewise
    assert all(re.fullmatch(r"\d*:\d+\.\d{2,4}:\d*", row) for row in rows)
    assert all(re.fullmatch(r"[A-Z]+:[\d.]*:\d*:[\d.]*:\d*", row) for row in quotes)
    assert any(row.startswith(":") for row in rows)
    assert any(row.endswith(":0") for row in rows)
    assert any("::" in row for row in quotes)


def test_book_has_so_many_levels() -> None:
    """A book has as many rows on each side as was asked for."""
    market = Market(seed=1, stamp=iso_with_offset, levels=8)
    assert len(market.move("AAPL", Kind.LEVEL2, NOON_MS).fields["orderBook"]) == 16  # type: ignore[arg-type]  # a list


def test_greeks_are_plausible() -> None:
    """A call's delta lies between 0 and 1, a put's between -1 and 0, and both lose value with time."""
    put = OPTION.replace("C0", "P0")
    made = events(300, follow={OPTION: frozenset({Kind.GREEKS}), put: frozenset({Kind.GREEKS})})
    for event in made:
        delta, theta = event.fields["delta"], event.fields["theta"]
        assert isinstance(delta, float)
        assert isinstance(theta, float)
        assert 0 < (delta if event.symbol == OPTION else -delta) < 1
        assert theta < 0.05


def test_changed_fields_are_the_changed_ones() -> None:
    """An event tells which of its fields are new."""
    quotes = of_kind(Kind.QUOTE, events(400))
    for before, after in pairwise(quotes):
        assert after.before == before.fields
        assert {**before.fields, **after.changed} == after.fields
        assert "instrumentType" not in after.changed


def test_a_busy_market_is_mostly_quotes() -> None:
    """Quotes outnumber every other kind of event."""
    counts = Counter(event.kind for event in events(2000, follow={"AAPL": frozenset(Kind)}))
    assert counts.most_common(1)[0][0] is Kind.QUOTE


@pytest.mark.parametrize(
    ("style", "written"),
    [
        ("iso", "2025-06-25T04:12:14.327-04:00"),
        ("ms", 1_750_839_134_327),
        ("us", 1_750_839_134_327_000),
        ("ns", 1_750_839_134_327_000_000),
    ],
)
def test_timestamps_in_every_style(style: str, written: object) -> None:
    """Timestamps are written as the vendor shows them, or as integers of the unit asked for."""
    assert timestamp_writer(style)(1_750_839_134_327) == written  # type: ignore[arg-type]  # parametrised
