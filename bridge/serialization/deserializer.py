"""Kafka values to records, by fingerprint (this version's schemas and released ones) or by registry id (any schema)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from fastavro import schemaless_reader

from bridge.errors import Undecodable
from bridge.serialization.schemas import INVALID_SCHEMA_ERRORS, parse_schema
from bridge.serialization.serializer import (
    CONFLUENT_ID_BYTES,
    CONFLUENT_MARKER,
    FINGERPRINT_BYTES,
    SINGLE_OBJECT_MARKER,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.serialization.schema_registry import Registry
    from bridge.serialization.schemas import AvroRecord, Schema, Schemas
    from bridge.topics import Topic

_BASE64 = "base64:"
#: What fastavro raises for bytes that do not match the schema, from its C code and from its Python code.
_MISMATCH_ERRORS = (
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
    """A record and the full name of its schema."""

    name: str
    record: AvroRecord


class Deserializer:
    """A deserializer of both encodings that caches the schemas it fetches from the registry."""

    def __init__(self, schemas: Schemas, registry: Registry | None = None, released: Iterable[Schema] = ()) -> None:
        """Decode values of these schemas, of ``released`` ones, and with a registry those of its ids."""
        self._by_fingerprint = {schema.fingerprint: schema for schema in (*released, *schemas.values())}
        self._by_id: dict[int, Schema] = {}
        #: Why there is no schema of an id.
        self._unusable: dict[int, str] = {}
        self._names = {topic: schema.name for topic, schema in schemas.items()}
        self._registry = registry

    async def decode(self, value: bytes | None) -> Decoded:
        """Do as ``decode_known``, after fetching the schema from the registry if it is not known yet.

        Raise RegistryUnreachable or RegistryRefused, too, if it cannot be fetched.
        """
        schema_id = self._missing_id(value)
        if schema_id is not None:
            if schema_id not in self._unusable:
                await self._fetch(schema_id)
            if (problem := self._unusable.get(schema_id)) is not None:
                raise Undecodable(problem, "of an unknown schema")
        return self.decode_known(value)

    async def decode_as(self, topic: Topic, value: bytes | None) -> AvroRecord:
        """Return a record of this topic; raise Undecodable, also if it is of another one, and what ``decode`` does."""
        name, record = await self.decode(value)
        if name != self._names[topic]:
            raise Undecodable(f"the value is a {name}, not a {self._names[topic]}", "a record of another topic")
        return record

    def decode_known(self, value: bytes | None) -> Decoded:
        """Return the record in a Kafka value: decimals as Decimal, timestamps as aware datetime.

        Raise Undecodable for a value in another format or with a schema that is not known yet.
        """
        if not value:
            raise Undecodable("the value is empty", "empty")
        if value.startswith(SINGLE_OBJECT_MARKER):
            return _read(self._schema_by_fingerprint(value), value, len(SINGLE_OBJECT_MARKER) + FINGERPRINT_BYTES)
        if value.startswith(CONFLUENT_MARKER):
            return _read(self._schema_by_id(value), value, len(CONFLUENT_MARKER) + CONFLUENT_ID_BYTES)
        raise Undecodable(
            f"the value starts with {value[:2].hex()}, neither Avro single-object encoding (c301) "
            "nor the Confluent wire format (00)",
            "in another format",
        )

    def _schema_by_fingerprint(self, value: bytes) -> Schema:
        start = len(SINGLE_OBJECT_MARKER)
        fingerprint = value[start : start + FINGERPRINT_BYTES]
        schema = self._by_fingerprint.get(fingerprint)
        if schema is None:
            raise Undecodable(
                f"no schema of this version or an earlier one has the fingerprint {fingerprint.hex()}: "
                "a later version of the bridge, or another application, wrote the value",
                "of an unknown schema",
            )
        return schema

    def _schema_by_id(self, value: bytes) -> Schema:
        schema_id = _id_of(value)
        if schema_id is None:
            raise Undecodable("the value ends within its schema id")
        schema = self._by_id.get(schema_id)
        if schema is None:
            text = f"the value has the registry's schema id {schema_id}: set SCHEMA_REGISTRY_URL"
            raise Undecodable(text, "with a schema id, but no registry is set")
        return schema

    def _missing_id(self, value: bytes | None) -> int | None:
        """Return the schema id of a value that the registry has to be asked for."""
        if self._registry is None or value is None or not value.startswith(CONFLUENT_MARKER):
            return None
        schema_id = _id_of(value)
        return None if schema_id in self._by_id else schema_id

    async def _fetch(self, schema_id: int) -> None:
        """Ask the registry for a schema, once for each id: it registers a schema before anyone uses it."""
        assert self._registry is not None  # see _missing_id
        text = await self._registry.fetch(schema_id)
        if text is None:
            self._unusable[schema_id] = f"the schema registry has no schema {schema_id}"
            return
        try:
            self._by_id[schema_id] = parse_schema(text)
        except INVALID_SCHEMA_ERRORS as error:
            self._unusable[schema_id] = f"the registry's schema {schema_id} is not an Avro record schema: {error}"


def _id_of(value: bytes) -> int | None:
    """Return the schema id of a value in Confluent's wire format; None if it ends before."""
    start = len(CONFLUENT_MARKER)
    id_bytes = value[start : start + CONFLUENT_ID_BYTES]
    return int.from_bytes(id_bytes, "big") if len(id_bytes) == CONFLUENT_ID_BYTES else None


def to_json(record: AvroRecord) -> dict[str, Any]:
    """Return the record in JSON types, without loss.

    Decimals become their exact text without trailing zeros, timestamps ISO-8601 with milliseconds and ``Z``,
    bytes their UTF-8 text, or ``base64:`` and base64 if they are not UTF-8.
    """
    return {name: _json_value(value) for name, value in record.items()}


def _read(schema: Schema, value: bytes, start: int) -> Decoded:
    body = BytesIO(value)
    body.seek(start)
    try:
        record = schemaless_reader(body, schema.parsed, None)
    except _MISMATCH_ERRORS as error:
        raise Undecodable(f"the value is not a valid {schema.name}: {str(error) or type(error).__name__}") from error
    if body.tell() != len(value):
        raise Undecodable(f"the value has {len(value) - body.tell()} more bytes after its {schema.name}")
    assert isinstance(record, dict)
    return Decoded(schema.name, record)


def _json_value(value: object) -> Any:
    match value:
        case Decimal():
            return _decimal_text(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case bytes():
            return _bytes_text(value)
        case dict():
            return {name: _json_value(inner) for name, inner in value.items()}
        case list():
            return [_json_value(inner) for inner in value]
    return value


def _decimal_text(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bytes_text(data: bytes) -> str:
    """Return UTF-8 text; text that starts like base64 output is encoded too, so that a reader can tell them apart."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = _BASE64
    return f"{_BASE64}{base64.b64encode(data).decode()}" if text.startswith(_BASE64) else text
