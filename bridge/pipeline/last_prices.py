"""The last prices of a few symbols, which their option chains follow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from bridge.market_data import JsonObject, Update

#: Fields with the price of an execution, and those of a quote, whose middle counts before the first execution.
_PRICES: Final = ("lastPrice", "price")
_BID, _ASK = "bidPrice", "askPrice"
#: A quote that is wider, as before the open, says nothing about the price.
_MAX_SPREAD: Final = 0.05


class LastPrices:
    """The last price of each symbol that is followed: of its executions, or of its quotes while there was none."""

    def __init__(self) -> None:
        self._followed: frozenset[str] = frozenset()
        self._traded: dict[str, float] = {}
        self._quoted: dict[str, float] = {}

    def follow(self, symbols: Collection[str]) -> None:
        """Follow these symbols from now on, and no others."""
        self._followed = frozenset(symbols)
        for prices in (self._traded, self._quoted):
            for symbol in prices.keys() - self._followed:
                del prices[symbol]

    def get(self, symbol: str) -> float | None:
        """Return the last price of a symbol, None if there is none."""
        return self._traded.get(symbol) or self._quoted.get(symbol)

    def observe(self, update: Update) -> None:
        """Take the price out of an update if its symbol is followed."""
        symbol = update.symbol
        if symbol not in self._followed:
            return
        if (price := _traded(update.fields)) is not None:
            self._traded[symbol] = price
        elif symbol not in self._traded and (price := _middle(update.fields)) is not None:
            self._quoted[symbol] = price


def _traded(fields: JsonObject) -> float | None:
    return next((price for name in _PRICES if (price := _number(fields.get(name))) is not None), None)


def _middle(fields: JsonObject) -> float | None:
    bid, ask = _number(fields.get(_BID)), _number(fields.get(_ASK))
    if bid is None or ask is None:
        return None
    middle = (bid + ask) / 2
    return middle if 0 <= ask - bid <= _MAX_SPREAD * middle else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None
