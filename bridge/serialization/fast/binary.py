"""Avro binary of single values (Avro 1.12, binary encoding), from tables where fastavro counts bits."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The branches of a union of null and something else; an empty array or map ends as it starts.
NULL, PRESENT, EMPTY = b"\x00", b"\x02", b"\x00"

# A varint has 7 bits a byte; two bytes at a time take half the steps, and the tables still fit into a cache.
_BITS = 14
_PAIRS = 1 << _BITS
_LOW = _PAIRS - 1
_ONE_BYTE = 1 << 7
_SIGN_BIT = 63
_CONTINUED = tuple(bytes((pair & 0x7F | 0x80, pair >> 7 | 0x80)) for pair in range(_PAIRS))
_LAST = tuple(bytes((n,)) if n < _ONE_BYTE else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(_PAIRS))

#: The longs from 0 on that have two bytes at most.
SMALL_LONGS = _LAST[::2]

double_bytes = struct.Struct("<d").pack


def long_bytes(number: int) -> bytes:
    """Return a long of 64 bits: zigzag, then a varint."""
    rest = number << 1 ^ number >> _SIGN_BIT
    if rest < _PAIRS:
        return _LAST[rest]
    data = _CONTINUED[rest & _LOW]
    rest >>= _BITS
    if rest < _PAIRS:
        return data + _LAST[rest]
    data += _CONTINUED[rest & _LOW]  # a loop takes a quarter longer, and every record has two or three times
    rest >>= _BITS
    if rest < _PAIRS:
        return data + _LAST[rest]
    data += _CONTINUED[rest & _LOW]
    rest >>= _BITS
    return data + (_LAST[rest] if rest < _PAIRS else _CONTINUED[rest & _LOW] + _LAST[rest >> _BITS])


def bytes_bytes(data: bytes) -> bytes:
    """Return bytes behind their length."""
    size = len(data)
    return (_LAST[size << 1] if size < _PAIRS >> 1 else long_bytes(size)) + data


def string_bytes(text: str) -> bytes:
    """Return a text as UTF-8 behind its length in bytes."""
    return bytes_bytes(text.encode())


def boolean_bytes(flag: bool) -> bytes:  # noqa: FBT001 - the value to write
    """Return a boolean as one byte."""
    return b"\x01" if flag else b"\x00"


def map_bytes(texts: Mapping[str, str]) -> bytes:
    """Return a map of texts as one block."""
    if not texts:
        return EMPTY
    pairs = (string_bytes(name) + string_bytes(text) for name, text in texts.items())
    return long_bytes(len(texts)) + b"".join(pairs) + EMPTY
