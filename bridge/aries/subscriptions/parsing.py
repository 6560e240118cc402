"""Read what the settings say about symbols: a list of them, or JSON with events and fields.

The functions report what is wrong into a list of problems, so that one start shows all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from bridge import market_data
from bridge.aries.subscriptions import symbols
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.market_data import EventType

Complain = Callable[[str], None]
Fields = Mapping[EventType, tuple[str, ...]]

#: The fields to choose from, by event type. Level 2 comes whole.
FIELDS: Mapping[EventType, frozenset[str]] = MappingProxyType(
    {
        event: frozenset({"symbol", *market_data.SHARED_FIELDS, *names})
        for event, names in market_data.FIELDS.items()
        if event is not EventType.L2
    }
)
NO_FIELDS: Fields = MappingProxyType({})

_KEYS = ("symbol", "events", "fields", "type")
_EXAMPLE = 'Write it like [{"symbol":"AAPL","events":["quotes","l2"],"fields":{"quotes":["bidPrice","askPrice"]}}].'


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold what one place of the settings says about a symbol; None means: as for all symbols."""

    symbol: str
    type: SymbolType | None = None
    events: frozenset[EventType] | None = None
    fields: Fields = field(default_factory=lambda: NO_FIELDS, hash=False)
    place: str = field(default="", compare=False)


def split(text: str) -> tuple[str, ...]:
    """Return the items of a list in which commas and line ends separate and ``#`` begins a comment."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    return tuple(stripped for line in lines for item in line.split(",") if (stripped := item.strip()))


def listed(items: Iterable[str], source: str, problems: list[str]) -> tuple[Entry, ...]:
    """Return an entry for each ``SYM`` or ``SYM:type``."""
    return _read(items, f"{source}, item", _listed, problems)


def described(text: str, source: str, problems: list[str]) -> tuple[Entry, ...]:
    """Return the entries of a JSON list of objects (or of strings as in :func:`listed`)."""
    try:
        entries = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        problems.append(f"{source} is not JSON: {error}. {_EXAMPLE}")
        return ()
    if not isinstance(entries, list):
        problems.append(f"{source} must be a JSON list, not {_said(entries)}. {_EXAMPLE}")
        return ()
    return _read(entries, f"{source}, entry", _described, problems)


def events(names: Iterable[object], complain: Complain) -> frozenset[EventType]:
    """Return the event types of these names."""
    return frozenset(event for name in names if (event := _event(name, complain)))


def _read(
    items: Iterable[object], where: str, read: Callable[[object, str, Complain], Entry], problems: list[str]
) -> tuple[Entry, ...]:
    entries = []
    for number, item in enumerate(items, 1):
        place = f"{where} {number}"
        complaints: list[str] = []
        entry = read(item, place, complaints.append)
        problems += [f"{place}: {complaint}" for complaint in complaints]
        if not complaints:
            entries.append(entry)
    return tuple(entries)


def _listed(item: object, place: str, complain: Complain) -> Entry:
    symbol, colon, kind = (part.strip() for part in str(item).partition(":"))
    return Entry(_symbol(symbol, complain), _type(kind, complain) if colon else None, place=place)


def _described(value: object, place: str, complain: Complain) -> Entry:
    if isinstance(value, str):
        return _listed(value, place, complain)
    if not isinstance(value, dict):
        complain(f"must be an object with the key symbol, not {_said(value)}. {_EXAMPLE}")
        return Entry("")
    for key in value.keys() - set(_KEYS):
        complain(f"unknown key {key!r}{_instead(key, _KEYS)}")
    return Entry(
        _symbol(value.get("symbol"), complain),
        _type(value["type"], complain) if value.get("type") is not None else None,
        _own_events(value["events"], complain) if value.get("events") is not None else None,
        _fields(value["fields"], complain) if value.get("fields") is not None else NO_FIELDS,
        place,
    )


def _symbol(value: object, complain: Complain) -> str:
    if not isinstance(value, str):
        complain(f'the key symbol must be a text like "AAPL", not {_said(value)}.')
        return ""
    if fault := symbols.fault(value):
        complain(fault)
    return value


def _type(value: object, complain: Complain) -> SymbolType | None:
    if value in tuple(SymbolType):
        return SymbolType(str(value))
    complain(f"unknown type {value!r}{_instead(value, tuple(SymbolType))}")
    return None


def _own_events(value: object, complain: Complain) -> frozenset[EventType]:
    if isinstance(value, list) and value:
        return events(value, complain)
    complain(f'events must be a list like ["quotes","trades"], not {_said(value)}; left out, ARIES_EVENTS holds.')
    return frozenset()


def _event(name: object, complain: Complain) -> EventType | None:
    if name in tuple(EventType):
        return EventType(str(name))
    always = " Market status always comes, unasked." if str(name).startswith("market") else ""
    complain(f"unknown event {name!r}{_instead(name, tuple(EventType))}{always}")
    return None


def _fields(value: object, complain: Complain) -> Fields:
    if not isinstance(value, dict):
        complain(f'fields must be an object like {{"quotes":["bidPrice"]}}, not {_said(value)}.')
        return NO_FIELDS
    chosen = {
        event: _names(event, names, complain) for name, names in value.items() if (event := _event(name, complain))
    }
    return MappingProxyType({event: names for event, names in chosen.items() if "*" not in names})


def _names(event: EventType, names: object, complain: Complain) -> tuple[str, ...]:
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not names:
        complain(f'fields of {event} must be a list of names, or "*" for all, not {_said(names)}.')
        return ()
    known = sorted(FIELDS.get(event, ()))
    if not known and "*" not in names:
        complain(f"{event} has no fields to choose from: leave it out of fields.")
        return ()
    for name in names:
        if name != "*" and name not in known:
            complain(f"unknown field {name!r} of {event}{_instead(name, known)}")
    return tuple(dict.fromkeys(map(str, names)))


def _instead(wrong: object, known: Iterable[str]) -> str:
    names = tuple(known)
    near = difflib.get_close_matches(str(wrong).lower(), {name.lower() for name in names}, n=1)
    guess = next((f": did you mean {name}?" for name in names if near and name.lower() == near[0]), ".")
    return f"{guess} Known: {', '.join(names)}."


def _said(value: object) -> str:
    """Return the JSON name of a value's type: the value itself may be long."""
    names = {type(None): "null", bool: "a boolean", str: "a text", dict: "an object", list: "this list"}
    return names.get(type(value), "a number") if value != [] else "an empty list"
