"""Records to Kafka values with fastavro: a prefix that identifies the schema, then Avro binary."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from fastavro import schemaless_reader, schemaless_writer

from bridge.errors import BadLine, Undecodable, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.serialization.schemas import AvroRecord, Schema, Schemas
    from bridge.topics import Topic

SINGLE_OBJECT_MARKER = b"\xc3\x01"
CONFLUENT_MARKER = b"\x00"
FINGERPRINT_BYTES = 8
CONFLUENT_ID_BYTES = 4

#: What fastavro raises for a value that does not match its schema, from its C code and from its Python code.
_MISMATCH_ERRORS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError)
_MAX_ERROR_CHARACTERS = 300


class Serializer:
    """A serializer of the records of all topics. Not thread-safe: the calls share one buffer."""

    def __init__(self, schemas: Schemas, prefixes: Mapping[Topic, bytes]) -> None:
        self._schemas = schemas
        self._buffer = BytesIO()
        self.set_prefixes(prefixes)

    def set_prefixes(self, prefixes: Mapping[Topic, bytes]) -> None:
        """Start values with other prefixes from now on."""
        self._by_topic = {topic: (prefix, self._schemas[topic].parsed) for topic, prefix in prefixes.items()}

    def encode(self, topic: Topic, record: AvroRecord) -> bytes:
        """Return prefix and body of a record; missing fields get the defaults of their schema.

        Prices are given as the bytes of an Avro decimal: fastavro only converts ``decimal.Decimal``. Raise BadLine
        (reason ``encode``) for a record that does not match its schema.
        """
        prefix, schema = self._by_topic[topic]
        return self._encode(topic, prefix, schema, record)

    def decode(self, topic: Topic, value: bytes) -> AvroRecord:
        """Return a record that was encoded here; raise Undecodable."""
        prefix, schema = self._by_topic[topic]
        try:
            record = schemaless_reader(BytesIO(value[len(prefix) :]), schema, None)
        except (*_MISMATCH_ERRORS, EOFError) as error:
            raise Undecodable(f"the value is no record of {topic}: {str(error) or type(error).__name__}") from error
        assert isinstance(record, dict)  # the schemas of all topics are those of records
        return record

    def replace_fields(self, topic: Topic, value: bytes, **fields: object) -> bytes:
        """Return an encoded record with other values in some fields, and with the prefix it had."""
        prefix, schema = self._by_topic[topic]
        return self._encode(topic, value[: len(prefix)], schema, {**self.decode(topic, value), **fields})

    def _encode(self, topic: Topic, prefix: bytes, schema: Any, record: AvroRecord) -> bytes:
        buffer = self._buffer
        buffer.seek(0)
        buffer.truncate()
        buffer.write(prefix)
        try:
            schemaless_writer(buffer, schema, record)
        except _MISMATCH_ERRORS as error:
            symbol = record.get("symbol")
            raise BadLine(
                "encode",
                f"the record does not match the schema of {topic}: {shorten(str(error), _MAX_ERROR_CHARACTERS)}",
                symbol=symbol if isinstance(symbol, str) else None,
            ) from error
        return buffer.getvalue()


def single_object_prefix(schema: Schema) -> bytes:
    """Return marker and fingerprint (Avro 1.12 specification, single-object encoding)."""
    return SINGLE_OBJECT_MARKER + schema.fingerprint


def single_object_prefixes(schemas: Schemas) -> dict[Topic, bytes]:
    """Return the prefix of every topic when no schema registry is used."""
    return {topic: single_object_prefix(schema) for topic, schema in schemas.items()}


def confluent_prefix(schema_id: int) -> bytes:
    """Return marker and schema id, big-endian (Confluent Schema Registry documentation, wire format)."""
    return CONFLUENT_MARKER + schema_id.to_bytes(CONFLUENT_ID_BYTES, "big")
