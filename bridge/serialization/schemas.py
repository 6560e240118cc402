"""The Avro schemas of the topics, read from the ``.avsc`` files that ship with the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import fastavro.schema
from fastavro.schema import SchemaParseException, UnknownType

from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

#: A record as fastavro reads and writes it: values by field name.
AvroRecord = dict[str, object]

#: What :func:`parse_schema` raises for a text of any kind.
INVALID_SCHEMA_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
    SchemaParseException,
    UnknownType,
)

#: The file of each topic's schema.
FILES: Final = {
    Topic.QUOTES: "quote.avsc",
    Topic.TRADES: "trade.avsc",
    Topic.TIMESALES: "timesale.avsc",
    Topic.L2: "level2.avsc",
    Topic.GREEKS: "greeks.avsc",
    Topic.MARKET_STATUS: "market_status.avsc",
    Topic.CONTROL: "control.avsc",
    Topic.DLQ: "dead_letter.avsc",
}


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema of a record, in the forms its users need.

    ``name`` is the full name, ``text`` the minified JSON for a schema registry, ``parsed`` the form fastavro takes, and
    ``fingerprint`` the CRC-64-AVRO of the parsing canonical form, little-endian as in single-object encoding
    (Avro 1.12 specification, schema fingerprints).
    """

    name: str
    text: str
    parsed: Any
    fingerprint: bytes

    @property
    def fingerprint_number(self) -> int:
        """Return the fingerprint as the unsigned number that the specification defines."""
        return int.from_bytes(self.fingerprint, "little")

    def is_equivalent(self, other: Schema) -> bool:
        """Return whether both schemas write and read the same bytes as the same values.

        Their parsing canonical forms (Avro 1.12 specification) and logical types are equal; the order of attributes,
        ``doc``, defaults and aliases do not matter.
        """
        same_form = self.fingerprint == other.fingerprint
        return same_form and list(_logical_types(self.parsed)) == list(_logical_types(other.parsed))


Schemas = Mapping[Topic, Schema]


def load() -> Schemas:
    """Read the schemas of all topics from their files."""
    folder = _folder()
    return MappingProxyType(
        {topic: parse_schema(folder.joinpath(file).read_text("utf-8")) for topic, file in FILES.items()}
    )


def load_released() -> tuple[Schema, ...]:
    """Read the schemas of all releases, with which topics may still have records."""
    return tuple(parse_schema(file.read_text("utf-8")) for _, file in _released_files())


def export(directory: Path) -> list[Path]:
    """Copy the files of all schemas to a directory, those of releases to ``released/<version>``; return the copies."""
    folder = _folder()
    copies = {directory / file: folder.joinpath(file) for file in FILES.values()}
    copies |= {directory / "released" / version / file.name: file for version, file in _released_files()}
    for copy, file in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text("utf-8"), "utf-8")
    return list(copies)


def _released_files() -> Iterator[tuple[str, Traversable]]:
    """Yield the versions and the schemas' files of all releases."""
    released = _folder().joinpath("released")
    for folder in released.iterdir() if released.is_dir() else ():
        if folder.is_dir():
            yield from ((folder.name, file) for file in folder.iterdir() if file.name.endswith(".avsc"))


def parse_schema(text: str) -> Schema:
    """Parse the schema of a record from its JSON text.

    Raise ValueError for invalid JSON and for types other than a record, and fastavro's SchemaParseException or
    UnknownType for an invalid schema.
    """
    declared = json.loads(text)
    parsed = fastavro.schema.parse_schema(declared)
    if not (isinstance(parsed, dict) and parsed["type"] == "record"):
        raise ValueError("the schema is not that of a record")
    return Schema(
        name=parsed["name"],
        text=json.dumps(declared, ensure_ascii=False, separators=(",", ":")),
        parsed=parsed,
        fingerprint=_fingerprint(declared),
    )


def _fingerprint(declared: Any) -> bytes:
    canonical = fastavro.schema.to_parsing_canonical_form(declared)
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))  # fastavro's hex is little-endian


def _logical_types(declared: Any) -> Iterator[tuple[object, ...]]:
    """Yield the logical type, precision and scale of each primitive type and reference in a parsed schema, in order."""
    match declared:
        case list():
            for branch in declared:
                yield from _logical_types(branch)
        case {"type": "record" | "error", "fields": list(fields)}:
            for field in fields:
                yield from _logical_types(field["type"])
        case {"type": "array", "items": inner} | {"type": "map", "values": inner} | {"type": dict() | list() as inner}:
            yield from _logical_types(inner)
        case {"logicalType": logical}:
            yield logical, declared.get("precision"), declared.get("scale", 0)
        case _:
            yield ()


def _folder() -> Traversable:
    """Return the schemas' folder: inside an installed package, beside the package in an editable checkout."""
    package = resources.files("bridge")
    installed = package.joinpath("avro")
    return installed if installed.is_dir() else Path(str(package)).parent / "avro"
