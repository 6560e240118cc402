"""Plan the subscriptions: which symbols, of which type, with which events and fields."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import NamedTuple

from bridge.aries.subscriptions import parsing, symbols
from bridge.aries.subscriptions.parsing import ALL_FIELDS, Entry, Fields
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.errors import SettingsError
from bridge.market_data import EventType

#: Events that do not exist for a type: to request them for a symbol is a mistake.
_UNAVAILABLE: Mapping[SymbolType, frozenset[EventType]] = MappingProxyType(
    {
        SymbolType.EQUITY: frozenset({EventType.GREEKS}),
        SymbolType.OPTION: frozenset(),
        SymbolType.INDEX: frozenset({EventType.QUOTES, EventType.L2, EventType.GREEKS}),
    }
)
#: Events of ``ARIES_EVENTS`` that a type does not get; for indices, only trade fields are documented.
_EXCLUDED: Mapping[SymbolType, frozenset[EventType]] = MappingProxyType(
    {**_UNAVAILABLE, SymbolType.INDEX: _UNAVAILABLE[SymbolType.INDEX] | {EventType.TIMESALES}}
)
#: A list of 5,000 symbols can have 5,000 problems: more than these are only counted.
_MAX_PROBLEMS = 25
_MAX_NAMES = 10


@dataclass(frozen=True, slots=True)
class Subscription:
    """The events and fields of one symbol; an event that is not in ``fields`` has all its fields."""

    symbol: str
    type: SymbolType
    events: frozenset[EventType]
    fields: Fields = field(default_factory=lambda: ALL_FIELDS, hash=False)


class Plan(Mapping[str, Subscription]):
    """All subscriptions by symbol, in the order of the settings.

    ``warnings`` are sentences about what is valid, but probably not intended.
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

    @cached_property
    def fingerprint(self) -> str:
        """Return a short text that is the same for the same symbols, events and fields, in whatever order."""
        parts = sorted(f"{one.symbol}|{one.type}|{_sorted_texts(one)}" for one in self.values())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"Plan({len(self)} symbols: {', '.join(sorted(self.events))})"

    @property
    def events(self) -> frozenset[EventType]:
        """Return the event types to which at least one symbol is subscribed."""
        return frozenset().union(*(subscription.events for subscription in self.values()))


def _sorted_texts(subscription: Subscription) -> str:
    fields = {event: sorted(names) for event, names in sorted(subscription.fields.items())}
    return f"{sorted(subscription.events)}|{fields}"


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes that lead from one plan to another on an open connection.

    ``subscribe``: new and changed symbols, each with its whole new subscription.
    ``removed_events``: the events that changed symbols no longer have; to unsubscribe if subscriptions add up.
    ``unsubscribe``: removed symbols, with their old subscription.
    """

    subscribe: tuple[Subscription, ...] = ()
    removed_events: tuple[Subscription, ...] = ()
    unsubscribe: tuple[Subscription, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.subscribe or self.unsubscribe)


class ChangedSymbols(NamedTuple):
    """The symbols that another plan adds and removes, and those that it requests otherwise."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    @classmethod
    def between(cls, old: Mapping[str, Subscription], new: Mapping[str, Subscription]) -> ChangedSymbols:
        """Compare two plans."""
        requested = [one.symbol for one in difference(old, new).subscribe]
        return cls(
            added=tuple(symbol for symbol in requested if symbol not in old),
            removed=tuple(symbol for symbol in old if symbol not in new),
            changed=tuple(symbol for symbol in requested if symbol in old),
        )

    def __str__(self) -> str:
        parts = (
            f"{len(symbols)} {name} ({_abbreviated(symbols)})" for name, symbols in self._asdict().items() if symbols
        )
        return ", ".join(parts) or "nothing changed"


def difference(old: Mapping[str, Subscription], new: Mapping[str, Subscription]) -> Difference:
    """Return what to send on a connection that has the old subscriptions so that it has the new ones."""
    in_both = [(old[symbol], wanted) for symbol, wanted in new.items() if symbol in old]
    return Difference(
        subscribe=tuple(wanted for symbol, wanted in new.items() if old.get(symbol) != wanted),
        removed_events=tuple(removed for was, now in in_both if (removed := _removed_events(was, now)).events),
        unsubscribe=tuple(removed for symbol, removed in old.items() if symbol not in new),
    )


def _removed_events(was: Subscription, now: Subscription) -> Subscription:
    return Subscription(was.symbol, was.type, was.events if was.type != now.type else was.events - now.events)


def plan(
    items: Sequence[str],
    events: Sequence[str],
    described: str | Sequence[str] | None = None,
    *,
    source: str = "ARIES_SUBSCRIPTIONS",
) -> Plan:
    """Return the plan of ``ARIES_SYMBOLS``, ``ARIES_EVENTS`` and ``ARIES_SUBSCRIPTIONS``.

    The last, a JSON list or the items of a plain one, adds to and overrides the others; ``source`` is the setting that
    it is from. Raise SettingsError with all problems.
    """
    if not (described is None or isinstance(described, str)):
        described = tuple(described)
    return _plan(tuple(items), tuple(events), described, source)


@lru_cache(maxsize=1)  # planning 5,000 symbols takes tens of milliseconds, and each start asks for the same plan thrice
def _plan(items: Sequence[str], events: Sequence[str], json_or_items: str | Sequence[str] | None, source: str) -> Plan:
    problems: list[str] = []
    common_events = parsing.parse_events(events, "ARIES_EVENTS", problems)
    if not events:
        problems.append("ARIES_EVENTS is an empty list: name at least one event, or unset it.")
    listed = parsing.parse_items(items, "ARIES_SYMBOLS, item", problems)
    described: dict[str, Entry] = {}
    if isinstance(json_or_items, str):
        described = parsing.parse_json(json_or_items, source, problems)
    elif json_or_items is not None:
        described = parsing.parse_items(json_or_items, f"{source}, entry", problems)
    wanted = _merged(_by_symbol(listed, problems), _by_symbol(described, problems))
    if not (wanted or problems):
        problems.append(f"no symbols: set ARIES_SYMBOLS, for example to AAPL,SPX, or add some to {source}.")
    subscriptions = [one.subscription(common_events, problems) for one in wanted.values()] if common_events else []
    if problems:
        raise SettingsError(_limited(problems))
    repeated = (*_repeated("ARIES_SYMBOLS", listed.values()), *_repeated(source, described.values()))
    return Plan(subscriptions, (*repeated, *_lower_case(wanted)))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A symbol's entry with its place in the settings and its type."""

    place: str
    entry: Entry
    type: SymbolType

    def subscription(self, common_events: frozenset[EventType], problems: list[str]) -> Subscription:
        entry = self.entry
        events = entry.events if entry.events is not None else common_events - _EXCLUDED[self.type]
        fields = entry.fields if entry.fields is not None else ALL_FIELDS
        problems += [f"{self.place}: {entry.symbol}{problem}" for problem in self._problems(events, fields)]
        return Subscription(entry.symbol, self.type, events, fields)

    def _problems(self, events: frozenset[EventType], fields: Fields) -> Iterator[str]:
        symbol = self.entry.symbol
        if self.entry.type is None and (date := symbols.invalid_date(symbol)):
            yield f" looks like an option, but {date} is not a date (yymmdd): fix it, or write {symbol}:equity."
        if unavailable := events & _UNAVAILABLE[self.type]:
            yield f" is an {self.type}, which has no {_joined(unavailable)}: remove that, or set another type."
        if not events:
            yield f" is an {self.type}, which has none of ARIES_EVENTS: add trades, or remove the symbol."
        if unused := fields.keys() - events:
            yield f" has fields of {_joined(unused)}, not among its events: add the event, or remove the fields."


def _by_symbol(entries: Mapping[str, Entry], problems: list[str]) -> dict[str, _Wanted]:
    """Return the first entry of each symbol; another entry for the same symbol must be equal."""
    by_symbol: dict[str, _Wanted] = {}
    for place, entry in entries.items():
        one = _Wanted(place, entry, entry.type or symbols.recognise(entry.symbol))
        first = by_symbol.setdefault(entry.symbol, one)
        if (first.type, first.entry.events, first.entry.fields) != (one.type, entry.events, entry.fields):
            problems.append(f"{place}: {entry.symbol} contradicts {first.place}: name it once.")
    return by_symbol


def _merged(listed: Mapping[str, _Wanted], described: Mapping[str, _Wanted]) -> dict[str, _Wanted]:
    """Return the entries of both; a described one overrides the listed one, except for a type that it does not set."""
    merged = {**listed, **described}
    for symbol in listed.keys() & described.keys():
        place, entry = described[symbol].place, described[symbol].entry
        if entry.type is None and listed[symbol].entry.type is not None:
            merged[symbol] = _Wanted(place, entry, listed[symbol].type)
    return merged


def _joined(events: Iterable[EventType]) -> str:
    return " and ".join(sorted(events))


def _repeated(source: str, entries: Iterable[Entry]) -> Iterator[str]:
    counts = Counter(entry.symbol for entry in entries)
    if repeated := [symbol for symbol, count in counts.items() if count > 1]:
        yield f"{source} names more than once: {_abbreviated(repeated)}. Once is enough."


def _lower_case(wanted: Iterable[str]) -> Iterator[str]:
    if lower := [symbol for symbol in wanted if symbol != symbol.upper()]:
        yield f"the feed's symbols are in upper case, but these have lower-case letters: {_abbreviated(lower)}."


def _abbreviated(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _limited(problems: Sequence[str]) -> tuple[str, ...]:
    more = len(problems) - _MAX_PROBLEMS
    return (*problems[:_MAX_PROBLEMS], *([f"… and {more} more problems of this kind"] if more > 0 else []))
