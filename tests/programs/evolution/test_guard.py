"""The guard of schema evolution: what it lets through, and what it says of what it does not."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.programs.evolution import guard
from tests.programs.evolution.__main__ import main
from tests.programs.evolution.releases import UnusableSchemas, releases
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Json = dict[str, Any]
DECIMAL: Json = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 9}
HALTS: Json = {"type": "enum", "name": "Halt", "symbols": ["NONE", "NEWS"]}
#: A record with each kind of field; the schemas of the bridge are compared with themselves below.
FIELDS: list[Json] = [
    {"name": "symbol", "type": "string"},
    {"name": "price", "type": ["null", DECIMAL], "default": None},
    {"name": "size", "type": ["null", "long"], "default": None},
    {"name": "halt", "type": HALTS},
    {"name": "id", "type": {"type": "fixed", "name": "Id", "size": 4}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {
        "name": "rows",
        "default": [],
        "type": {
            "type": "array",
            "items": {"type": "record", "name": "Row", "fields": [{"name": "price", "type": DECIMAL}]},
        },
    },
    {"name": "counts", "type": {"type": "map", "values": "long"}, "default": {}},
]
OPTIONAL: Json = {"name": "venue", "type": ["null", "string"], "default": None}


def schema(fields: list[Json], name: str = "Tick", namespace: str = "aries.marketdata") -> Json:
    return {"type": "record", "name": name, "namespace": namespace, "fields": fields}


class Schemas:
    """A folder with schemas of today and of releases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def release(self, version: str, declared: Json) -> None:
        self._write(self.folder / "released" / version, declared)

    def today(self, declared: Json) -> list[str]:
        """Write the schema of today; return what the guard says."""
        self._write(self.folder, declared)
        return guard.problems(self.folder)

    def change(self, change: Callable[[list[Json]], object], release: list[Json] = FIELDS) -> list[str]:
        """Change the fields of a release; return what the guard says."""
        self.release("1.2.0", schema(release))
        fields: list[Json] = json.loads(json.dumps(release))
        change(fields)
        return self.today(schema(fields))

    def _write(self, folder: Path, declared: Json) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tick.avsc").write_text(json.dumps(declared))


@pytest.fixture
def schemas(tmp_path: Path) -> Schemas:
    return Schemas(tmp_path)


def test_the_schemas_of_the_bridge_are_compatible_with_every_release() -> None:
    """This is what `make lint` runs."""
    assert guard.problems(ROOT / "avro") == []


def test_a_release_with_the_schemas_of_the_bridge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The copy that a release makes of all schemas is accepted, and named."""
    for folder in (tmp_path, tmp_path / "released" / "0.1.0"):
        folder.mkdir(parents=True, exist_ok=True)
        for path in (ROOT / "avro").glob("*.avsc"):
            shutil.copy(path, folder)
    assert main([str(tmp_path)]) is None
    assert capsys.readouterr().out == "8 schemas are compatible with those of 0.1.0\n"


def test_before_the_first_release_there_is_nothing_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without releases everything is allowed, and the guard says so."""
    assert Schemas(tmp_path).today(schema(FIELDS)) == []
    assert main([str(tmp_path)]) is None
    assert "no release to compare them with yet" in capsys.readouterr().out


def _add_optional(fields: list[Json]) -> None:
    fields.append(OPTIONAL)


def _add_optional_within(fields: list[Json]) -> None:
    fields[6]["type"]["items"]["fields"].append(OPTIONAL)


def _remove_optional(fields: list[Json]) -> None:
    del fields[2]


def _document(fields: list[Json]) -> None:
    fields[0]["doc"] = "Symbol; unit: none."


def _reorder(fields: list[Json]) -> None:
    fields.reverse()


@pytest.mark.parametrize("change", [_add_optional, _add_optional_within, _remove_optional, _document, _reorder])
def test_what_readers_do_not_notice_is_allowed(schemas: Schemas, change: Callable[[list[Json]], object]) -> None:
    """Fields with a default come and go, at any depth; docs and the order of fields are free."""
    assert schemas.change(change) == []


def _add(fields: list[Json]) -> None:
    fields.append({"name": "venue", "type": "string"})


def _add_within(fields: list[Json]) -> None:
    fields[6]["type"]["items"]["fields"].append({"name": "size", "type": "long"})


def _remove(fields: list[Json]) -> None:
    del fields[0]


def _widen(fields: list[Json]) -> None:
    fields[2]["type"] = ["null", "double"]


def _string_as_bytes(fields: list[Json]) -> None:
    fields[0]["type"] = "bytes"


def _make_optional(fields: list[Json]) -> None:
    fields[0] |= {"type": ["null", "string"], "default": None}


def _rescale(fields: list[Json]) -> None:
    fields[1]["type"] = ["null", DECIMAL | {"scale": 6}]


def _rescale_within(fields: list[Json]) -> None:
    fields[6]["type"]["items"]["fields"][0]["type"] = DECIMAL | {"scale": 6}


def _less_precision(fields: list[Json]) -> None:
    fields[1]["type"] = ["null", DECIMAL | {"precision": 12}]


def _microseconds(fields: list[Json]) -> None:
    fields[5]["type"]["logicalType"] = "timestamp-micros"


def _plain_bytes(fields: list[Json]) -> None:
    fields[1]["type"] = ["null", "bytes"]


def _change_values_of_map(fields: list[Json]) -> None:
    fields[7]["type"]["values"] = "string"


def _rename(fields: list[Json]) -> None:
    fields[2]["name"] = "quantity"


def _rename_with_alias(fields: list[Json]) -> None:
    fields[2] |= {"name": "quantity", "aliases": ["size"]}


def _rename_required(fields: list[Json]) -> None:
    fields[0]["name"] = "ticker"


def _rename_rows(fields: list[Json]) -> None:
    fields[6]["type"]["items"]["name"] = "Level"


def _add_symbol(fields: list[Json]) -> None:
    fields[3]["type"]["symbols"].append("CIRCUIT_BREAKER")


def _remove_symbol(fields: list[Json]) -> None:
    fields[3]["type"]["symbols"].remove("NEWS")


def _resize(fields: list[Json]) -> None:
    fields[4]["type"]["size"] = 8


@pytest.mark.parametrize(
    ("change", "where", "rule", "hint"),
    [
        (_add, "Tick.venue", "added without a default", "Give it one"),
        (_add_within, "Row.size", "added without a default", "Give it one"),
        (_remove, "Tick.symbol", "removed, but has no default in the release", "Restore it"),
        (_widen, "Tick.size", "was null or long and is null or double", "Restore the type"),
        (_string_as_bytes, "Tick.symbol", "was string and is bytes", "Restore the type"),
        (_make_optional, "Tick.symbol", "was string and is null or string", "Restore the type"),
        (_rescale, "Tick.price", "null or bytes as decimal(18, 9) and is null or bytes as decimal(18, 6)", "Restore"),
        (_rescale_within, "Row.price", "bytes as decimal(18, 9) and is bytes as decimal(18, 6)", "Restore the type"),
        (_less_precision, "Tick.price", "decimal(18, 9) and is null or bytes as decimal(12, 9)", "Restore the type"),
        (_microseconds, "Tick.at", "long as timestamp-millis and is long as timestamp-micros", "Restore the type"),
        (_plain_bytes, "Tick.price", "decimal(18, 9) and is null or bytes,", "Restore the type"),
        (_change_values_of_map, "Tick.counts", "was map of long and is map of string", "Restore the type"),
        (_rename, "Tick.size", "renamed to quantity", "Keep the field, and add the new one beside it"),
        (_rename_with_alias, "Tick.size", "renamed to quantity", "Keep the field, and add the new one beside it"),
        (_rename_required, "Tick.symbol", "removed, but has no default", "Restore it"),
        (_rename_rows, "Tick.rows", "array of aries.marketdata.Row and is array of aries.marketdata.Level", "Restore"),
        (_add_symbol, "enum Halt", "readers of the release cannot read the symbol CIRCUIT_BREAKER", "Restore"),
        (_remove_symbol, "enum Halt", "readers of today cannot read the symbol NEWS", "Restore the symbols"),
        (_resize, "record Tick", "readers of the release cannot read records of today", "Only add and remove fields"),
    ],
)
def test_what_breaks_readers_is_reported(
    schemas: Schemas, change: Callable[[list[Json]], object], where: str, rule: str, hint: str
) -> None:
    """The file, the release, the field, the rule and what to do are named, whether Avro sees the change or not."""
    found = schemas.change(change)
    line = next(line for line in found if line.startswith(f"tick.avsc, against release 1.2.0: {where}: "))
    assert rule in line
    assert hint in line


def test_an_enum_with_a_default_takes_more_symbols(schemas: Schemas) -> None:
    """Readers take a symbol that they do not know for their default."""
    halt = {"name": "halt", "type": HALTS | {"default": "NONE"}}
    assert schemas.change(lambda fields: fields[0]["type"]["symbols"].append("OTHER"), [halt]) == []


@pytest.mark.parametrize("name", [{"name": "Bar"}, {"namespace": "aries"}])
def test_a_record_keeps_its_name_and_namespace(schemas: Schemas, name: dict[str, str]) -> None:
    """Avro compares the name without the namespace, registries and generated classes do not."""
    schemas.release("1.0.0", schema(FIELDS))
    found = schemas.today(schema(FIELDS, **name))
    assert "aries.marketdata.Tick: the record is now called" in found[0]


def test_a_schema_stays(schemas: Schemas) -> None:
    """A record that was released has a schema in all later versions."""
    schemas.release("1.0.0", schema(FIELDS))
    (schemas.folder / "other.avsc").write_text(json.dumps(schema(FIELDS, "Other")))
    [line] = guard.problems(schemas.folder)
    assert "aries.marketdata.Tick has no schema any more" in line


def test_every_release_counts_not_only_the_newest(schemas: Schemas) -> None:
    """A name that was free in the newest release still has its old type in an earlier one."""
    schemas.release("1.9.0", schema([*FIELDS, OPTIONAL]))
    schemas.release("1.10.0", schema(FIELDS))
    found = schemas.today(schema([*FIELDS, OPTIONAL | {"type": ["null", "int"]}]))
    assert found
    assert all("against release 1.9.0" in line for line in found)


def test_a_field_can_be_replaced_in_two_releases(schemas: Schemas) -> None:
    """A new field was beside the old one in a release: then the old one can go."""
    schemas.release("1.0.0", schema([*FIELDS, OPTIONAL]))
    schemas.release("1.1.0", schema([*FIELDS, OPTIONAL, OPTIONAL | {"name": "exchange"}]))
    assert schemas.today(schema([*FIELDS, OPTIONAL | {"name": "exchange"}])) == []


def test_releases_are_in_the_order_of_their_versions(schemas: Schemas) -> None:
    """Numbers are compared as numbers, and a pre-release comes before its release."""
    for version in ("1.10.0", "1.9.0", "2.0.0", "2.0.0rc1"):
        schemas.release(version, schema(FIELDS))
    found = [release.version for release in releases(schemas.folder / "released")]
    assert found == ["1.9.0", "1.10.0", "2.0.0rc1", "2.0.0"]


@pytest.mark.parametrize(
    ("version", "text", "message"),
    [
        ("latest", "{}", "not named like a version: rename it"),
        ("1.0.0", None, "has no schemas"),
        ("1.0.0", "{", "tick.avsc is not the schema of a record"),
    ],
)
def test_an_unusable_release_is_named(schemas: Schemas, version: str, text: str | None, message: str) -> None:
    """A folder that is no release is an error with its path, not a traceback."""
    schemas.today(schema(FIELDS))
    folder = schemas.folder / "released" / version
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "tick.avsc").write_text(text)
    with pytest.raises(UnusableSchemas, match=message):
        guard.problems(schemas.folder)
    assert str(folder) in str(main([str(schemas.folder)]))


def test_the_command_ends_with_all_problems(schemas: Schemas) -> None:
    """What the command prints ends its process with exit code 1."""
    schemas.change(_rename)
    message = str(main([str(schemas.folder)]))
    assert "Tick.size: the field was renamed" in message
    assert "avro/README.md" in message
