"""What may not change between two versions of a schema: the rules of Avro, and those that Avro does not have.

Apache's checker decides whether readers of either version read the records of the other (FULL). It compares no logical
types and no namespaces, lets a string be read as bytes, and takes a rename for a removal and an addition; the rules of
``broken_rules`` are stricter, and name the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from tests.support.avro_types import describe, named_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.serialization.schemas import Schema

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A change that breaks readers: of which field of which record, the rule, and what to do instead."""

    where: str
    rule: str
    hint: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}. {self.hint}."


def avro_allows(reader: Schema, writer: Schema) -> bool:
    """Return whether a reader with one schema can read all records written with the other, by Avro's rules."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(avro.schema.parse(reader.text), avro.schema.parse(writer.text))
    return bool(result.compatibility is SchemaCompatibilityType.compatible)


def broken_rules(released: Schema, today: Schema, *, is_newest: bool = True) -> list[BrokenRule]:
    """Return how a schema of today breaks the contract with readers and records of a released one.

    ``is_newest``: nothing was released since; fields that were exchanged then may have been renamed.
    """
    found = list(_record_names(released, today))
    types_of_today = {one["name"]: one for one in named_types(today.parsed)}
    for before in named_types(released.parsed):
        now = types_of_today.get(before["name"])
        if now is not None and now["type"] == before["type"]:
            found += _enum_symbols(before, now) if before["type"] == "enum" else []
            found += _fields(before, now, is_newest=is_newest) if before["type"] == "record" else []
    return found or list(_avro_rules(released, today))


def _record_names(released: Schema, today: Schema) -> Iterator[BrokenRule]:
    if released.name != today.name:
        yield BrokenRule(
            released.name,
            f"the record is now called {today.name}, and names do not change",
            "Restore its name and namespace",
        )


def _fields(released: Json, today: Json, *, is_newest: bool) -> Iterator[BrokenRule]:
    record = _short(released)
    before = {field["name"]: field for field in released["fields"]}
    now = {field["name"]: field for field in today["fields"]}
    for name in [name for name in before if name in now]:
        yield from _type(f"{record}.{name}", before[name], now[name])
    removed = [field for name, field in before.items() if name not in now]
    added = [field for name, field in now.items() if name not in before]
    for field in removed:
        yield from _removed(record, field, added, is_newest=is_newest)
    for field in added:
        if "default" not in field:
            yield BrokenRule(
                f"{record}.{field['name']}",
                "the field was added without a default, so readers of today cannot read earlier records",
                'Give it one, such as `"type": ["null", …], "default": null`',
            )


def _type(where: str, released: Json, today: Json) -> Iterator[BrokenRule]:
    before, now = describe(released["type"]), describe(today["type"])
    if before != now:
        yield BrokenRule(
            where,
            f"its type was {before} and is {now}, and types do not change, logical types included",
            "Restore the type, and add a field with another name and a default for the new one",
        )


def _removed(record: str, field: Json, added: list[Json], *, is_newest: bool) -> Iterator[BrokenRule]:
    where = f"{record}.{field['name']}"
    if "default" not in field:
        yield BrokenRule(
            where,
            "the field was removed, but has no default in the release, whose readers cannot read records without it",
            "Restore it; a field without a default stays",
        )
    elif successor := _successor(field, added, is_newest=is_newest):
        yield BrokenRule(
            where,
            f"the field was renamed to {successor}, and names do not change: readers of the release would find the "
            "default instead",
            "Keep the field, and add the new one beside it; the old one can be removed in the release after the next",
        )


def _successor(field: Json, added: list[Json], *, is_newest: bool) -> str | None:
    """Return the name to which a removed field was changed: by its aliases, else by a new field of the same type."""
    aliased = [new["name"] for new in added if field["name"] in new.get("aliases", ())]
    alike = [new["name"] for new in added if is_newest and describe(new["type"]) == describe(field["type"])]
    return next(iter(aliased + alike), None)


def _enum_symbols(released: Json, today: Json) -> Iterator[BrokenRule]:
    for readers, reader, writer in (("the release", released, today), ("today", today, released)):
        unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
        if unknown and "default" not in reader:
            yield BrokenRule(
                f"enum {_short(reader)}",
                f"readers of {readers} cannot read the symbol {', '.join(unknown)}, as their enum has no default",
                "Restore the symbols; a new field of type string takes words that may become more",
            )


def _avro_rules(released: Schema, today: Schema) -> Iterator[BrokenRule]:
    for reader, readers, writer, records in (
        (released, "the release", today, "today"),
        (today, "today", released, "the release"),
    ):
        if not avro_allows(reader, writer):
            yield BrokenRule(
                f"record {released.name.rpartition('.')[2]}",
                f"by Avro's rules for schema resolution, readers of {readers} cannot read records of {records}",
                "Only add and remove fields that have a default",
            )


def _short(named: Json) -> str:
    return str(named["name"]).rpartition(".")[2]
