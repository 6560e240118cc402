"""Caches of encoded values, by the value as the feed sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.serialization.fast.binary import PRESENT, encode_long

if TYPE_CHECKING:
    from bridge.serialization.decimals import PriceEncoder
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

    __slots__ = ("_encode", "_max_entries", "_prices", "known")

    def __init__(self, encode: ValueEncoder, prices: PriceEncoder, max_entries: int) -> None:
        self.known: dict[object, bytes] = {}
        self._encode = encode
        self._prices = prices
        self._max_entries = max_entries

    def new(self, text: object) -> bytes:
        """Encode a text that is not in the cache, and add it; raise what the encoder raises."""
        rounded = self._prices.rounded
        encoded = self._encode(text)
        if (type(text) is str and len(text) <= _MAX_TEXT_CHARACTERS) or text is None:
            if self._prices.rounded != rounded:
                return encoded
            if len(self.known) >= self._max_entries:
                self.known.clear()
            self.known[text] = encoded
        return encoded


class IntegerCache:
    """A cache of encoded integers, to be used as ``known.get(number) or new(number)``; not for bool (``True == 1``).

    Integers from ``large`` on are not cached, because they hardly ever repeat. They are encoded as they are: every
    converter of whole numbers leaves them unchanged.
    """

    __slots__ = ("_encode", "_large", "_max_entries", "known")

    def __init__(self, encode: ValueEncoder, large: int, max_entries: int) -> None:
        self.known: dict[int, bytes] = {}
        self._encode = encode
        self._large = large
        self._max_entries = max_entries

    def new(self, number: int) -> bytes:
        """Encode an integer that is not in the cache, and add it; raise what the encoder raises."""
        if self._large <= number < TOO_LARGE:
            return PRESENT + encode_long(number)
        encoded = self._encode(number)
        if len(self.known) >= self._max_entries:
            self.known.clear()
        self.known[number] = encoded
        return encoded
