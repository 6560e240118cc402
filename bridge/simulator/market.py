"""A made-up market: which of the followed symbols does what next, the same again for the same seed."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.simulator.fields import KINDS_OF, Kind
from bridge.simulator.instrument import Fields, Instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: How often each kind happens next to the others. A trade and its entry in time and sales are one happening.
_WEIGHTS: Final = {
    Kind.QUOTE: 10,
    Kind.TRADE: 4,
    Kind.TIME_AND_SALES: 4,
    Kind.LEVEL2: 3,
    Kind.GREEKS: 3,
}
_TOGETHER: Final = dict.fromkeys((Kind.TRADE, Kind.TIME_AND_SALES), (Kind.TRADE, Kind.TIME_AND_SALES))
_NOTHING: Final[Fields] = {}


class MarketEvent(msgspec.Struct, frozen=True, gc=False):
    """Carry one thing that happened: all fields as they are now, and as they were before.

    Prices are exact decimals; ``as_told`` says that some are text, to travel digit by digit as they stand.
    """

    kind: Kind
    symbol: str
    fields: Fields
    before: Fields
    as_told: bool = False

    @property
    def changed(self) -> Fields:
        """Return only the fields whose values this event changed."""
        return {name: value for name, value in self.fields.items() if self.before.get(name) != value}


class Market:
    """Make events for the symbols and kinds somebody follows.

    The sequence depends on the seed, on what is followed and on nothing else; ``stamp`` turns the
    time handed to ``next`` (epoch milliseconds) into a timestamp field.
    """

    def __init__(self, *, seed: int, stamp: Callable[[int], object], levels: int = 5) -> None:
        self._seed = seed
        self._stamp = stamp
        self._levels = levels
        self._random = random.Random(seed)  # noqa: S311 - a market, not a secret
        self._instruments: dict[str, Instrument] = {}
        self._followed: list[tuple[Instrument, frozenset[Kind], tuple[Kind, ...]]] = []
        self._coming: deque[MarketEvent] = deque()

    def instrument(self, symbol: str) -> Instrument:
        """Return the symbol's instrument; every symbol has one."""
        if symbol not in self._instruments:
            self._instruments[symbol] = Instrument(symbol, self._seed)
        return self._instruments[symbol]

    def follow(self, kinds: Mapping[str, frozenset[Kind]]) -> None:
        """Make events of these kinds for these symbols from now on, and of no others."""
        self._coming.clear()
        self._followed = [
            (self.instrument(symbol), wanted, _drawn_from(wanted))
            for symbol, asked in sorted(kinds.items())
            if (wanted := asked & KINDS_OF[self.instrument(symbol).symbol_class])
        ]

    def next(self, now_ms: int) -> MarketEvent | None:
        """Return what happens next; None when nobody follows anything."""
        if not self._followed:
            return None
        if not self._coming:
            self._happen(now_ms)
        return self._coming.popleft()

    def current(self, symbol: str, kind: Kind, now_ms: int) -> Fields:
        """Return what a new subscriber is shown; a market that has not traded yet opens for it."""
        instrument = self.instrument(symbol)
        if kind not in instrument.state:
            self._move(instrument, kind, now_ms)
        return instrument.state[kind]

    def move(self, symbol: str, kind: Kind, now_ms: int) -> MarketEvent:
        """Make one event of this kind for this symbol."""
        moved = self._move(self.instrument(symbol), kind, now_ms)
        return next(event for event in moved if event.kind is kind)

    def _happen(self, now_ms: int) -> None:
        uniform = self._random.random
        instrument, wanted, drawn_from = self._followed[int(uniform() * len(self._followed))]
        kind = drawn_from[int(uniform() * len(drawn_from))]
        moved = self._move(instrument, kind, now_ms)
        self._coming.extend(event for event in moved if event.kind in wanted)

    def _move(self, instrument: Instrument, kind: Kind, now_ms: int) -> list[MarketEvent]:
        kinds = _TOGETHER.get(kind) or (kind,)
        before = [instrument.state.get(one, _NOTHING) for one in kinds]
        made = self._made(instrument, kind, self._stamp(now_ms))
        return [
            MarketEvent(one, instrument.symbol, fields, then)
            for one, fields, then in zip(kinds, made, before, strict=True)
        ]

    def _made(self, instrument: Instrument, kind: Kind, stamp: object) -> tuple[Fields, ...]:
        if kind is Kind.QUOTE:
            return (instrument.quote(stamp),)
        if kind is Kind.LEVEL2:
            return (instrument.level2(self._levels),)
        if kind is Kind.GREEKS:
            return (instrument.greeks(),)
        return instrument.trade(stamp)


def _drawn_from(wanted: frozenset[Kind]) -> tuple[Kind, ...]:
    drawn = set(wanted)
    if Kind.TRADE in drawn:
        drawn.discard(Kind.TIME_AND_SALES)
    return tuple(kind for kind in Kind if kind in drawn for _ in range(_WEIGHTS[kind]))
