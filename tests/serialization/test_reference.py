"""The reference of all records and fields: complete, current, and true."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

import avro.io
import avro.schema
import pytest

from bridge.serialization import schemas
from bridge.serialization.deserializer import to_json
from bridge.topics import Topic
from tests.programs.docs import reference
from tests.programs.docs.example_records import example_records
from tests.support.avro_types import named_types

if TYPE_CHECKING:
    from pathlib import Path

SCHEMAS = schemas.load()
TEXT = reference.REFERENCE.read_text(encoding="utf-8")
topics = pytest.mark.parametrize("topic", list(Topic))


def section(topic: Topic) -> str:
    heading = SCHEMAS[topic].name.rpartition(".")[2]
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_reference_is_current() -> None:
    """`make docs` writes it again after a change of a schema, or of what is published."""
    assert reference.main(["--check"]) is None


def test_a_missing_reference_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the file the check fails, and `--write` makes it."""
    monkeypatch.setattr(reference, "REFERENCE", tmp_path / "REFERENCE.md")
    assert "make docs" in str(reference.main([]))
    assert reference.main(["--write"]) is None
    assert (tmp_path / "REFERENCE.md").read_text(encoding="utf-8") == TEXT


@topics
def test_every_field_has_type_unit_meaning_and_example(topic: Topic) -> None:
    """Each field of the record and of its rows has its line, with nothing left empty."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section(topic).splitlines() if line.startswith("| `")]
    names = [field["name"] for named in named_types(SCHEMAS[topic].parsed) for field in named["fields"]]
    assert [row[0].strip(" `") for row in rows] == names
    for row in rows:
        assert len(row) == 5
        assert all(cell.strip() for cell in row), row


@topics
def test_the_values_are_read_by_apache(topic: Topic) -> None:
    """What the hexadecimal value holds by Apache's reader is what the JSON beside it says."""
    [shown] = re.findall(r"```json\n(.*?)```", section(topic), re.DOTALL)
    [digits] = re.findall(r"```text\n(.*?)```", section(topic), re.DOTALL)
    value = bytes.fromhex(digits)
    assert value[:10] == b"\xc3\x01" + SCHEMAS[topic].fingerprint
    reader = avro.io.DatumReader(avro.schema.parse(SCHEMAS[topic].text))
    record: dict[str, Any] = reader.read(avro.io.BinaryDecoder(BytesIO(value[10:])))  # type: ignore[assignment]
    assert to_json(record) == json.loads(shown)


def test_a_field_that_no_message_holds_has_no_example() -> None:
    """Only what the feed never sends is shown as null: the rest has a value in one of the records."""
    without = [line.split("`")[1] for line in TEXT.splitlines() if line.endswith("| *null* |")]
    assert set(without) == {"event_time", "instrument_type"}


def test_the_examples_are_always_the_same() -> None:
    """Neither the clock nor chance changes the document."""
    assert example_records() == example_records()
