"""Converters from the values of the feed's fields to the values of a record's fields.

Each takes a value as the JSON decoder returns it, and the encoder of decimals. For an invalid value it raises
ValueError, whose text is the noun phrase for what was expected. ``bridge.serialization.readable_fields`` decides what
becomes of such a value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from bridge.serialization.decimals import DecimalEncoder, is_negative, whole_number
from bridge.serialization.timestamps import epoch_ms

Converter = Callable[[object, DecimalEncoder], object]

_MAX_SHORT_DIGITS = 18  # any number of so many digits fits into 64 bits
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAX_DOUBLE_CHARACTERS = 400  # the largest double, written without an exponent, has fewer
#: Texts that mean "no text", in lower case. A dash is none of them: as a tick it means "down".
NO_TEXT = frozenset({"", "n/a", "nan", "null"})
_MAX_NO_TEXT_CHARACTERS = max(map(len, NO_TEXT))
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def price(value: object, decimals: DecimalEncoder) -> bytes:
    """Return the bytes of a price of 0 or more (see ``DecimalEncoder.price``)."""
    data = decimals.price(value)
    if is_negative(data):
        raise ValueError("a price of 0 or more")
    return data


def price_change(value: object, decimals: DecimalEncoder) -> bytes:
    """Return the bytes of a difference of prices, of either sign."""
    return decimals.price(value)


def quantity(value: object, decimals: DecimalEncoder) -> bytes:
    """Return the bytes of a size or volume that may be a fraction (see ``DecimalEncoder.quantity``)."""
    return decimals.quantity(value)


def size(value: object, _decimals: DecimalEncoder) -> int:
    """Return a whole number of 0 or more."""
    if type(value) is str and len(value) <= _MAX_SHORT_DIGITS and value.isascii() and value.isdigit():
        return int(value)
    number = whole_number(value)
    if number < 0:
        raise ValueError("a whole number of 0 or more")
    return number


def size_change(value: object, _decimals: DecimalEncoder) -> int:
    """Return a whole number of either sign."""
    return whole_number(value)


def double(value: object, _decimals: DecimalEncoder) -> float:
    """Return a finite double."""
    text = str(value) if type(value) is int else value
    if type(text) is str and len(text) <= _MAX_DOUBLE_CHARACTERS and _DOUBLE.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number
    raise ValueError("a finite number")


def string(value: object, _decimals: DecimalEncoder) -> str:
    """Return a string as it is, and a number as it was written: codes of exchanges come as either."""
    if type(value) is str and (len(value) > _MAX_NO_TEXT_CHARACTERS or value.lower() not in NO_TEXT):
        return value
    if type(value) is int:
        return str(value)
    raise ValueError("a string that is not empty")


def boolean(value: object, _decimals: DecimalEncoder) -> bool:
    """Return a boolean, also if it was written as a text, or as 1 or 0."""
    if type(value) is bool:
        return value
    if type(value) is int or type(value) is str:
        flag = _BOOLEANS.get(str(value).lower())
        if flag is not None:
            return flag
    raise ValueError("true or false")


def time(value: object, _decimals: DecimalEncoder) -> int:
    """Return milliseconds since 1970 (see ``epoch_ms``)."""
    return epoch_ms(value)


def statuses(value: object, decimals: DecimalEncoder) -> dict[str, str]:
    """Return the statuses of a group of exchanges, currencies or indices, without those that are null."""
    if type(value) is not dict:
        raise ValueError("an object of strings")
    return {name: string(status, decimals) for name, status in value.items() if status is not None}
