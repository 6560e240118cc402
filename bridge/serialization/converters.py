"""Converters from the values of the feed's fields to the values of a record's fields.

Each takes a value as the JSON decoder returns it, and the encoder of prices. For an invalid value it raises
ValueError, whose text is the noun phrase for what was expected; for a row of a level-2 message, BadField, which names
the row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from bridge.errors import BadField
from bridge.serialization.decimals import PriceEncoder, whole_number
from bridge.serialization.timestamps import epoch_ms

if TYPE_CHECKING:
    from bridge.serialization.schemas import AvroRecord

Converter = Callable[[object, PriceEncoder], object]

#: A level-2 message of more rows is an error or an attack; real books have some hundreds.
MAX_ROWS = 10_000
_BOOK_ROW = "a row askSize:price:bidSize"
_QUOTE_ROW = "a row exchange:askPrice:askSize:bidPrice:bidSize"

_MAX_SHORT_DIGITS = 18  # any number of so many digits fits into 64 bits
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAX_DOUBLE_CHARACTERS = 400  # the largest double, written without an exponent, has fewer


def price(value: object, prices: PriceEncoder) -> bytes:
    """Return the bytes of a price (see ``PriceEncoder.encode``)."""
    return prices.encode(value)


def size_change(value: object, _prices: PriceEncoder) -> int:
    """Return a whole number of either sign."""
    return whole_number(value)


def size(value: object, prices: PriceEncoder) -> int:
    """Return a whole number of 0 or more."""
    if type(value) is str and len(value) <= _MAX_SHORT_DIGITS and value.isascii() and value.isdigit():
        return int(value)
    number = size_change(value, prices)
    if number < 0:
        raise ValueError("a whole number of 0 or more")
    return number


def double(value: object, _prices: PriceEncoder) -> float:
    """Return a finite double."""
    text = str(value) if type(value) is int else value
    if type(text) is str and len(text) <= _MAX_DOUBLE_CHARACTERS and _DOUBLE.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number
    raise ValueError("a finite number")


def string(value: object, _prices: PriceEncoder) -> str:
    """Return a string as it is."""
    if type(value) is str:
        return value
    raise ValueError("a string")


def tick(value: object, prices: PriceEncoder) -> str:
    """Return a tick, a string or an integer in the feed, as a string."""
    return str(value) if type(value) is int else string(value, prices)


def boolean(value: object, _prices: PriceEncoder) -> bool:
    """Return a boolean as it is."""
    if type(value) is bool:
        return value
    raise ValueError("true or false")


def time(value: object, _prices: PriceEncoder) -> int:
    """Return milliseconds since 1970 (see ``epoch_ms``)."""
    return epoch_ms(value)


def statuses(value: object, prices: PriceEncoder) -> dict[str, str]:
    """Return the statuses of a group of exchanges, currencies or indices, without those that are null."""
    if type(value) is not dict:
        raise ValueError("an object of strings")
    return {name: string(status, prices) for name, status in value.items() if status is not None}


def book(value: object, prices: PriceEncoder) -> list[AvroRecord]:
    """Return the rows of an order book as records."""
    return [_row(_book_level, _BOOK_ROW, f"orderBook[{index}]", row, prices) for index, row in _rows(value)]


def exchange_quotes(value: object, prices: PriceEncoder) -> list[AvroRecord]:
    """Return the quotes of the exchanges as records."""
    return [_row(_exchange_quote, _QUOTE_ROW, f"quotes[{index}]", row, prices) for index, row in _rows(value)]


def _rows(value: object) -> enumerate[object]:
    if type(value) is not list or len(value) > MAX_ROWS:
        raise ValueError(f"a list of at most {MAX_ROWS} rows")
    return enumerate(value)


def _row(
    parse: Callable[[str, PriceEncoder], AvroRecord], expected: str, name: str, row: object, prices: PriceEncoder
) -> AvroRecord:
    if type(row) is not str:
        raise BadField(name, row, expected)
    try:
        return parse(row, prices)
    except ValueError:
        raise BadField(name, row, expected) from None


def _book_level(row: str, prices: PriceEncoder) -> AvroRecord:
    ask_size, level_price, bid_size = row.split(":")
    return {
        "price": prices.encode(level_price),
        "bid_size": size(bid_size, prices) if bid_size else None,
        "ask_size": size(ask_size, prices) if ask_size else None,
    }


def _exchange_quote(row: str, prices: PriceEncoder) -> AvroRecord:
    exchange, ask_price, ask_size, bid_price, bid_size = row.split(":")
    if not exchange:
        raise ValueError(_QUOTE_ROW)
    return {
        "exchange": exchange,
        "bid_price": prices.encode(bid_price) if bid_price else None,
        "bid_size": size(bid_size, prices) if bid_size else None,
        "ask_price": prices.encode(ask_price) if ask_price else None,
        "ask_size": size(ask_size, prices) if ask_size else None,
    }
