"""The last prices of underlyings: of executions, else of quotes that are not too wide, and of no other symbol."""

from __future__ import annotations

import pytest

from bridge.market_data import Update, UpdateKind
from bridge.pipeline.last_prices import LastPrices


def observed(*updates: dict[str, object], symbol: str = "AAPL") -> float | None:
    """Return the last price after updates with these fields."""
    prices = LastPrices()
    prices.follow({"AAPL"})
    for fields in updates:
        prices.observe(Update(UpdateKind.COMPOSITE, symbol, fields))
    return prices.get(symbol)


@pytest.mark.parametrize(
    ("fields", "price"),
    [
        ({"lastPrice": "212.50", "price": 1}, 212.5),
        ({"price": 212}, 212),
        ({"bidPrice": "99.5", "askPrice": 100.5}, 100),
        ({"bidPrice": 90, "askPrice": 110}, None),
        ({"bidPrice": 101, "askPrice": 100}, None),
        ({"bidPrice": 100}, None),
        ({"price": "N/A"}, None),
        ({"price": -1}, None),
        ({"price": "NaN"}, None),
        ({"price": True}, None),
        ({"price": 10**400}, None),
        ({"size": 100}, None),
    ],
)
def test_prices(fields: dict[str, object], price: float | None) -> None:
    """What is no price of any use is none."""
    assert observed(fields) == price


def test_executions_come_before_quotes() -> None:
    """Once there was an execution, quotes no longer count."""
    assert observed({"bidPrice": 99, "askPrice": 101}, {"price": 105}, {"bidPrice": 99, "askPrice": 101}) == 105


def test_only_what_is_followed() -> None:
    """Other symbols are not looked at, and one that is no longer followed is forgotten."""
    assert observed({"price": 105}, symbol="MSFT") is None
    prices = LastPrices()
    prices.follow({"AAPL"})
    prices.observe(Update(UpdateKind.TRADE, "AAPL", {"price": 105}))
    prices.follow(())
    assert prices.get("AAPL") is None
