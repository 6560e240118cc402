"""The options that are listed at the moment: weekly expirations by the clock, and strikes around the price."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from bridge.simulator.data_kinds import OPTION_SYMBOL, SymbolClass, symbol_class

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from bridge.simulator.feed_timestamps import Clock
    from bridge.simulator.market import Market

_EXCHANGE: Final = "America/New_York"
_FRIDAY: Final = 4
_WEEKS: Final = 8
#: Strikes are listed this far from the price, on both sides, and stay listed when the price has moved on.
_RANGE: Final = 0.2
_STEPS: Final = ((25, 0.5), (100, 1.0), (250, 2.5), (1000, 5.0))
_LARGEST_STEP: Final = 25.0


class ListedOption(NamedTuple):
    """One listed option."""

    symbol: str
    expiration: date
    call: bool
    strike: float


class OptionChains:
    """The listed options of every underlying.

    ``list_only`` sets what is listed for an underlying from now on; what has expired by the clock is never listed.
    """

    def __init__(self, market: Market, clock: Clock, existing: Collection[str] | None = None) -> None:
        """Generate the options, or list only the ``existing`` symbols."""
        self._market = market
        self._clock = clock
        self._existing = existing
        self._given: dict[str, tuple[str, ...]] = {}
        self._ranges: dict[str, tuple[float, float]] = {}

    @property
    def today(self) -> date:
        """Return the date at the exchange."""
        return datetime.fromtimestamp(self._clock() / 1000, UTC).astimezone(ZoneInfo(_EXCHANGE)).date()

    def list_only(self, underlying: str, symbols: Iterable[str]) -> None:
        """List these options of an underlying from now on, instead of generated ones."""
        self._given[underlying] = tuple(symbols)

    def price(self, underlying: str) -> float:
        """Return the present price of an underlying."""
        return self._market.instrument(underlying).price

    def listed(self, underlying: str) -> list[ListedOption]:
        """Return the options of an underlying that are listed now, in the order of their symbols."""
        if symbol_class(underlying) is SymbolClass.OPTION:
            return []
        if underlying in self._given:
            symbols: Iterable[str] = self._given[underlying]
        elif self._existing is not None:
            symbols = [symbol for symbol in self._existing if _root(symbol) == underlying]
        else:
            symbols = self._generated(underlying)
        today = self.today
        options = [_option(symbol) for symbol in sorted(set(symbols))]
        return [option for option in options if option.expiration >= today]

    def _generated(self, underlying: str) -> list[str]:
        today = self.today
        friday = today + timedelta(days=(_FRIDAY - today.weekday()) % 7)
        strikes = self._strikes(underlying)
        return [
            f"{underlying}{friday + timedelta(weeks=week):%y%m%d}{right}{round(strike * 1000):08d}"
            for week in range(_WEEKS)
            for strike in strikes
            for right in "CP"
        ]

    def _strikes(self, underlying: str) -> list[float]:
        price = self.price(underlying)
        low, high = self._ranges.get(underlying, (price, price))
        low, high = min(low, price * (1 - _RANGE)), max(high, price * (1 + _RANGE))
        self._ranges[underlying] = low, high
        step = next((step for limit, step in _STEPS if low < limit), _LARGEST_STEP)
        return [number * step for number in range(max(1, int(low / step)), int(high / step) + 1)]


def _root(symbol: str) -> str | None:
    terms = OPTION_SYMBOL.fullmatch(symbol)
    return terms["root"] if terms else None


def _option(symbol: str) -> ListedOption:
    terms = OPTION_SYMBOL.fullmatch(symbol)
    assert terms is not None
    expiry = terms["expiry"]
    expiration = date(2000 + int(expiry[:2]), int(expiry[2:4]), int(expiry[4:]))
    return ListedOption(symbol, expiration, terms["right"] == "C", int(terms["strike"]) / 1000)
