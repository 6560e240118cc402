"""Caches of encoded values, by the value as the feed sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.serialization.fast.binary import PRESENT, encode_long

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.serialization.decimals import DecimalEncoder
    from bridge.serialization.fast.value_encoders import ValueEncoder

#: The first integer that does not fit into 64 bits.
TOO_LARGE = 1 << 63
_MAX_TEXT_CHARACTERS = 48


class TextCache:
    """A cache of encoded texts and null, to be used as ``known.get(text) or new(text)``.

    A subclass of dict would be shorter to use, but CPython looks up its ``__getitem__`` by name on each call.

    Only short strings and null are cached: other types may equal a cached key (``True == 1``), and long texts would
    fill the memory. A rounded price is not cached either, so that each one is counted. When ``max_entries`` is
    reached, the cache is cleared.
    """

    __slots__ = ("_decimals", "_encode", "_max_entries", "known")

    def __init__(self, encode: ValueEncoder, decimals: DecimalEncoder, max_entries: int) -> None:
        self.known: dict[object, bytes] = {}
        self._encode = encode
        self._decimals = decimals
        self._max_entries = max_entries

    def new(self, text: object) -> bytes:
        """Encode a text that is not in the cache, and add it; raise what the encoder raises."""
        rounded = self._decimals.rounded
        encoded = self._encode(text)
        if (type(text) is str and len(text) <= _MAX_TEXT_CHARACTERS) or text is None:
            if self._decimals.rounded != rounded:
                return encoded
            if len(self.known) >= self._max_entries:
                self.known.clear()
            self.known[text] = encoded
        return encoded


class IntegerCache:
    """A cache of encoded integers, to be used as ``known.get(number) or new(number)``; not for bool (``True == 1``).

    Integers from ``large`` on are encoded by ``encode_large`` and not cached, because they hardly ever repeat.
    """

    __slots__ = ("_encode", "_encode_large", "_large", "_max_entries", "known")

    def __init__(self, encode: ValueEncoder, encode_large: ValueEncoder, large: int, max_entries: int) -> None:
        self.known: dict[int, bytes] = {}
        self._encode = encode
        self._encode_large = encode_large
        self._large = large
        self._max_entries = max_entries

    def new(self, number: int) -> bytes:
        """Encode an integer that is not in the cache, and add it; raise what the encoder raises."""
        if number >= self._large:
            return self._encode_large(number)
        encoded = self._encode(number)
        if len(self.known) >= self._max_entries:
            self.known.clear()
        self.known[number] = encoded
        return encoded


def large_longs(encode: ValueEncoder) -> Callable[[Any], bytes]:
    """Return a faster encoder of nullable longs above 0, which every converter of whole numbers leaves unchanged."""
    return lambda number: PRESENT + encode_long(number) if number < TOO_LARGE else encode(number)
