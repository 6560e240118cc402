"""Apache's checker for Python, which the guard asks, compared with Apache Avro for Java; and Java's verdict on ours."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from bridge.serialization.schemas import parse_schema
from tests.conftest import REQUIRE_KAFKA
from tests.programs.evolution.changes import avro_allows, broken_rules
from tests.programs.evolution.releases import releases, schemas_in
from tests.support import avro_java
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from bridge.serialization.schemas import Schema
    from tests.support.avro_java import Verdict

pytestmark = pytest.mark.timeout(avro_java.TIMEOUT_SECONDS)
DECIMAL: dict[str, Any] = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 9}
TIME: dict[str, Any] = {"type": "long", "logicalType": "timestamp-millis"}


def record(*fields: tuple[Any, ...], name: str = "Tick", namespace: str = "n") -> dict[str, Any]:
    """Return a record of fields, each a name, a type and, if it has one, a default."""
    declared = [dict(zip(("name", "type", "default"), field, strict=False)) for field in fields]
    return {"type": "record", "name": name, "namespace": namespace, "fields": declared}


def halt(*symbols: str, **more: str) -> dict[str, Any]:
    return {"type": "enum", "name": "Halt", "symbols": symbols, **more}


A = ("a", "string")
ROW = record(("price", DECIMAL), name="Row")
LONGER_ROW = record(("price", DECIMAL), ("size", ["null", "long"], None), name="Row")
#: A change, and whether readers before it can read records after it, and readers after it records before it.
CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], bool, bool]] = [
    ("nothing", record(A), record(A), True, True),
    ("optional field added", record(A), record(A, ("b", ["null", "long"], None)), True, True),
    ("field with a default added", record(A), record(A, ("b", "long", 0)), True, True),
    ("field without default added", record(A), record(A, ("b", "long")), True, False),
    ("field without default removed", record(A, ("b", "long")), record(A), False, True),
    ("fields in another order", record(A, ("b", "long")), record(("b", "long"), A), True, True),
    ("another default", record(A, ("b", "long", 0)), record(A, ("b", "long", 1)), True, True),
    ("default removed", record(A, ("b", "long", 0)), record(A, ("b", "long")), True, True),
    ("int to long", record(("a", "int")), record(("a", "long")), False, True),
    ("long to double", record(("a", "long")), record(("a", "double")), False, True),
    ("long to string", record(("a", "long")), record(("a", "string")), False, False),
    ("type to union", record(A), record(("a", ["null", "string"])), False, True),
    ("branch added", record(("a", ["null", "int"])), record(("a", ["null", "int", "string"])), False, True),
    ("branch widened", record(("a", ["null", "int"])), record(("a", ["null", "long"])), False, True),
    ("required field renamed", record(A), record(("b", "string")), False, False),
    ("record renamed", record(A), record(A, name="Bar"), False, False),
    ("symbol added", record(("a", halt("X"))), record(("a", halt("X", "Y"))), False, True),
    (
        "symbol added to an enum with a default",
        record(("a", halt("X", default="X"))),
        record(("a", halt("X", "Y", default="X"))),
        True,
        True,
    ),
    ("symbol removed", record(("a", halt("X", "Y"))), record(("a", halt("X"))), True, False),
    (
        "fixed resized",
        record(("a", {"type": "fixed", "name": "Id", "size": 4})),
        record(("a", {"type": "fixed", "name": "Id", "size": 8})),
        False,
        False,
    ),
    (
        "optional field added to rows",
        record(("a", {"type": "array", "items": ROW})),
        record(("a", {"type": "array", "items": LONGER_ROW})),
        True,
        True,
    ),
    (
        "field without default added to rows",
        record(("a", {"type": "array", "items": record(A, name="Row")})),
        record(("a", {"type": "array", "items": record(A, ("b", "long"), name="Row")})),
        True,
        False,
    ),
    (
        "another record in a union",
        record(("a", ["null", record(A, name="Row")])),
        record(("a", ["null", record(A, ("b", "long"), name="Row")])),
        True,
        False,
    ),
    (
        "values of a map",
        record(("a", {"type": "map", "values": "long"})),
        record(("a", {"type": "map", "values": "string"})),
        False,
        False,
    ),
]
#: What Avro lets through in both directions although readers get wrong values, or none.
UNSEEN_BY_AVRO: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("scale", record(("a", DECIMAL)), record(("a", DECIMAL | {"scale": 6}))),
    ("scale in a union", record(("a", ["null", DECIMAL], None)), record(("a", ["null", DECIMAL | {"scale": 6}], None))),
    ("precision", record(("a", DECIMAL)), record(("a", DECIMAL | {"precision": 12}))),
    ("no decimal any more", record(("a", DECIMAL)), record(("a", "bytes"))),
    ("unit of a time", record(("a", TIME)), record(("a", TIME | {"logicalType": "timestamp-micros"}))),
    ("string to bytes", record(A), record(("a", "bytes"))),
    ("optional field renamed", record(("a", ["null", "long"], None)), record(("b", ["null", "long"], None))),
    ("namespace", record(A), record(A, namespace="other")),
]


def parsed(declared: dict[str, Any]) -> Schema:
    return parse_schema(json.dumps(declared))


def java(pairs: list[tuple[Schema, Schema]]) -> list[Verdict]:
    """Return Java's verdicts on readers and writers; skip or fail without Java."""
    try:
        return avro_java.verdicts((reader.text, writer.text) for reader, writer in pairs)
    except avro_java.AvroJavaMissing as missing:
        if os.environ.get(REQUIRE_KAFKA) == "1":
            pytest.fail(f"{REQUIRE_KAFKA}=1, but Apache Avro for Java cannot be run: {missing}")
        pytest.skip(f"SCHEMAS NOT JUDGED BY APACHE AVRO FOR JAVA: {missing}")


def both_ways(before: Schema, after: Schema) -> list[tuple[Schema, Schema]]:
    """Return the pairs of reader and writer: the old reader first, then the new one."""
    return [(before, after), (after, before)]


def allowed_both_ways(verdicts: list[bool]) -> list[tuple[bool, bool]]:
    return list(zip(verdicts[::2], verdicts[1::2], strict=True))


def test_python_and_java_agree_on_each_change() -> None:
    """Apache's checker for Python has the verdict of Java's in both directions, which is the one of the table."""
    pairs = [pair for _, before, after, *_ in CHANGES for pair in both_ways(parsed(before), parsed(after))]
    expected = {change: tuple(allowed) for change, _, _, *allowed in CHANGES}
    by_python = allowed_both_ways([avro_allows(*pair) for pair in pairs])
    by_java = allowed_both_ways([verdict.compatible for verdict in java(pairs)])
    assert dict(zip(expected, by_python, strict=True)) == expected
    assert dict(zip(expected, by_java, strict=True)) == expected


def test_what_neither_sees_is_seen_by_the_guard() -> None:
    """Avro's rules know neither logical types nor names: both libraries accept these changes, the guard does not."""
    pairs = [pair for _, before, after in UNSEEN_BY_AVRO for pair in both_ways(parsed(before), parsed(after))]
    assert all(avro_allows(*pair) for pair in pairs)
    assert all(verdict.compatible for verdict in java(pairs))
    for change, before, after in UNSEEN_BY_AVRO:
        assert broken_rules(parsed(before), parsed(after)), change


@pytest.mark.parametrize(
    ("change", "before", "after", "allowed"),
    [(change, before, after, old and new) for change, before, after, old, new in CHANGES],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_guard_is_at_least_as_strict(
    change: str,
    before: dict[str, Any],
    after: dict[str, Any],
    allowed: bool,  # noqa: FBT001
) -> None:
    """What Avro forbids in either direction, the guard reports; what it allows in both, the guard allows, too."""
    assert (broken_rules(parsed(before), parsed(after)) == []) is allowed, change


def test_java_reads_every_release_and_has_our_fingerprints() -> None:
    """FULL_TRANSITIVE by Apache Avro for Java, and CRC-64-AVRO by its canonical form: those that values begin with."""
    today = schemas_in(ROOT / "avro")
    kept = [{file: today[file] for file in today}, *(one.schemas for one in releases(ROOT / "avro" / "released"))]
    pairs = [pair for old in kept for file in old for pair in both_ways(old[file], today[file])]
    for (reader, writer), verdict in zip(pairs, java(pairs), strict=True):
        assert verdict.compatible, (reader.name, writer.name)
        assert verdict.fingerprint == int.from_bytes(writer.fingerprint, "little", signed=True)
