"""Keep ``avro/REFERENCE.md``, the reference of all records and fields, equal to the schemas and to what is published.

``python -m tests.programs.docs.reference --write`` updates it; ``--check`` (the default) only compares.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final

from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer, to_json
from bridge.topics import Topic
from tests.programs.docs.example_records import NAMES, example_records
from tests.support import generated as generated_part
from tests.support.avro_types import describe, named_types
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.serialization.schemas import Schema
    from tests.programs.docs.example_records import Example

Json = dict[str, Any]
REFERENCE: Final = ROOT / "avro/REFERENCE.md"
SCHEMAS: Final = schemas.load()
#: A doc ends with the unit.
_DOC: Final = re.compile(r"(?P<meaning>.*?)(\.|;) [Uu]nit: (?P<unit>.*)\.", re.DOTALL)
_NAMESPACE: Final = "aries.marketdata."
#: An example in a table is cut there; the whole record is below the table.
MAX_EXAMPLE_CHARACTERS: Final = 60
_INTRODUCTION: Final = """\
# All records and fields

Generated from the schemas (`make docs`). [`README.md`](README.md#semantics) says how records belong together: null and
`cleared`, gaps, order.

The examples are records of a simulated market, encoded and decoded by the bridge. Decimals, times and bytes are as
`aries-bridge tail --json` prints them; readers get the types of their language. The example *null* means that the
simulator never sends the field. Values are in hexadecimal and single-object encoded; with a schema registry they start
with `00` and the schema's id instead of the first ten bytes.
"""


def reference() -> str:
    """Return the document."""
    examples = example_records()
    return "\n".join((_INTRODUCTION, *(_section(topic, SCHEMAS[topic], examples[topic]) for topic in Topic)))


def meaning_and_unit(doc: str) -> tuple[str, str]:
    """Return the two parts of a record's or a field's doc."""
    parts = _DOC.fullmatch(doc)
    assert parts is not None, doc
    return parts["meaning"], parts["unit"]


def _section(topic: Topic, schema: Schema, examples: Sequence[Example]) -> str:
    record, *rows = named_types(schema.parsed)
    decoded = [_decoded(example.value) for example in examples]
    meaning, unit = meaning_and_unit(record["doc"])
    lines = [
        f"## {_short(schema.name)}",
        f"Topic `{NAMES[topic]}`, schema `{schemas.FILES[topic]}`, fingerprint `{schema.fingerprint.hex()}`.",
        f"\n{meaning}. A record is {unit}.\n",
        *_table(record, decoded),
    ]
    for row in rows:
        field = next(field["name"] for field in record["fields"] if row["name"] in describe(field["type"]))
        values = [value for one in decoded for value in one[field]]
        meaning, unit = meaning_and_unit(row["doc"])
        lines += [
            f"\n### {_short(row['name'])}",
            f"A row of `{field}`: {meaning}. A row is {unit}.\n",
            *_table(row, values),
        ]
    return "\n".join((*lines, "", *_whole(examples[0]), ""))


def _table(record: Json, values: Sequence[Json]) -> Iterator[str]:
    yield "| field | type | unit | meaning | example |"
    yield "|---|---|---|---|---|"
    for field in record["fields"]:
        meaning, unit = meaning_and_unit(field["doc"])
        cells = (
            f"`{field['name']}`",
            _type(field),
            unit,
            meaning,
            _example([value[field["name"]] for value in values]),
        )
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _type(field: Json) -> str:
    """Return a field's type, null last, and its default if that is not null."""
    declared = field["type"]
    branches = declared if isinstance(declared, list) else [declared]
    words = [describe(branch).replace(_NAMESPACE, "") for branch in branches if branch != "null"]
    words += ["null"] if "null" in branches else []
    default = field.get("default")
    return " or ".join(words) + ("" if default is None else f", default `{json.dumps(default)}`")


def _example(values: Sequence[object]) -> str:
    """Return the first value that says something."""
    found = next((value for value in values if value not in (None, [], {})), None)
    if found is None:
        return "*null*"
    text = json.dumps(found, ensure_ascii=False)
    return f"`{text if len(text) <= MAX_EXAMPLE_CHARACTERS else text[: MAX_EXAMPLE_CHARACTERS - 2] + ' …'}`"


def _whole(example: Example) -> Iterator[str]:
    key = "null" if example.key is None else f"`{example.key.decode()}`"
    yield f"A record with the key {key}, and its value:\n"
    yield "```json"
    fields = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in _decoded(example.value).items())
    yield "{\n" + ",\n".join(fields) + "\n}"
    yield "```"
    yield "```text"
    yield from textwrap.wrap(example.value.hex(), 120)
    yield "```"


def _decoded(value: bytes) -> Json:
    return to_json(asyncio.run(Deserializer(SCHEMAS).decode(value)).record)


def _short(name: str) -> str:
    return name.removeprefix(_NAMESPACE)


def generated(_: str) -> str:
    """Return the document as it is now."""
    return reference()


def main(arguments: list[str] | None = None) -> str | None:
    """Write or check the reference; return what is wrong with it."""
    return generated_part.main("tests.programs.docs.reference", REFERENCE, generated, arguments)


if __name__ == "__main__":
    sys.exit(main())
