"""One symbol's made-up trading day: a random walk and all that is quoted around it."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Final, TypeVar

from bridge.simulator.black_scholes import Valuation, valuation
from bridge.simulator.fields import OPTION_SYMBOL, Kind, SymbolClass, symbol_class

Fields = dict[str, object]
_T = TypeVar("_T")

_EXCHANGES: Final = ("NSDQ", "ARCX", "BATS", "EDGX", "IEXG", "NYSE")
#: Where well-known symbols open, in cents; others open where their seed says.
_OPENINGS: Final = {
    "AAPL": 21_250,
    "MSFT": 49_710,
    "NVDA": 15_480,
    "AMZN": 21_920,
    "GOOGL": 17_840,
    "META": 71_230,
    "TSLA": 32_260,
    "SPY": 60_910,
    "SPX": 609_500,
    "NDX": 2_219_000,
    "DJI": 4_298_000,
    "VIX": 1_680,
}
_HALF_SPREADS: Final = (1, 1, 1, 2, 3)
_TICKS_AWAY: Final = (0, 0, 1, 2)
_TRADE_SIZES: Final = (1, 5, 10, 50, 100, 100, 100, 200, 300, 500)
_CENT: Final = Decimal("0.01")
_HUNDREDTH_CENT: Final = Decimal("0.0001")
_SHARE_OF_SUB_DOLLAR: Final = 0.1


class Instrument:
    """Walk one symbol's market; prices are whole ticks inside and exact decimals outside.

    The walk depends on the seed and on the calls made, never on a clock.
    """

    def __init__(self, symbol: str, seed: int) -> None:
        self.symbol = symbol
        self.symbol_class = symbol_class(symbol)
        self.state: dict[Kind, Fields] = {}
        self._random = random.Random(f"{seed}/{symbol}")  # noqa: S311 - a market, not a secret
        self._rows: dict[str, str] = {}
        self._uniform = self._random.random
        self._option = _Option(symbol, self._random) if self.symbol_class is SymbolClass.OPTION else None
        self._tick, self._digits, self._mid = self._opening()
        self._session = _Session(self._mid, self._random)
        self._ask, self._bid = self._mid + 1, max(self._mid - 1, 1)
        self._ask_size, self._bid_size = self._lots(), self._lots()

    def _opening(self) -> tuple[Decimal, int, int]:
        if self._option:
            return _CENT, 2, self._option.cents()
        if cents := _OPENINGS.get(self.symbol):
            return _CENT, 2, cents
        # Rule 612 of Regulation NMS: below one dollar, quotes move by a hundredth of a cent.
        if self.symbol_class is SymbolClass.EQUITY and self._uniform() < _SHARE_OF_SUB_DOLLAR:
            return _HUNDREDTH_CENT, 4, self._random.randrange(1_500, 9_500)
        return _CENT, 2, self._random.randrange(800, 60_000)

    def quote(self, stamp: object) -> Fields:
        """Move the market and quote it anew."""
        self._walk()
        ask_before, bid_before = self._ask, self._bid
        ask_size_before, bid_size_before = self._ask_size, self._bid_size
        half = self._one_of(_HALF_SPREADS)
        self._ask, self._bid = self._mid + half, max(self._mid - half, 1)
        self._ask_size, self._bid_size = self._lots(), self._lots()
        return self._now(
            Kind.QUOTE,
            {
                "askPrice": self._price(self._ask),
                "askSize": self._ask_size,
                "askExchange": self._one_of(_EXCHANGES),
                "askChange": self._price(self._ask - ask_before),
                "askSizeChange": self._ask_size - ask_size_before,
                "bidPrice": self._price(self._bid),
                "bidSize": self._bid_size,
                "bidExchange": self._one_of(_EXCHANGES),
                "bidChange": self._price(self._bid - bid_before),
                "bidSizeChange": self._bid_size - bid_size_before,
                "quoteTimestamp": stamp,
                "instrumentType": self._instrument_type,
            },
        )

    def trade(self, stamp: object) -> tuple[Fields, Fields]:
        """Execute one trade; return the trade's fields and those of time and sales."""
        price, size = self._execution()
        session = self._session
        tick = session.record(price, size)
        sale: Fields = {
            "price": self._price(price),
            "size": size,
            "tradeExchange": self._one_of(_EXCHANGES),
            "tradeTimestamp": stamp,
            "tradeSeq": session.sequence,
            "tick": tick,
        }
        trade = {
            "lastPrice": sale["price"],
            **sale,
            "totalVolume": session.volume,
            "tickVolume": session.trades,
            "openPrice": self._price(session.opened),
            "highPrice": self._price(session.high),
            "lowPrice": self._price(session.low),
            "netChange": self._price(price - session.closed_before),
            "high52Week": self._price(session.year_high),
            "low52Week": self._price(session.year_low),
            **self._extras(),
            "instrumentType": self._instrument_type,
        }
        return self._now(Kind.TRADE, trade), self._now(Kind.TIME_AND_SALES, sale)

    def level2(self, levels: int) -> Fields:
        """Return a book of some levels on each side, and one row for each exchange."""
        asks = [self._book_row(self._ask + depth, ask=True) for depth in reversed(range(levels))]
        bids = [self._book_row(max(self._bid - depth, 1), ask=False) for depth in range(levels)]
        return self._now(
            Kind.LEVEL2,
            {"orderBook": asks + bids, "quotes": self._exchange_rows()},
        )

    def _exchange_rows(self) -> list[str]:
        """Return a row for each exchange, of which one or two have quoted anew."""
        for exchange in _EXCHANGES if not self._rows else (self._one_of(_EXCHANGES), self._one_of(_EXCHANGES)):
            self._rows[exchange] = self._exchange_row(exchange)
        return list(self._rows.values())

    def greeks(self) -> Fields:
        """Move the underlying and return the option's sensitivities."""
        option = self._option
        assert option is not None
        self._walk()
        worth = option.worth()
        return self._now(
            Kind.GREEKS,
            {
                "delta": round(worth.delta, 4),
                "gamma": round(worth.gamma, 6),
                "theta": round(worth.theta, 4),
                "vega": round(worth.vega, 4),
                "rho": round(worth.rho, 4),
                "impliedVolatility": round(option.volatility, 4),
            },
        )

    def keep(self, kind: Kind, fields: Fields) -> Fields:
        """Make these fields part of what a new subscriber is shown."""
        return self._now(kind, {**self.state.get(kind, {}), **fields})

    def _now(self, kind: Kind, fields: Fields) -> Fields:
        self.state[kind] = fields
        return fields

    @property
    def _instrument_type(self) -> str:
        return "o" if self._option else "e"

    def _walk(self) -> None:
        if self._option:
            self._option.walk(self._random)
            self._mid = self._option.cents()
            return
        # About one basis point of the price at a time, drawn gently back to the day's opening.
        pull = (self._session.opened - self._mid) * 0.001
        step = self._random.gauss(pull, max(1.0, self._mid * 0.0001))
        self._mid = max(2, self._mid + round(step))

    def _execution(self) -> tuple[int, int]:
        if self.symbol_class is SymbolClass.INDEX:
            self._walk()
            return self._mid, 0
        price = self._ask if self._uniform() < 0.5 else self._bid  # noqa: PLR2004 - either side
        return price, self._one_of(_TRADE_SIZES)

    def _extras(self) -> Fields:
        if self._option:
            return {"openInterest": self._session.open_interest}
        return {} if self.symbol_class is SymbolClass.INDEX else {"dividend": self._session.dividend}

    def _book_row(self, ticks: int, *, ask: bool) -> str:
        nothing = "" if self._uniform() < 0.5 else "0"  # noqa: PLR2004 - both are seen
        size = self._lots()
        price = self._text(ticks)
        return f"{size}:{price}:{nothing}" if ask else f"{nothing}:{price}:{size}"

    def _exchange_row(self, exchange: str) -> str:
        away = self._one_of(_TICKS_AWAY)
        ask = f"{self._text(self._ask + away)}:{self._lots()}"
        bid = f"{self._text(max(self._bid - away, 1))}:{self._lots()}"
        missing = self._uniform()
        if missing < 0.05:  # noqa: PLR2004 - one row in twenty has no offer
            ask = ":"
        elif missing < 0.1:  # noqa: PLR2004 - and one in twenty has no bid
            bid = ":"
        return f"{exchange}:{ask}:{bid}"

    def _lots(self) -> int:
        return 100 * (1 + int(self._uniform() * 20))

    def _one_of(self, things: tuple[_T, ...]) -> _T:
        # Several times as fast as random.choice, and even enough.
        return things[int(self._uniform() * len(things))]

    def _price(self, ticks: int) -> Decimal:
        return ticks * self._tick

    def _text(self, ticks: int) -> str:
        if self._digits == 2:  # noqa: PLR2004 - cents, by far the most
            return f"{ticks // 100}.{ticks % 100:02d}"
        return f"{ticks // 10_000}.{ticks % 10_000:04d}"


class _Session:
    """Keep the day's and the year's statistics of one symbol, in ticks."""

    def __init__(self, opened: int, rng: random.Random) -> None:
        self.opened = self.high = self.low = self.last = opened
        self.closed_before = max(1, round(opened * rng.uniform(0.98, 1.02)))
        self.year_high = round(opened * rng.uniform(1.05, 1.6))
        self.year_low = max(1, round(opened * rng.uniform(0.5, 0.95)))
        self.open_interest = rng.randrange(10, 20_000)
        self.dividend = rng.randrange(0, 120) * _CENT
        self.volume = self.trades = self.sequence = 0

    def record(self, price: int, size: int) -> str:
        """Take one execution into account and say which way it ticked."""
        tick = "up" if price > self.last else "down" if price < self.last else "unchanged"
        self.last = price
        self.high, self.low = max(self.high, price), min(self.low, price)
        self.year_high, self.year_low = max(self.year_high, price), min(self.year_low, price)
        self.volume += size
        self.trades += 1
        self.sequence += 1
        return tick


class _Option:
    """Walk an option's underlying and volatility; the term is drawn, so that no calendar is needed."""

    def __init__(self, symbol: str, rng: random.Random) -> None:
        terms = OPTION_SYMBOL.fullmatch(symbol)
        assert terms is not None
        self.strike = max(int(terms["strike"]) / 1000, 0.001)
        self.call = terms["right"] == "C"
        self.years = rng.uniform(7, 180) / 365
        self.volatility = rng.uniform(0.15, 0.6)
        self.spot = self.strike * rng.uniform(0.95, 1.05)

    def walk(self, rng: random.Random) -> None:
        self.spot *= 1 + rng.gauss(0, 0.0002)
        self.volatility = min(2.0, max(0.05, self.volatility + rng.gauss(0, 0.0005)))

    def worth(self) -> Valuation:
        return valuation(
            spot=self.spot,
            strike=self.strike,
            years=self.years,
            volatility=self.volatility,
            call=self.call,
        )

    def cents(self) -> int:
        return max(2, round(self.worth().value * 100))
