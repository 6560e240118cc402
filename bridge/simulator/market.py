"""A simulated market: a seeded sequence of events for the symbols that clients subscribe to."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.simulator.data_kinds import KINDS_OF, DataKind
from bridge.simulator.feed_timestamps import iso_with_offset
from bridge.simulator.instrument import Fields, Instrument

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How often each kind is drawn relative to the others. A trade and its time-and-sales entry are drawn together.
_WEIGHTS: Final = {
    DataKind.QUOTE: 10,
    DataKind.TRADE: 4,
    DataKind.TIME_AND_SALES: 4,
    DataKind.LEVEL2: 3,
    DataKind.GREEKS: 3,
}
_EXECUTION: Final = (DataKind.TRADE, DataKind.TIME_AND_SALES)
_BOOK_LEVELS: Final = 5
_NO_FIELDS: Final[Fields] = {}


class MarketEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of a symbol: all fields with their present values, and the fields before the event.

    Prices are exact decimals, or with ``prices_as_given`` strings whose digits are sent unchanged.
    """

    kind: DataKind
    symbol: str
    fields: Fields
    before: Fields
    prices_as_given: bool = False

    @property
    def changed(self) -> Fields:
        """Return only the fields whose values this event changed."""
        return {name: value for name, value in self.fields.items() if self.before.get(name) != value}


class Market:
    """A generator of events; the sequence depends on the seed and on the subscriptions only.

    The time passed to each method (epoch milliseconds) appears in the timestamp fields and nowhere else.
    """

    def __init__(self, *, seed: int, level2_changes: bool = False) -> None:
        """Generate level-2 messages of all rows, or with ``level2_changes`` of those that changed."""
        self._seed = seed
        self._level2_changes = level2_changes
        self._random = random.Random(seed)  # noqa: S311 - a market, not a secret
        self._instruments: dict[str, Instrument] = {}
        self._subscribed: list[tuple[Instrument, frozenset[DataKind], tuple[DataKind, ...]]] = []
        self._pending: deque[MarketEvent] = deque()

    def instrument(self, symbol: str) -> Instrument:
        """Return the symbol's instrument; every symbol has one."""
        if symbol not in self._instruments:
            self._instruments[symbol] = Instrument(symbol, self._seed)
        return self._instruments[symbol]

    def set_subscriptions(self, kinds: Mapping[str, frozenset[DataKind]]) -> None:
        """Generate events of these kinds for these symbols from now on, and no others."""
        self._pending.clear()
        self._subscribed = [
            (self.instrument(symbol), available, _weighted(available))
            for symbol, wanted in sorted(kinds.items())
            if (available := wanted & KINDS_OF[self.instrument(symbol).symbol_class])
        ]

    def next_event(self, now_ms: int) -> MarketEvent | None:
        """Return the next event, or None if there are no subscriptions."""
        if not self._subscribed:
            return None
        if not self._pending:
            self._draw(now_ms)
        return self._pending.popleft()

    def current_fields(self, symbol: str, kind: DataKind, now_ms: int) -> Fields:
        """Return the current state that a new subscriber gets; generate it if there is none yet."""
        instrument = self.instrument(symbol)
        if kind not in instrument.state:
            self._generate(instrument, kind, now_ms)
        return instrument.state[kind]

    def make_event(self, symbol: str, kind: DataKind, now_ms: int) -> MarketEvent:
        """Generate one event of this kind for this symbol."""
        events = self._generate(self.instrument(symbol), kind, now_ms)
        return next(event for event in events if event.kind is kind)

    def _draw(self, now_ms: int) -> None:
        uniform = self._random.random
        instrument, wanted, weighted = self._subscribed[int(uniform() * len(self._subscribed))]
        kind = weighted[int(uniform() * len(weighted))]
        events = self._generate(instrument, kind, now_ms)
        self._pending.extend(event for event in events if event.kind in wanted)

    def _generate(self, instrument: Instrument, kind: DataKind, now_ms: int) -> list[MarketEvent]:
        kinds = _EXECUTION if kind in _EXECUTION else (kind,)
        before = [instrument.state.get(one, _NO_FIELDS) for one in kinds]
        after = self._new_fields(instrument, kind, iso_with_offset(now_ms))
        return [
            MarketEvent(one, instrument.symbol, fields, previous)
            for one, fields, previous in zip(kinds, after, before, strict=True)
        ]

    def _new_fields(self, instrument: Instrument, kind: DataKind, timestamp: str) -> tuple[Fields, ...]:
        if kind is DataKind.QUOTE:
            return (instrument.quote(timestamp),)
        if kind is DataKind.LEVEL2:
            return (instrument.level2(_BOOK_LEVELS, changes=self._level2_changes),)
        if kind is DataKind.GREEKS:
            return (instrument.greeks(),)
        return instrument.trade(timestamp)


def _weighted(kinds: frozenset[DataKind]) -> tuple[DataKind, ...]:
    """Return each kind as often as its weight; an execution is drawn by its trade if both halves are wanted."""
    drawn = kinds - {DataKind.TIME_AND_SALES} if DataKind.TRADE in kinds else kinds
    return tuple(kind for kind in DataKind if kind in drawn for _ in range(_WEIGHTS[kind]))
