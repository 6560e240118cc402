"""Records to the bytes of Kafka values: a prefix that names the schema, then Avro binary."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from fastavro import schemaless_reader, schemaless_writer

from bridge.errors import BadLine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.serialization.records import Record
    from bridge.serialization.schemas import Schema, Schemas
    from bridge.topics import Topic

SINGLE_OBJECT_MARKER = b"\xc3\x01"
CONFLUENT_MARKER = b"\x00"
FINGERPRINT_BYTES = 8
CONFLUENT_ID_BYTES = 4

# What fastavro lets out for values that do not fit their schema, from its C code and from Python's.
_MISFITS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError)


class Serializer:
    """Encode records; one buffer serves them all, so one codec belongs to one thread."""

    def __init__(self, schemas: Schemas, prefixes: Mapping[Topic, bytes]) -> None:
        self._schemas = schemas
        self._buffer = BytesIO()
        self.prefix_with(prefixes)

    def prefix_with(self, prefixes: Mapping[Topic, bytes]) -> None:
        """Name the schemas by other prefixes from now on."""
        self._of_topic = {topic: (prefix, self._schemas[topic].parsed) for topic, prefix in prefixes.items()}

    def encode(self, topic: Topic, record: Record) -> bytes:
        """Return prefix and body; fields left out take their schema's default.

        Prices are ready two's-complement bytes: fastavro converts only ``decimal.Decimal``. Raise BadLine
        (reason ``encode``) for a record that does not fit its schema.
        """
        prefix, schema = self._of_topic[topic]
        return self._written(topic, prefix, schema, record)

    def changed(self, topic: Topic, value: bytes, **fields: object) -> bytes:
        """Return an encoded record with other values in some fields, under the prefix it had."""
        prefix, schema = self._of_topic[topic]
        body = BytesIO(value)
        prefix = body.read(len(prefix))
        record = schemaless_reader(body, schema, None)
        assert isinstance(record, dict)  # as every schema of ours is a record
        return self._written(topic, prefix, schema, record | fields)

    def _written(self, topic: Topic, prefix: bytes, schema: Any, record: Record) -> bytes:
        buffer = self._buffer
        buffer.seek(0)
        buffer.truncate()
        buffer.write(prefix)
        try:
            schemaless_writer(buffer, schema, record)
        except _MISFITS as error:
            symbol = record.get("symbol")
            raise BadLine(
                "encode",
                f"the record does not fit the schema of {topic}: {_shortened(str(error))}",
                symbol=symbol if isinstance(symbol, str) else None,
            ) from error
        return buffer.getvalue()


def single_object_prefix(schema: Schema) -> bytes:
    """Return marker and fingerprint of Avro single-object encoding (Avro 1.12)."""
    return SINGLE_OBJECT_MARKER + schema.fingerprint


def single_object_prefixes(schemas: Schemas) -> dict[Topic, bytes]:
    """Return the prefix of every topic where no registry is used."""
    return {topic: single_object_prefix(schema) for topic, schema in schemas.items()}


def confluent_prefix(schema_id: int) -> bytes:
    """Return marker and registry id of the Confluent wire format (big-endian)."""
    return CONFLUENT_MARKER + schema_id.to_bytes(CONFLUENT_ID_BYTES, "big")


def _shortened(text: str, most_chars: int = 300) -> str:
    return text if len(text) <= most_chars else text[: most_chars - 3] + "..."
