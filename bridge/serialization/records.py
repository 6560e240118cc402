"""Updates of the feed to records of the topics: which fields, under which names, of which types."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from bridge.errors import BadField
from bridge.market_data import JsonObject, Update, UpdateKind
from bridge.serialization.decimals import Prices, whole_number
from bridge.serialization.timestamps import epoch_ms
from bridge.topics import Topic

Record = dict[str, object]
#: Makes a value of the feed fit for its field; raises ValueError that says what was expected.
Convert = Callable[[object, Prices], object]

#: A level-2 message of more rows is an error or an attack; real books have some hundreds.
MOST_ROWS = 10_000
_BOOK_ROW = "a row askSize:price:bidSize"
_QUOTE_ROW = "a row exchange:askPrice:askSize:bidPrice:bidSize"

_SHORT_WHOLE_CHARS = 18  # so many digits fit into 64 bits whatever they are
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DOUBLE_CHARS = 400  # a double written out in full, without exponent


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """Carry what the bridge adds to a record: times (µs since 1970), its place, whether there was loss."""

    ingest_time_us: int
    session_id: int
    seq: int
    after_gap: bool


class Field(NamedTuple):
    """Say which field of the record a field of the feed fills, and how its value is made fit."""

    name: str
    convert: Convert


def _price(value: object, prices: Prices) -> bytes:
    # bool and float are kept out here: a dict takes True and 1.0 for the key 1.
    if type(value) is str or type(value) is int:
        return prices[value]
    raise ValueError("a decimal number")


def _change_of_size(value: object, _prices: Prices) -> int:
    if type(value) is str or type(value) is int:
        return whole_number(value)
    raise ValueError("a whole number")


def _size(value: object, prices: Prices) -> int:
    if type(value) is str and len(value) <= _SHORT_WHOLE_CHARS and value.isascii() and value.isdigit():
        return int(value)
    number = _change_of_size(value, prices)
    if number < 0:
        raise ValueError("a whole number of 0 or more")
    return number


def _double(value: object, _prices: Prices) -> float:
    text = str(value) if type(value) is int else value
    if type(text) is str and len(text) <= _DOUBLE_CHARS and _DOUBLE.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number
    raise ValueError("a finite number")


def _text(value: object, _prices: Prices) -> str:
    if type(value) is str:
        return value
    raise ValueError("a text")


def _tick(value: object, prices: Prices) -> str:
    return str(value) if type(value) is int else _text(value, prices)


def _flag(value: object, _prices: Prices) -> bool:
    if type(value) is bool:
        return value
    raise ValueError("true or false")


def _time(value: object, _prices: Prices) -> int:
    return epoch_ms(value)


def _statuses(value: object, prices: Prices) -> dict[str, str]:
    if type(value) is not dict:
        raise ValueError("an object of texts")
    return {name: _text(status, prices) for name, status in value.items() if status is not None}


def _book(value: object, prices: Prices) -> list[Record]:
    return [_row(_level, _BOOK_ROW, f"orderBook[{index}]", row, prices) for index, row in _rows(value)]


def _quotes(value: object, prices: Prices) -> list[Record]:
    return [_row(_exchange_quote, _QUOTE_ROW, f"quotes[{index}]", row, prices) for index, row in _rows(value)]


def _rows(value: object) -> enumerate[object]:
    if type(value) is not list or len(value) > MOST_ROWS:
        raise ValueError(f"a list of at most {MOST_ROWS} rows")
    return enumerate(value)


def _row(parse: Callable[[str, Prices], Record], expected: str, where: str, row: object, prices: Prices) -> Record:
    if type(row) is not str:
        raise BadField(where, row, expected)
    try:
        return parse(row, prices)
    except ValueError:
        raise BadField(where, row, expected) from None


def _level(row: str, prices: Prices) -> Record:
    ask_size, price, bid_size = row.split(":")
    return {
        "price": prices[price],
        "bid_size": _size(bid_size, prices) if bid_size else None,
        "ask_size": _size(ask_size, prices) if ask_size else None,
    }


def _exchange_quote(row: str, prices: Prices) -> Record:
    exchange, ask_price, ask_size, bid_price, bid_size = row.split(":")
    if not exchange:
        raise ValueError(_QUOTE_ROW)
    return {
        "exchange": exchange,
        "bid_price": prices[bid_price] if bid_price else None,
        "bid_size": _size(bid_size, prices) if bid_size else None,
        "ask_price": prices[ask_price] if ask_price else None,
        "ask_size": _size(ask_size, prices) if ask_size else None,
    }


_EXECUTION = {
    "price": Field("price", _price),
    "size": Field("size", _size),
    "tradeExchange": Field("trade_exchange", _text),
    "tradeTimestamp": Field("event_time", _time),
    "tradeSeq": Field("trade_seq", _size),
    "tick": Field("tick", _tick),
}

#: The fields of the feed that make up each record (protocol §5). This is the one place that knows them.
FIELDS: Mapping[Topic, Mapping[str, Field]] = {
    Topic.QUOTES: {
        "bidPrice": Field("bid_price", _price),
        "bidSize": Field("bid_size", _size),
        "bidExchange": Field("bid_exchange", _text),
        "bidChange": Field("bid_change", _price),
        "bidSizeChange": Field("bid_size_change", _change_of_size),
        "askPrice": Field("ask_price", _price),
        "askSize": Field("ask_size", _size),
        "askExchange": Field("ask_exchange", _text),
        "askChange": Field("ask_change", _price),
        "askSizeChange": Field("ask_size_change", _change_of_size),
        "quoteTimestamp": Field("event_time", _time),
    },
    Topic.TRADES: {
        **_EXECUTION,
        "lastPrice": Field("last_price", _price),
        "totalVolume": Field("total_volume", _size),
        "tickVolume": Field("tick_volume", _size),
        "openPrice": Field("open_price", _price),
        "highPrice": Field("high_price", _price),
        "lowPrice": Field("low_price", _price),
        "netChange": Field("net_change", _price),
        "high52Week": Field("high_52_week", _price),
        "low52Week": Field("low_52_week", _price),
        "openInterest": Field("open_interest", _size),
        "dividend": Field("dividend", _price),
    },
    Topic.TIMESALES: _EXECUTION,
    Topic.L2: {
        "orderBook": Field("book", _book),
        "quotes": Field("quotes", _quotes),
    },
    Topic.GREEKS: {
        "delta": Field("delta", _double),
        "gamma": Field("gamma", _double),
        "theta": Field("theta", _double),
        "vega": Field("vega", _double),
        "rho": Field("rho", _double),
        "impliedVolatility": Field("implied_volatility", _double),
    },
    Topic.MARKET_STATUS: {
        "market": Field("market", _text),
        "afterHours": Field("after_hours", _flag),
        "earlyHours": Field("early_hours", _flag),
        "exchanges": Field("exchanges", _statuses),
        "currencies": Field("currencies", _statuses),
        "indicesGroups": Field("index_groups", _statuses),
        "serverTime": Field("server_time", _time),
    },
}
#: Fields of any symbol's update; by themselves they make no record.
SHARED_FIELDS: Mapping[str, Field] = {"instrumentType": Field("instrument_type", _text)}

_FLAT = (Topic.QUOTES, Topic.TRADES, Topic.GREEKS)
_TOPICS: Mapping[UpdateKind, tuple[Topic, ...]] = {
    UpdateKind.QUOTE: _FLAT,
    UpdateKind.TRADE: _FLAT,
    UpdateKind.COMPOSITE: _FLAT,
    UpdateKind.TIMESALE: (Topic.TIMESALES,),
    UpdateKind.LEVEL2: (Topic.L2,),
    UpdateKind.GREEKS: (Topic.GREEKS,),
    UpdateKind.MARKET_STATUS: (Topic.MARKET_STATUS,),
}
_TELLING = {topic: frozenset(fields) for topic, fields in FIELDS.items()}
_KNOWN = {
    kind: frozenset({"symbol", *SHARED_FIELDS}.union(*(FIELDS[topic] for topic in topics)))
    for kind, topics in _TOPICS.items()
}
_TAKEN = {
    topic: {**fields, **({} if topic is Topic.MARKET_STATUS else SHARED_FIELDS)} for topic, fields in FIELDS.items()
}
_NONE: frozenset[str] = frozenset()


def topics_of(update: Update) -> tuple[Topic, ...]:
    """Return the topics that get a record of this update: none where no field says anything to its kind.

    Quotes, trades and greeks are told by their fields, whatever of the three the update calls itself; a null
    says nothing.
    """
    return tuple(topic for topic in _TOPICS[update.kind] if _says(update.fields, _TELLING[topic]))


def unknown_fields(update: Update) -> frozenset[str]:
    """Return the names in this update that nobody here knows; the sender chose them, so bound them."""
    known = _KNOWN[update.kind]
    return _NONE if known.issuperset(update.fields) else frozenset(update.fields) - known


def build(topic: Topic, update: Update, stamp: Stamp, prices: Prices) -> Record:
    """Return the record of one market-data topic.

    What the update does not have, or has as null, is left out: the encoder writes null. Raise BadField for a
    value that its field cannot hold.
    """
    record: Record = {
        "symbol": update.symbol,
        "feed_time": None if update.feed_time is None else _feed_time(update.feed_time),
        "ingest_time_us": stamp.ingest_time_us,
        "session_id": stamp.session_id,
        "seq": stamp.seq,
        "after_gap": stamp.after_gap,
    }
    taken = _TAKEN[topic]
    for wire, value in update.fields.items():
        if value is not None and wire in taken:
            name, convert = taken[wire]
            try:
                record[name] = convert(value, prices)
            except ValueError as error:
                raise BadField(wire, value, str(error)) from None
    return record


def _says(fields: JsonObject, names: frozenset[str]) -> bool:
    if names.isdisjoint(fields):  # the cheap answer to most questions
        return False
    return any(fields[name] is not None for name in names.intersection(fields))


def _feed_time(value: object) -> int:
    try:
        return epoch_ms(value)
    except ValueError as error:
        raise BadField("timestamp", value, str(error)) from None
