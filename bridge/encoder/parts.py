"""The parts a record is made of: the bytes of one field, looked up by the field's value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.encoder.binary import EMPTY, NULL, PRESENT, long_bytes

if TYPE_CHECKING:
    from bridge.decimals import Prices
    from bridge.records import Convert

#: Gives the part of a value that was not seen before; raises ValueError where it has none.
Write = Callable[[object], bytes]

#: The first whole number that does not fit into 64 bits.
TOO_LARGE = 1 << 63
_TEXT_CHARS = 48


class OfTexts(dict[object, bytes]):
    """Give the part of a text or null: looked up, or else written and, being of usual length, remembered.

    Nothing else is remembered, so nothing is found under a key it only is equal to. A part that holds a rounded
    price is not either, so that each is counted. At ``entries`` parts the memory starts anew. Raise what ``write``
    raises, and TypeError for lists and objects.
    """

    __slots__ = ("_entries", "_prices", "_write")

    def __init__(self, write: Write, prices: Prices, entries: int) -> None:
        super().__init__()
        self._write = write
        self._prices = prices
        self._entries = entries

    def __missing__(self, text: object) -> bytes:
        rounded = self._prices.rounded
        part = self._write(text)
        if (type(text) is str and len(text) <= _TEXT_CHARS) or text is None:
            if self._prices.rounded != rounded:
                return part
            if len(self) >= self._entries:
                self.clear()
            self[text] = part
        return part


class OfIntegers(dict[int, bytes]):
    """Give the part of an int: looked up, or else written and remembered; to be asked for no bool, ``True`` being 1.

    Whole numbers from ``large`` on hardly ever come again: they are written as they are, which is what every
    converter of whole numbers makes of them.
    """

    __slots__ = ("_entries", "_large", "_write")

    def __init__(self, write: Write, large: int, entries: int) -> None:
        super().__init__()
        self._write = write
        self._large = large
        self._entries = entries

    def __missing__(self, number: int) -> bytes:
        if self._large <= number < TOO_LARGE:
            return PRESENT + long_bytes(number)
        part = self._write(number)
        if len(self) >= self._entries:
            self.clear()
        self[number] = part
        return part


def nullable(write: Callable[[Any], bytes], convert: Convert, prices: Prices) -> Write:
    """Convert and write a union of null and something else, null first."""
    return lambda value: NULL if value is None else PRESENT + write(convert(value, prices))


def defaulting(write: Callable[[Any], bytes], convert: Convert, prices: Prices) -> Write:
    """Convert and write a map, which is empty where it is left out: its schema's default."""
    return lambda value: EMPTY if value is None else write(convert(value, prices))


def nullable_column(write: Callable[[Any], bytes], convert: Convert, prices: Prices) -> Write:
    """Convert and write the same union as a column of a row, where an empty text stands for null."""
    return lambda text: PRESENT + write(convert(text, prices)) if text else NULL


def column(write: Callable[[Any], bytes], convert: Convert, prices: Prices) -> Write:
    """Convert and write a column of a row; raise ValueError where it is empty."""

    def part(text: object) -> bytes:
        if not text:
            raise ValueError("a value")
        return write(convert(text, prices))

    return part
