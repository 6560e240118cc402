"""Parse the settings about symbols: a list of symbols, or JSON with events and fields.

All problems are appended to a list, so that one start reports all of them, each with its place in the setting.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo

from bridge import market_data
from bridge.aries.subscriptions import symbols
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.market_data import EventType

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Fields = Mapping[EventType, tuple[str, ...]]

#: The fields that can be selected, by event type. Level 2 is always complete.
FIELDS: Mapping[EventType, frozenset[str]] = MappingProxyType(
    {
        event: frozenset({"symbol", *market_data.SHARED_FIELDS, *names})
        for event, names in market_data.FIELDS.items()
        if event is not EventType.L2
    }
)
ALL_FIELDS: Fields = MappingProxyType({})

_KEYS = ("symbol", "events", "fields", "type")
_EXAMPLE = 'Write it like [{"symbol":"AAPL","events":["quotes","l2"],"fields":{"quotes":["bidPrice","askPrice"]}}].'
_EXPECTED = {
    "symbol": 'a string like "AAPL"',
    "events": 'a list like ["quotes","trades"]',
    "fields": 'an object like {"quotes":["bidPrice"]}',
}


#: Validation context of items that are from JSON.
_QUOTED = "quoted"


def _symbol(text: str, info: ValidationInfo) -> str:
    if problem := symbols.syntax_error(text, quoted=info.context == _QUOTED):
        raise ValueError(problem)
    return text


def _as_object(item: object, info: ValidationInfo) -> object:
    """Return ``SYM`` or ``SYM:type`` as the object of the same meaning; pass through what is not a string."""
    if not isinstance(item, str):
        return item
    symbol, colon, symbol_type = (part.strip() for part in item.partition(":"))
    is_symbol = not colon or symbols.is_prefixed(item) or (info.context == _QUOTED and not symbols.has_type(item))
    return {"symbol": item.strip()} if is_symbol else {"symbol": symbol, "type": symbol_type}


def _as_list(names: object) -> object:
    return [names] if isinstance(names, str) else names


def _known_fields(fields: Fields) -> Fields:
    """Return the selected fields of each event, without the events of which all fields (``*``) are selected."""
    unknown = [
        _unknown_field(event, name)
        for event, names in fields.items()
        for name in names
        if name != "*" and name not in FIELDS.get(event, ())
    ]
    if unknown:
        raise ValueError(" ".join(unknown))
    return MappingProxyType({event: tuple(dict.fromkeys(names)) for event, names in fields.items() if "*" not in names})


_FieldNames = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one item of a setting says about a symbol; None means the same as for all symbols."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    symbol: Annotated[str, AfterValidator(_symbol)]
    type: SymbolType | None = None
    events: Annotated[frozenset[EventType], Field(min_length=1)] | None = None
    fields: Annotated[Mapping[EventType, _FieldNames], AfterValidator(_known_fields)] | None = None


_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, BeforeValidator(_as_object)])


def split(text: str) -> tuple[str, ...]:
    """Return the items of a list separated by commas and line ends, in which ``#`` starts a comment."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    return tuple(stripped for line in lines for item in line.split(",") if (stripped := item.strip()))


def parse_events(names: Iterable[str], source: str, problems: list[str]) -> frozenset[EventType]:
    """Return the event types with these names."""
    known = frozenset(EventType)
    problems += [f"{source}: {_unknown_event(name)}" for name in names if name not in known]
    return frozenset(EventType(name) for name in names if name in known)


def parse_items(items: Iterable[object], place: str, problems: list[str], *, quoted: bool = False) -> dict[str, Entry]:
    """Return the entries of ``SYM``, ``SYM:type`` or JSON objects by their places, like ``ARIES_SYMBOLS, item 1``.

    ``quoted``: the items are from JSON, so that symbols may have spaces and colons.
    """
    entries = {}
    for number, item in enumerate(items, 1):
        try:
            entries[f"{place} {number}"] = _ENTRY.validate_python(item, context=_QUOTED if quoted else None)
        except ValidationError as error:
            problems += [f"{place} {number}: {_message(details)}" for details in error.errors(include_url=False)]
    return entries


def parse_json(text: str, source: str, problems: list[str]) -> dict[str, Entry]:
    """Return the entries of a JSON list by their places."""
    try:
        items = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        problems.append(f"{source} is not JSON: {error}. {_EXAMPLE}")
        return {}
    if not isinstance(items, list):
        problems.append(f"{source} must be a JSON list, not {_json_type(items)}. {_EXAMPLE}")
        return {}
    return parse_items(items, f"{source}, entry", problems, quoted=True)


def _message(error: ErrorDetails) -> str:
    """Return pydantic's error in the terms of the settings."""
    value = None if error["type"] == "missing" else error["input"]
    match error["type"], error["loc"]:
        case "value_error", _:
            return str(error["ctx"]["error"])
        case "unexpected_keyword_argument", (key, *_):
            return f"unknown key {key!r}{_suggestion(key, _KEYS)}"
        case "enum", ("type", *_):
            return f"unknown type {value!r}{_suggestion(value, SymbolType)}"
        case "enum", _:
            return _unknown_event(value)
        case _, ():
            return f"must be an object with the key symbol, not {_json_type(value)}. {_EXAMPLE}"
        case _, ("fields", event, *_):
            return f'fields of {event} must be a list of names, or "*" for all, not {_json_type(value)}.'
        case _, (key, *_):
            return f"{key} must be {_EXPECTED[str(key)]}, not {_json_type(value)}."
    return error["msg"]


def _unknown_event(name: object) -> str:
    always = " Market status is always included." if str(name).startswith("market") else ""
    return f"unknown event {name!r}{_suggestion(name, EventType)}{always}"


def _unknown_field(event: EventType, name: str) -> str:
    if event not in FIELDS:
        return f"{event} has no fields to select: remove it from fields."
    return f"unknown field {name!r} of {event}{_suggestion(name, sorted(FIELDS[event]))}"


def _suggestion(wrong: object, known: Iterable[str]) -> str:
    names = {name.lower(): str(name) for name in known}
    near = difflib.get_close_matches(str(wrong).lower(), names, n=1)
    return f"{f': did you mean {names[near[0]]}?' if near else '.'} Known: {', '.join(names.values())}."


def _json_type(value: object) -> str:
    """Return the JSON name of a value's type, as the value itself may be long."""
    names = {type(None): "null", bool: "a boolean", str: "a string", dict: "an object", list: "this list"}
    return names.get(type(value), "a number") if value != [] else "an empty list"
