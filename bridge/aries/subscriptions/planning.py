"""Decide what to ask the feed for: which symbols, of which type, with which events and fields."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from bridge.aries.subscriptions import parsing as entries
from bridge.aries.subscriptions import symbols
from bridge.aries.subscriptions.parsing import NO_FIELDS, Entry, Fields
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.errors import SettingsError
from bridge.market_data import EventType

#: What a type cannot have at all: asking for it by name is a mistake.
_IMPOSSIBLE: Mapping[SymbolType, frozenset[EventType]] = MappingProxyType(
    {
        SymbolType.EQUITY: frozenset({EventType.GREEKS}),
        SymbolType.OPTION: frozenset(),
        SymbolType.INDEX: frozenset({EventType.QUOTES, EventType.L2, EventType.GREEKS}),
    }
)
#: Left out where only the events of all symbols were named; of indices, trade fields alone are documented.
_LEFT_OUT: Mapping[SymbolType, frozenset[EventType]] = MappingProxyType(
    {**_IMPOSSIBLE, SymbolType.INDEX: _IMPOSSIBLE[SymbolType.INDEX] | {EventType.TIMESALES}}
)
#: A list of 5,000 symbols can be wrong 5,000 times; nobody reads more than this.
_MOST_PROBLEMS = 25
_MOST_NAMES = 10


@dataclass(frozen=True, slots=True)
class Subscription:
    """Say what is wanted of one symbol; of an event without an entry in ``fields``, all fields are wanted."""

    symbol: str
    type: SymbolType
    events: frozenset[EventType]
    fields: Fields = field(default_factory=lambda: NO_FIELDS, hash=False)


class Plan(Mapping[str, Subscription]):
    """Map every wanted symbol to its subscription, in the order of the settings.

    ``warnings`` are sentences about what was harmless but looks unintended.
    """

    def __init__(self, subscriptions: Iterable[Subscription] = (), warnings: Iterable[str] = ()) -> None:
        self._by_symbol = {subscription.symbol: subscription for subscription in subscriptions}
        self.warnings = tuple(warnings)

    def __getitem__(self, symbol: str) -> Subscription:
        return self._by_symbol[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_symbol)

    def __len__(self) -> int:
        return len(self._by_symbol)

    def __repr__(self) -> str:
        return f"Plan({len(self)} symbols: {', '.join(sorted(self.events))})"

    @property
    def events(self) -> frozenset[EventType]:
        """Return the event types to which at least one symbol is subscribed."""
        return frozenset().union(*(subscription.events for subscription in self.values()))


@dataclass(frozen=True, slots=True)
class Difference:
    """Say how to come from one plan to another on a live socket.

    ``subscribe``: new and changed symbols, each with all that is wanted of it now.
    ``narrowed``: of changed symbols, the events taken away; needed where subscriptions add up.
    ``unsubscribe``: symbols that are gone, as they were.
    """

    subscribe: tuple[Subscription, ...] = ()
    narrowed: tuple[Subscription, ...] = ()
    unsubscribe: tuple[Subscription, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.subscribe or self.unsubscribe)


def difference(old: Mapping[str, Subscription], new: Mapping[str, Subscription]) -> Difference:
    """Return what to send so that a socket which has ``old`` has ``new``."""
    kept = [(old[symbol], wanted) for symbol, wanted in new.items() if symbol in old]
    return Difference(
        subscribe=tuple(wanted for symbol, wanted in new.items() if old.get(symbol) != wanted),
        narrowed=tuple(less for was, now in kept if (less := _taken_away(was, now)).events),
        unsubscribe=tuple(gone for symbol, gone in old.items() if symbol not in new),
    )


def _taken_away(was: Subscription, now: Subscription) -> Subscription:
    return Subscription(was.symbol, was.type, was.events if was.type != now.type else was.events - now.events)


def plan(
    listed: Sequence[str],
    events: Sequence[str],
    described: str | None = None,
    *,
    source: str = "ARIES_SUBSCRIPTIONS",
) -> Plan:
    """Return what to subscribe to; raise SettingsError with every problem.

    ``listed`` are the items of ``ARIES_SYMBOLS`` (``SYM`` or ``SYM:type``), ``events`` those of
    ``ARIES_EVENTS``; ``described``, JSON as in ``ARIES_SUBSCRIPTIONS``, adds to and overrides both, and
    ``source`` is what messages call it.
    """
    return _plan(tuple(listed), tuple(events), described, source)


@lru_cache(maxsize=1)  # thousands of symbols cost a tenth of a second, and a start asks three times for the same
def _plan(listed: Sequence[str], events: Sequence[str], described: str | None, source: str) -> Plan:
    problems: list[str] = []
    common = entries.events(events, lambda complaint: problems.append(f"ARIES_EVENTS: {complaint}"))
    if not events:
        problems.append("ARIES_EVENTS names no event: name at least one, or unset it.")
    first = entries.listed(listed, "ARIES_SYMBOLS", problems)
    then = entries.described(described, source, problems) if described is not None else ()
    wanted = _merged(_once(first, problems), _once(then, problems))
    if not (wanted or problems):
        problems.append(f"no symbol is named: set ARIES_SYMBOLS, for example to AAPL,SPX, or fill {source}.")
    subscriptions = [_subscription(entry, common, problems) for entry in wanted.values()] if common else []
    if problems:
        raise SettingsError(_shortened(problems))
    return Plan(subscriptions, (*_repeated(first), *_repeated(then), *_lower_case(wanted)))


def _once(all_entries: Iterable[Entry], problems: list[str]) -> dict[str, Entry]:
    """Return the entries by symbol; saying the same twice is harmless, saying two things is not."""
    by_symbol: dict[str, Entry] = {}
    for entry in all_entries:
        before = by_symbol.setdefault(entry.symbol, entry)
        if before is not entry and _typed(before) != _typed(entry):
            problems.append(f"{entry.place}: {entry.symbol} contradicts {before.place}: name it once.")
    return by_symbol


def _typed(entry: Entry) -> Entry:
    return dataclasses.replace(entry, type=entry.type or symbols.recognise(entry.symbol))


def _merged(listed: Mapping[str, Entry], described: Mapping[str, Entry]) -> dict[str, Entry]:
    inherited = {symbol: listed[symbol].type for symbol in listed.keys() & described.keys()}
    return {
        **listed,
        **{
            symbol: dataclasses.replace(entry, type=entry.type or inherited.get(symbol))
            for symbol, entry in described.items()
        },
    }


def _subscription(entry: Entry, common: frozenset[EventType], problems: list[str]) -> Subscription:
    kind = entry.type or symbols.recognise(entry.symbol)
    events = entry.events if entry.events is not None else common - _LEFT_OUT[kind]
    problems += [f"{entry.place}: {entry.symbol}{fault}" for fault in _faults(entry, kind, events)]
    return Subscription(entry.symbol, kind, events, entry.fields)


def _faults(entry: Entry, kind: SymbolType, events: frozenset[EventType]) -> Iterator[str]:
    if entry.type is None and (day := symbols.misdated(entry.symbol)):
        yield f" reads as an option, but {day} is no date (yymmdd): mend it, or say {entry.symbol}:equity."
    if wrong := events & _IMPOSSIBLE[kind]:
        yield f" is an {kind}, which has no {_words(wrong)}: leave that out, or name another type."
    if not events:
        yield f" is an {kind}, for which ARIES_EVENTS leaves nothing: add trades, or remove the symbol."
    if alone := entry.fields.keys() - events:
        yield f" has fields of {_words(alone)}, not among its events: add the event, or remove the fields."


def _words(events: Iterable[EventType]) -> str:
    return " and ".join(sorted(events))


def _repeated(all_entries: Sequence[Entry]) -> Iterator[str]:
    times = Counter(entry.symbol for entry in all_entries)
    if twice := [symbol for symbol, count in times.items() if count > 1]:
        source = all_entries[0].place.partition(",")[0]
        yield f"{source} names more than once: {_some(twice)}. Once is enough."


def _lower_case(wanted: Iterable[str]) -> Iterator[str]:
    if odd := [symbol for symbol in wanted if symbol != symbol.upper()]:
        yield f"the feed writes symbols in capitals, but these have small letters: {_some(odd)}."


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _shortened(problems: Sequence[str]) -> tuple[str, ...]:
    rest = len(problems) - _MOST_PROBLEMS
    return (*problems[:_MOST_PROBLEMS], *([f"… and {rest} more problems of this kind"] if rest > 0 else []))
