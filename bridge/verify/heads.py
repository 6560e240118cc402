"""The first fields of a market record, read without decoding the rest.

All market records begin with the same seven fields (``avro/README.md``), so that one expression finds its way
through their Avro encoding (Avro 1.12, "Binary Encoding"). Where it does not fit the full decoder is asked: it is
the judge, also of each new schema (see ``Reader.learn``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bridge.errors import Undecodable
from bridge.serialization.serializer import (
    CONFLUENT_ID_BYTES,
    CONFLUENT_MARKER,
    FINGERPRINT_BYTES,
    SINGLE_OBJECT_MARKER,
)

if TYPE_CHECKING:
    from bridge.serialization.deserializer import Deserializer

#: (symbol in UTF-8, ``ingest_time_us``, ``session_id``, ``seq``, ``after_gap``)
Head = tuple[bytes, int, int, int, bool]

_SINGLE_OBJECT_PREFIX: Final = len(SINGLE_OBJECT_MARKER) + FINGERPRINT_BYTES
_CONFLUENT_PREFIX: Final = len(CONFLUENT_MARKER) + CONFLUENT_ID_BYTES
#: So many numbers are remembered by their bytes: sessions, and the seconds of times.
_MOST_REMEMBERED: Final = 4096
#: A time in µs has 8 bytes; the first three of them count up to about a second, the others stay the same for one.
_TIME_BYTES: Final = 8
_FRACTION_BYTES: Final = 3
_LONG = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_NULL_OR_LONG = rb"(?:\x00|\x02" + _LONG + rb")"
_BEHIND_SYMBOL = re.compile(
    _NULL_OR_LONG * 2 + rb"(" + _LONG + rb")(" + _LONG + rb")(" + _LONG + rb")([\x00\x01])", re.DOTALL
)


class Reader:
    """Read the heads of one topic's records; ``name`` is the full name of their schema."""

    def __init__(self, name: str, decoder: Deserializer) -> None:
        self.name = name
        self._decoder = decoder
        #: Where the record starts, by the prefix that names its schema.
        self._starts: dict[bytes, int] = {}
        self._sessions: dict[bytes, int] = {}
        self._seconds: dict[bytes, int] = {}

    def head(self, value: bytes | None) -> Head | None:
        """Return the head, or None where the value has to be learned first, or is none of ours."""
        if value is None:
            return None
        start = self._starts.get(value[:_SINGLE_OBJECT_PREFIX]) or self._starts.get(value[:_CONFLUENT_PREFIX])
        return None if start is None else self._read(value, start)

    async def learn(self, value: bytes | None) -> Head:
        """Return the head by the full decoder, and trust the fast way with this schema if it reads the same.

        Raises Undecodable, also for a record of another schema, and what the decoder raises about the registry.
        """
        decoded = await self._decoder.decode(value)
        assert value is not None  # the decoder refuses it
        if decoded.name != self.name:
            raise Undecodable(f"the value is a {decoded.name}, not a {self.name}")
        head = _head_of(decoded.record)
        size = _SINGLE_OBJECT_PREFIX if value.startswith(SINGLE_OBJECT_MARKER) else _CONFLUENT_PREFIX
        if self._read(value, size) == head:
            self._starts[value[:size]] = size
        return head

    def _read(self, value: bytes, start: int) -> Head | None:
        size, start = _size(value, start)
        if not 0 <= size <= len(value):
            return None
        end = start + size
        found = _BEHIND_SYMBOL.match(value, end)
        if found is None:
            return None
        ingest_us, session, seq, after_gap = found.groups()
        session_id = self._sessions.get(session)
        if session_id is None:
            session_id = _remember(self._sessions, session, long(session))
        return value[start:end], self._time(ingest_us), session_id, long(seq), after_gap == b"\x01"

    def _time(self, data: bytes) -> int:
        """Return the number, as ``long`` does; fast for times, of which most of the bytes come again and again."""
        if len(data) != _TIME_BYTES or data[0] & 1:
            return long(data)
        rest = data[_FRACTION_BYTES:]
        second = self._seconds.get(rest)
        if second is None:
            second = _remember(self._seconds, rest, long(b"\x80\x80\x80" + rest))
        return second + ((data[0] & 0x7F | (data[1] & 0x7F) << 7 | (data[2] & 0x7F) << 14) >> 1)


def _remember(numbers: dict[bytes, int], data: bytes, number: int) -> int:
    if len(numbers) >= _MOST_REMEMBERED:
        numbers.clear()
    numbers[data] = number
    return number


def long(data: bytes) -> int:
    """Return the number of a zigzag varint."""
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
    return (number >> 1) ^ -(number & 1)


def _size(value: bytes, start: int) -> tuple[int, int]:
    """Return the length of a string and where its bytes start; a negative one where there is none."""
    if start >= len(value):
        return -1, start
    if value[start] < 0x80:  # noqa: PLR2004 - one byte of a varint holds 7 bits
        return (value[start] >> 1) ^ -(value[start] & 1), start + 1
    end = start
    while end < len(value) - 1 and value[end] & 0x80:
        end += 1
    return long(value[start : end + 1]), end + 1


def _head_of(record: dict[str, object]) -> Head:
    try:
        symbol, ingest_us, session_id, seq, after_gap = (
            record[name] for name in ("symbol", "ingest_time_us", "session_id", "seq", "after_gap")
        )
    except KeyError as missing:
        raise Undecodable(f"the record has no {missing}") from None
    match symbol, ingest_us, session_id, seq, after_gap:
        case str(), int(), int(), int(), bool():
            return symbol.encode(), ingest_us, session_id, seq, after_gap
    raise Undecodable("symbol, ingest_time_us, session_id, seq or after_gap is of another type")
