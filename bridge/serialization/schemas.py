"""The Avro schemas of the topics, read from the ``.avsc`` files that ship with the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from bridge.topics import Topic

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_FILES = {
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
    """Hold one schema in the forms its users need.

    ``text`` is the minified JSON a registry gets, ``parsed`` what fastavro wants, and ``fingerprint`` the
    CRC-64-AVRO of the parsing canonical form, little-endian as in single-object encoding (Avro 1.12).
    """

    name: str
    text: str
    parsed: Any
    fingerprint: bytes


Schemas = Mapping[Topic, Schema]


def load() -> Schemas:
    """Read all schemas; do it once and pass them on."""
    folder = _folder()
    return MappingProxyType(
        {topic: schema_of(folder.joinpath(file).read_text("utf-8")) for topic, file in _FILES.items()}
    )


def schema_of(text: str) -> Schema:
    """Return the schema of a record that a JSON text describes.

    Raise ValueError for what is no JSON or no record, and fastavro's SchemaParseException or UnknownType for
    what is no schema.
    """
    declared = json.loads(text)
    parsed = parse_schema(declared)
    if not (isinstance(parsed, dict) and parsed["type"] == "record"):
        raise ValueError("the schema is not that of a record")
    return Schema(
        name=parsed["name"],
        text=json.dumps(declared, ensure_ascii=False, separators=(",", ":")),
        parsed=parsed,
        fingerprint=_fingerprint(declared),
    )


def _fingerprint(declared: Any) -> bytes:
    """Return the bytes in the order of the wire: fastavro's hex text has them little-endian already."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(declared), "CRC-64-AVRO"))


def _folder() -> Traversable:
    """Return where the files are: inside an installed package, beside it in an editable checkout."""
    package = resources.files("bridge")
    installed = package.joinpath("avro")
    return installed if installed.is_dir() else Path(str(package)).parent / "avro"
