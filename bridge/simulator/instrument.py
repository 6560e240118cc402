"""One symbol's simulated trading day: a random walk, and the quotes, trades, book and greeks around it."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Final, TypeVar

from bridge.simulator.black_scholes import Valuation, valuation
from bridge.simulator.data_kinds import OPTION_SYMBOL, DataKind, SymbolClass, symbol_class

Fields = dict[str, object]
_T = TypeVar("_T")

_EXCHANGES: Final = ("NSDQ", "ARCX", "BATS", "EDGX", "IEXG", "NYSE")
#: Opening prices of well-known symbols in cents; those of other symbols are drawn from the seed.
_OPENING_CENTS: Final = {
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
_SUB_DOLLAR_SHARE: Final = 0.1


class Instrument:
    """One symbol's market; prices are whole ticks internally and exact decimals in the fields returned.

    The walk depends on the seed and on the calls made, never on a clock.
    """

    def __init__(self, symbol: str, seed: int) -> None:
        self.symbol = symbol
        self.symbol_class = symbol_class(symbol)
        self.state: dict[DataKind, Fields] = {}
        self._random = random.Random(f"{seed}/{symbol}")  # noqa: S311 - a market, not a secret
        #: The rows of the last level-2 message, by price and by exchange.
        self._book: dict[str, str] = {}
        self._exchanges: dict[str, str] = {}
        self._uniform = self._random.random
        self._option = _Option(symbol, self._random) if self.symbol_class is SymbolClass.OPTION else None
        self._tick, self._digits, self._mid = self._opening()
        self._statistics = _Statistics(self._mid, self._random)
        self._ask, self._bid = self._mid + 1, max(self._mid - 1, 1)
        self._ask_size, self._bid_size = self._lots(), self._lots()

    def _opening(self) -> tuple[Decimal, int, int]:
        if self._option:
            return _CENT, 2, self._option.cents()
        if cents := _OPENING_CENTS.get(self.symbol):
            return _CENT, 2, cents
        # Rule 612 of Regulation NMS: below one dollar, quotes move by a hundredth of a cent.
        if self.symbol_class is SymbolClass.EQUITY and self._uniform() < _SUB_DOLLAR_SHARE:
            return _HUNDREDTH_CENT, 4, self._random.randrange(1_500, 9_500)
        return _CENT, 2, self._random.randrange(800, 60_000)

    def quote(self, timestamp: str) -> Fields:
        """Move the price and return a new quote."""
        self._walk()
        ask_before, bid_before = self._ask, self._bid
        ask_size_before, bid_size_before = self._ask_size, self._bid_size
        half = self._one_of(_HALF_SPREADS)
        self._ask, self._bid = self._mid + half, max(self._mid - half, 1)
        self._ask_size, self._bid_size = self._lots(), self._lots()
        return self._store(
            DataKind.QUOTE,
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
                "quoteTimestamp": timestamp,
                "instrumentType": self._instrument_type,
            },
        )

    def trade(self, timestamp: str) -> tuple[Fields, Fields]:
        """Execute one trade; return the fields of the trade and of its time-and-sales entry."""
        price, size = self._execution()
        statistics = self._statistics
        tick = statistics.record(price, size)
        sale: Fields = {
            "price": self._price(price),
            "size": size,
            "tradeExchange": self._one_of(_EXCHANGES),
            "tradeTimestamp": timestamp,
            "tradeSeq": statistics.sequence,
            "tick": tick,
        }
        trade = {
            "lastPrice": sale["price"],
            **sale,
            "totalVolume": statistics.volume,
            "tickVolume": statistics.trades,
            "openPrice": self._price(statistics.opened),
            "highPrice": self._price(statistics.high),
            "lowPrice": self._price(statistics.low),
            "netChange": self._price(price - statistics.closed_before),
            "high52Week": self._price(statistics.year_high),
            "low52Week": self._price(statistics.year_low),
            **self._extras(),
            "instrumentType": self._instrument_type,
        }
        return self._store(DataKind.TRADE, trade), self._store(DataKind.TIME_AND_SALES, sale)

    def level2(self, levels: int, *, changes: bool = False) -> Fields:
        """Return a book with this number of levels on each side, and one row for each exchange.

        With ``changes`` only the rows that are new or changed, and one without sizes for each that is gone.
        """
        asks = [self._book_row(self._ask + depth, ask=True) for depth in reversed(range(levels))]
        bids = [self._book_row(max(self._bid - depth, 1), ask=False) for depth in range(levels)]
        book, book_before = dict(asks + bids), self._book
        exchanges, exchanges_before = self._exchange_rows(), self._exchanges
        self._book, self._exchanges = book, exchanges
        if not changes:
            return self._store(DataKind.LEVEL2, {"orderBook": list(book.values()), "quotes": list(exchanges.values())})
        gone = [f"0:{price}:0" for price in book_before if price not in book]
        return self._store(
            DataKind.LEVEL2,
            {"orderBook": _changed(book_before, book) + gone, "quotes": _changed(exchanges_before, exchanges)},
        )

    def _exchange_rows(self) -> dict[str, str]:
        """Return a row for each exchange; one or two of them have a new quote."""
        changed = _EXCHANGES if not self._exchanges else (self._one_of(_EXCHANGES), self._one_of(_EXCHANGES))
        return {**self._exchanges, **{exchange: self._exchange_row(exchange) for exchange in changed}}

    def greeks(self) -> Fields:
        """Move the underlying's price and return the option's sensitivities."""
        option = self._option
        assert option is not None
        self._walk()
        value = option.valuation()
        return self._store(
            DataKind.GREEKS,
            {
                "delta": round(value.delta, 4),
                "gamma": round(value.gamma, 6),
                "theta": round(value.theta, 4),
                "vega": round(value.vega, 4),
                "rho": round(value.rho, 4),
                "impliedVolatility": round(option.volatility, 4),
            },
        )

    def merge_state(self, kind: DataKind, fields: Fields) -> None:
        """Merge these fields into the current state that a new subscriber gets."""
        self.state[kind] = {**self.state.get(kind, {}), **fields}

    def _store(self, kind: DataKind, fields: Fields) -> Fields:
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
        # Steps of about one basis point of the price, with a weak pull towards the day's opening price.
        pull = (self._statistics.opened - self._mid) * 0.001
        step = self._random.gauss(pull, max(1.0, self._mid * 0.0001))
        self._mid = max(2, self._mid + round(step))

    def _execution(self) -> tuple[int, int]:
        if self.symbol_class is SymbolClass.INDEX:
            self._walk()
            return self._mid, 0
        price = self._ask if self._uniform() < 0.5 else self._bid  # noqa: PLR2004 - both sides are equally likely
        return price, self._one_of(_TRADE_SIZES)

    def _extras(self) -> Fields:
        if self._option:
            return {"openInterest": self._statistics.open_interest}
        return {} if self.symbol_class is SymbolClass.INDEX else {"dividend": self._statistics.dividend}

    def _book_row(self, ticks: int, *, ask: bool) -> tuple[str, str]:
        """Return the price of a level, and its row."""
        empty = "" if self._uniform() < 0.5 else "0"  # noqa: PLR2004 - a side may be empty or 0
        size = self._lots()
        price = self._text(ticks)
        return price, f"{size}:{price}:{empty}" if ask else f"{empty}:{price}:{size}"

    def _exchange_row(self, exchange: str) -> str:
        away = self._one_of(_TICKS_AWAY)
        ask = f"{self._text(self._ask + away)}:{self._lots()}"
        bid = f"{self._text(max(self._bid - away, 1))}:{self._lots()}"
        missing = self._uniform()
        if missing < 0.05:  # noqa: PLR2004 - one row in twenty has no ask
            ask = ":"
        elif missing < 0.1:  # noqa: PLR2004 - and one in twenty has no bid
            bid = ":"
        return f"{exchange}:{ask}:{bid}"

    def _lots(self) -> int:
        return 100 * (1 + int(self._uniform() * 20))

    def _one_of(self, choices: tuple[_T, ...]) -> _T:
        # Several times as fast as random.choice, and sufficiently uniform.
        return choices[int(self._uniform() * len(choices))]

    def _price(self, ticks: int) -> Decimal:
        return ticks * self._tick

    def _text(self, ticks: int) -> str:
        if self._digits == 2:  # noqa: PLR2004 - cents, the common case
            return f"{ticks // 100}.{ticks % 100:02d}"
        return f"{ticks // 10_000}.{ticks % 10_000:04d}"


def _changed(before: dict[str, str], rows: dict[str, str]) -> list[str]:
    return [row for key, row in rows.items() if before.get(key) != row]


class _Statistics:
    """One symbol's statistics of the day and the year, in ticks."""

    def __init__(self, opened: int, rng: random.Random) -> None:
        self.opened = self.high = self.low = self.last = opened
        self.closed_before = max(1, round(opened * rng.uniform(0.98, 1.02)))
        self.year_high = round(opened * rng.uniform(1.05, 1.6))
        self.year_low = max(1, round(opened * rng.uniform(0.5, 0.95)))
        self.open_interest = rng.randrange(10, 20_000)
        self.dividend = rng.randrange(0, 120) * _CENT
        self.volume = self.trades = self.sequence = 0

    def record(self, price: int, size: int) -> str:
        """Add one execution and return the direction of its tick."""
        tick = "up" if price > self.last else "down" if price < self.last else "unchanged"
        self.last = price
        self.high, self.low = max(self.high, price), min(self.low, price)
        self.year_high, self.year_low = max(self.year_high, price), min(self.year_low, price)
        self.volume += size
        self.trades += 1
        self.sequence += 1
        return tick


class _Option:
    """An option's underlying price and volatility; its term is random, so that no calendar is needed."""

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

    def valuation(self) -> Valuation:
        return valuation(
            spot=self.spot,
            strike=self.strike,
            years=self.years,
            volatility=self.volatility,
            call=self.call,
        )

    def cents(self) -> int:
        return max(2, round(self.valuation().value * 100))
