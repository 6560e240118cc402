"""The common fields of a market record, decoded without the rest of it."""

from __future__ import annotations

import json
from io import BytesIO
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from fastavro import parse_schema, schemaless_reader

from bridge.errors import Undecodable
from bridge.serialization.serializer import (
    CONFLUENT_ID_BYTES,
    CONFLUENT_MARKER,
    FINGERPRINT_BYTES,
    SINGLE_OBJECT_MARKER,
)

if TYPE_CHECKING:
    from bridge.serialization.deserializer import Deserializer
    from bridge.serialization.schemas import Schema
    from bridge.topics import Topic

#: (symbol in UTF-8, ``ingest_time_us``, ``session_id``, ``seq``, ``after_gap``)
RecordHeader = tuple[bytes, int, int, int, bool]

_TYPES: Final = {"symbol": str, "ingest_time_us": int, "session_id": int, "seq": int, "after_gap": bool}
_header_fields = itemgetter(*_TYPES)
_SINGLE_OBJECT_PREFIX: Final = len(SINGLE_OBJECT_MARKER) + FINGERPRINT_BYTES
_CONFLUENT_PREFIX: Final = len(CONFLUENT_MARKER) + CONFLUENT_ID_BYTES
#: What fastavro raises for bytes that are not of the schema.
_GARBAGE: Final = (ValueError, EOFError, IndexError, OverflowError, MemoryError)


class HeaderReader:
    """A decoder of the headers of one topic's records.

    It decodes by the topic's schema, cut off behind the last common field. Whether that fits a value's schema is asked
    of the full decoder once for each schema id; values of another layout are decoded in full.
    """

    def __init__(self, topic: Topic, schema: Schema, decoder: Deserializer) -> None:
        self._topic = topic
        self._schema = _header_schema(schema)
        self._decoder = decoder
        #: Whether the header schema fits, by the prefix of a value that names its schema.
        self._fits: dict[bytes, int] = {}

    def read(self, value: bytes | None) -> RecordHeader | None:
        """Return the header, or None if ``decode`` has to be asked."""
        if value is None:
            return None
        start = self._fits.get(value[:_SINGLE_OBJECT_PREFIX]) or self._fits.get(value[:_CONFLUENT_PREFIX])
        return self._read_from(value, start) if start else None

    async def decode(self, value: bytes | None) -> RecordHeader:
        """Return the header by decoding the whole record.

        Raises Undecodable, also for a record of another schema, and what the decoder raises about the registry.
        """
        record: dict[str, Any] = await self._decoder.decode_as(self._topic, value)
        wrong = [field for field, type_ in _TYPES.items() if not isinstance(record.get(field), type_)]
        if wrong:
            raise Undecodable(f"the record's {', '.join(wrong)} is missing or of another type")
        symbol, *rest = _header_fields(record)
        header = symbol.encode(), *rest
        assert value is not None  # the decoder rejects it
        start = _SINGLE_OBJECT_PREFIX if value.startswith(SINGLE_OBJECT_MARKER) else _CONFLUENT_PREFIX
        if self._read_from(value, start) == header:
            self._fits[value[:start]] = start
        return header

    def _read_from(self, value: bytes, start: int) -> RecordHeader | None:
        body = BytesIO(value)
        body.seek(start)
        try:
            return _header_fields(schemaless_reader(body, self._schema, None))  # type: ignore[no-any-return,arg-type]
        except _GARBAGE:
            return None


def _header_schema(schema: Schema) -> Any:
    """Return the beginning of a record's schema, with bytes for strings (the same encoding) and no logical types."""
    declared = json.loads(schema.text)["fields"]
    size = 1 + max(place for place, field in enumerate(declared) if field["name"] in _TYPES)
    fields = [{"name": field["name"], "type": _plain(field["type"])} for field in declared[:size]]
    return parse_schema({"type": "record", "name": "Header", "fields": fields})


def _plain(declared: Any) -> Any:
    if isinstance(declared, list):
        return [_plain(branch) for branch in declared]
    declared = declared["type"] if isinstance(declared, dict) else declared
    return "bytes" if declared == "string" else declared
