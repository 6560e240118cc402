"""Kafka values back to records, for people: by fingerprint (our schemas) or by registry id (any schema)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from fastavro import schemaless_reader
from fastavro.schema import SchemaParseException, UnknownType

from bridge.errors import Undecodable
from bridge.serialization.schemas import schema_of
from bridge.serialization.serializer import (
    CONFLUENT_ID_BYTES,
    CONFLUENT_MARKER,
    FINGERPRINT_BYTES,
    SINGLE_OBJECT_MARKER,
)

if TYPE_CHECKING:
    from bridge.serialization.records import Record
    from bridge.serialization.schema_registry import Registry
    from bridge.serialization.schemas import Schema, Schemas

_BASE64 = "base64:"
# What fastavro lets out for bytes that are not of the schema, from its C code and from Python's.
_GARBAGE = (
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
    ArithmeticError,
    MemoryError,
    RecursionError,
)


class Decoded(NamedTuple):
    """Carry a record with the full name of its schema."""

    name: str
    record: Record


class Deserializer:
    """Decode values in either encoding; what was learned from the registry is kept.

    Raise Undecodable for a value that is not ours to read, RegistryUnreachable or RegistryRefused where the
    registry had to be asked in vain.
    """

    def __init__(self, schemas: Schemas, registry: Registry | None = None) -> None:
        self._by_fingerprint = {schema.fingerprint: schema for schema in schemas.values()}
        self._by_id: dict[int, Schema] = {}
        self._registry = registry

    async def decode(self, value: bytes | None) -> Decoded:
        """Return the record in a Kafka value: decimals as Decimal, timestamps as aware datetime."""
        if not value:
            raise Undecodable("the value is empty")
        if value.startswith(SINGLE_OBJECT_MARKER):
            return _read(self._schema_by_fingerprint(value), value, len(SINGLE_OBJECT_MARKER) + FINGERPRINT_BYTES)
        if value.startswith(CONFLUENT_MARKER):
            return _read(await self._schema_by_id(value), value, len(CONFLUENT_MARKER) + CONFLUENT_ID_BYTES)
        raise Undecodable(
            f"the value starts with {value[:2].hex()}, neither Avro single-object encoding (c301) "
            "nor the Confluent wire format (00)"
        )

    def _schema_by_fingerprint(self, value: bytes) -> Schema:
        start = len(SINGLE_OBJECT_MARKER)
        fingerprint = value[start : start + FINGERPRINT_BYTES]
        schema = self._by_fingerprint.get(fingerprint)
        if schema is None:
            raise Undecodable(
                f"no schema of this version has the fingerprint {fingerprint.hex()}: "
                "another version of the bridge, or another application, wrote the value"
            )
        return schema

    async def _schema_by_id(self, value: bytes) -> Schema:
        start = len(CONFLUENT_MARKER)
        digits = value[start : start + CONFLUENT_ID_BYTES]
        if len(digits) < CONFLUENT_ID_BYTES:
            raise Undecodable("the value ends within its schema id")
        schema_id = int.from_bytes(digits, "big")
        if schema_id not in self._by_id:
            self._by_id[schema_id] = await self._fetched(schema_id)
        return self._by_id[schema_id]

    async def _fetched(self, schema_id: int) -> Schema:
        if self._registry is None:
            raise Undecodable(f"the value names the registry's schema {schema_id}: set SCHEMA_REGISTRY_URL")
        text = await self._registry.fetch(schema_id)
        if text is None:
            raise Undecodable(f"the schema registry has no schema {schema_id}")
        try:
            return schema_of(text)
        except (ValueError, SchemaParseException, UnknownType) as error:
            raise Undecodable(f"the registry's schema {schema_id} is no Avro record schema: {error}") from error


def to_json(record: Record) -> dict[str, Any]:
    """Return the record as JSON knows it, losing nothing.

    Decimals become their exact text without trailing zeros, timestamps ISO-8601 with milliseconds and ``Z``,
    bytes their UTF-8 text (``base64:`` and base64 where they are no UTF-8).
    """
    return {name: _plain(value) for name, value in record.items()}


def _read(schema: Schema, value: bytes, start: int) -> Decoded:
    body = BytesIO(value)
    body.seek(start)
    try:
        record = schemaless_reader(body, schema.parsed, None)
    except _GARBAGE as error:
        raise Undecodable(f"the value is no {schema.name}: {str(error) or type(error).__name__}") from error
    if body.tell() != len(value):
        raise Undecodable(f"the value has {len(value) - body.tell()} bytes behind its {schema.name}")
    assert isinstance(record, dict)
    return Decoded(schema.name, record)


def _plain(value: object) -> Any:
    match value:
        case Decimal():
            return _decimal_text(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case bytes():
            return _bytes_text(value)
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
    return value


def _decimal_text(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bytes_text(data: bytes) -> str:
    """Return UTF-8 text; what could be taken for base64 becomes base64, so that the reader can tell."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = _BASE64
    return f"{_BASE64}{base64.b64encode(data).decode()}" if text.startswith(_BASE64) else text
