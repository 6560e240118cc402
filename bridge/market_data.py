"""Market data of the feed in either dialect: event types, the names of their fields, and updates.

The names are the feed's own (protocol §5); ``bridge.serialization.field_mappings`` maps them to those of records.
"""

from __future__ import annotations

import re
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NamedTuple, final

import msgspec

from bridge.errors import BadLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A decoded JSON object: numbers with a fraction or an exponent stay the text that was sent, so that no digit is
#: lost; whole numbers are ``int``, of any size.
JsonObject = dict[str, object]

#: The symbol of an update about the market as a whole.
MARKET = "market"


class EventType(StrEnum):
    """An event type that can be subscribed to, as named in ``ARIES_EVENTS``."""

    QUOTES = "quotes"
    TRADES = "trades"
    TIMESALES = "timesales"
    L2 = "l2"
    GREEKS = "greeks"


_EXECUTION_FIELDS = ("price", "size", "tradeExchange", "tradeTimestamp", "tradeSeq", "tick")
#: The fields of each event type.
FIELDS: Mapping[EventType, tuple[str, ...]] = MappingProxyType(
    {
        EventType.QUOTES: (
            *("bidPrice", "bidSize", "bidExchange", "bidChange", "bidSizeChange"),
            *("askPrice", "askSize", "askExchange", "askChange", "askSizeChange"),
            "quoteTimestamp",
        ),
        EventType.TRADES: (
            *_EXECUTION_FIELDS,
            *("lastPrice", "totalVolume", "tickVolume", "openPrice", "highPrice", "lowPrice", "netChange"),
            *("high52Week", "low52Week", "openInterest", "dividend"),
        ),
        EventType.TIMESALES: _EXECUTION_FIELDS,
        EventType.L2: ("orderBook", "quotes"),
        EventType.GREEKS: ("delta", "gamma", "theta", "vega", "rho", "impliedVolatility"),
    }
)
#: The fields of a market status, which is sent without a subscription.
MARKET_STATUS_FIELDS = ("market", "afterHours", "earlyHours", "exchanges", "currencies", "indicesGroups", "serverTime")
#: Fields that any update of a symbol may have besides ``symbol``.
SHARED_FIELDS = ("instrumentType",)

_CORRECTED = ("price", "size", "seq", "id", "timestamp", "exchange", "tick")
_CORRECTION_WORDS = (
    *("cancel", "canceled", "cancelled", "cancellation", "cancelerror", "correction", "corrected"),
    *("bust", "busted", "break", "broken", "reversal", "reversed", "void", "voided", "cxl"),
)
#: Fields by which an update cancels or corrects an execution, in lower case and without underscores: [A], as no page
#: shows one.
CORRECTION_FIELDS = frozenset(
    {
        *(f"{prefix}{word}" for prefix in ("", "is", "trade") for word in _CORRECTION_WORDS),
        *(
            f"{word}{suffix}"
            for word in _CORRECTION_WORDS
            for suffix in ("action", "indicator", "flag", "type", "code", "reason")
        ),
        *(
            f"{state}{trade}{field}"
            for state in ("original", "corrected", "correction", "canceled", "cancelled", "busted")
            for trade in ("", "trade")
            for field in _CORRECTED
        ),
    }
)
#: Fields that say what happened, in lower case and without underscores: an update is a cancel or correction if their
#: value says so [A].
_EVENT_FIELDS = frozenset(
    {
        *("action", "event", "kind", "op", "operation", "state", "status", "type"),
        *(f"{what}{word}" for what in ("trade", "update", "event") for word in ("action", "state", "status", "type")),
    }
)
#: A word by which a type or a value says that an update is about an earlier one [A].
CORRECTION_WORD = re.compile(
    r"cancel|cxl|correct|bust|break|broken|error|void|revers|revok|rescind|retract|delet|amend", re.IGNORECASE
)
#: Values by which a field of a correction says that the update is none, in lower case.
_NO_CORRECTION = frozenset({"", "0", "false", "n", "no", "none", "null", "new"})


def correction_fields(names: Iterable[str]) -> tuple[str, ...]:
    """Return those names that are fields of a cancel or correction; whether it is one depends on their values."""
    return tuple(name for name in names if _plain(name) in CORRECTION_FIELDS or _plain(name) in _EVENT_FIELDS)


def correction_field(fields: JsonObject, names: Iterable[str] | None = None) -> str | None:
    """Return the field by which an update cancels or corrects an execution; None if none does.

    A field that is null, false, 0, or a text that means the same, does not count, and one that says what happened
    counts if its value has such a word. ``names`` are the result of ``correction_fields``, if it is known already.
    """
    if names is None:
        names = correction_fields(fields)
    return next((name for name in names if _says_correction(name, fields[name])), None)


def _says_correction(name: str, value: object) -> bool:
    if _plain(name) in CORRECTION_FIELDS:
        return _is_set(value)
    return type(value) is str and CORRECTION_WORD.search(value) is not None


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _is_set(value: object) -> bool:
    return value.strip().lower() not in _NO_CORRECTION if type(value) is str else bool(value)


class UpdateKind(StrEnum):
    """The kind of an update, by its content."""

    QUOTE = "quote"
    TRADE = "trade"
    COMPOSITE = "composite"  # quote, trade and greeks fields in one flat object
    TIMESALE = "timesale"
    LEVEL2 = "level2"
    GREEKS = "greeks"
    MARKET_STATUS = "market_status"


#: A constant, as each line needs it twice and the look-up of an enum's member takes 0.15 µs.
MARKET_STATUS = UpdateKind.MARKET_STATUS


class UpdateShape(NamedTuple):
    """Where the lines of a dialect have what, for a reader that is faster than a decoder of JSON.

    ``words``: keys of the line that must have one of some words, where None stands for null and for no such key;
    ``update_words`` the same of the object that holds the update, with ``type``, ``data`` and the key ``feed_time``.
    Without ``holder``, its key, the line itself is that object. ``kinds`` maps the types of updates.
    """

    kinds: Mapping[str, UpdateKind]
    feed_time: str
    holder: str | None
    words: Mapping[str, tuple[str | None, ...]]
    update_words: Mapping[str, tuple[str | None, ...]]


@final
class Update(msgspec.Struct, frozen=True, gc=False):
    """One market-data message.

    ``fields`` has the feed's names; ``symbol`` is ``MARKET`` for market status; ``feed_time`` is the server's
    timestamp of the message as it was sent, or None.
    """

    kind: UpdateKind
    symbol: str
    fields: JsonObject
    feed_time: object = None


class Reply(msgspec.Struct, frozen=True):
    """A message of the feed without market data, such as an acknowledgement or a pong."""

    #: The kind of such lines in the account ``filtered``.
    counted_as: ClassVar[str]


#: A line as it was received, and its message.
Line = tuple[bytes, Update | Reply | BadLine]
