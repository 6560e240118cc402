"""Avro types of a parsed schema, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]


def describe(declared: Any) -> str:
    """Return a type with its logical type; a record, enum or fixed type is its name."""
    match declared:
        case str():
            return declared
        case list():
            return " or ".join(describe(branch) for branch in declared)
        case {"type": "array", "items": items}:
            return f"array of {describe(items)}"
        case {"type": "map", "values": values}:
            return f"map of {describe(values)}"
        case {"logicalType": "decimal"}:
            return f"{_carrier(declared)} as decimal({declared['precision']}, {declared.get('scale', 0)})"
        case {"logicalType": logical}:
            return f"{_carrier(declared)} as {logical}"
        case {"type": _}:
            return _carrier(declared)
    raise AssertionError(f"not a parsed type: {declared!r}")


def _carrier(declared: Json) -> str:
    """Return what values are written as: a primitive type, or the name of a record, enum or fixed type."""
    return str(declared["name"]) if "name" in declared else describe(declared["type"])


def named_types(declared: Any) -> Iterator[Json]:
    """Yield the records, enums and fixed types that are defined within a parsed type, itself included."""
    match declared:
        case list():
            for branch in declared:
                yield from named_types(branch)
        case {"type": "record", "fields": fields}:
            yield declared
            for field in fields:
                yield from named_types(field["type"])
        case {"type": "enum" | "fixed"}:
            yield declared
        case {"type": "array", "items": inner} | {"type": "map", "values": inner} | {"type": dict() | list() as inner}:
            yield from named_types(inner)
