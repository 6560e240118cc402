"""The parts a record is made of: the bytes of one field, looked up by the field's value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.serialization.fast.binary import EMPTY, NULL, PRESENT, long_bytes

if TYPE_CHECKING:
    from bridge.serialization.decimals import Prices
    from bridge.serialization.records import Convert

#: Gives the part of a value that was not seen before; raises ValueError where it has none.
Write = Callable[[object], bytes]

#: The first whole number that does not fit into 64 bits.
TOO_LARGE = 1 << 63
_TEXT_CHARS = 48


class OfTexts:
    """Give the part of a text or null: ``known.get(text) or new(text)``.

    A subclass of dict would say it with less, but CPython looks for its ``__getitem__`` by name, each time.
    Only texts of usual length are remembered, and null, so nothing is found under a key it only is equal to. A part
    that holds a rounded price is not remembered either, so that each is counted. At ``entries`` parts the memory
    starts anew.
    """

    __slots__ = ("_entries", "_prices", "_write", "known")

    def __init__(self, write: Write, prices: Prices, entries: int) -> None:
        self.known: dict[object, bytes] = {}
        self._write = write
        self._prices = prices
        self._entries = entries

    def new(self, text: object) -> bytes:
        """Return the part of a text that is not known; raise what ``write`` raises."""
        rounded = self._prices.rounded
        part = self._write(text)
        if (type(text) is str and len(text) <= _TEXT_CHARS) or text is None:
            if self._prices.rounded != rounded:
                return part
            if len(self.known) >= self._entries:
                self.known.clear()
            self.known[text] = part
        return part


class OfIntegers:
    """Give the part of an int: ``known.get(number) or new(number)``; to be asked for no bool, ``True`` being 1.

    Whole numbers from ``large`` on hardly ever come again: they are written as they are, which is what every
    converter of whole numbers makes of them.
    """

    __slots__ = ("_entries", "_large", "_write", "known")

    def __init__(self, write: Write, large: int, entries: int) -> None:
        self.known: dict[int, bytes] = {}
        self._write = write
        self._large = large
        self._entries = entries

    def new(self, number: int) -> bytes:
        """Return the part of a number that is not known; raise what ``write`` raises."""
        if self._large <= number < TOO_LARGE:
            return PRESENT + long_bytes(number)
        part = self._write(number)
        if len(self.known) >= self._entries:
            self.known.clear()
        self.known[number] = part
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
