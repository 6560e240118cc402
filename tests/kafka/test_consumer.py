"""Reading topics: which schemas are known."""

from __future__ import annotations

import json
import shutil
from io import BytesIO
from typing import TYPE_CHECKING

import fastavro
import pytest

from bridge.errors import Undecodable
from bridge.serialization import schemas
from bridge.serialization.decoding import open_deserializer
from bridge.serialization.serializer import single_object_prefix
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import Topic
from bridge.verify.record_header import HeaderReader
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.serialization.schemas import Schema

QUOTE = {"symbol": "AAPL", "ingest_time_us": 5, "session_id": 6, "seq": 7, "after_gap": True}
SETTINGS = kafka_settings("kafka:9092")


def earlier_schema() -> Schema:
    """Return the schema of quotes as it may have been: without two fields of today."""
    declared = json.loads(schemas.load()[Topic.QUOTES].text)
    declared["fields"] = [one for one in declared["fields"] if one["name"] not in ("instrument_type", "cleared")]
    return schemas.parse_schema(json.dumps(declared))


def value_of(schema: Schema) -> bytes:
    body = BytesIO()
    fastavro.schemaless_writer(body, schema.parsed, QUOTE)
    return single_object_prefix(schema) + body.getvalue()


async def test_records_of_earlier_releases_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an upgrade, `tail` and `verify` read what the version before wrote, with its schema."""
    earlier = earlier_schema()
    shutil.copytree(ROOT / "avro", tmp_path, dirs_exist_ok=True)
    (tmp_path / "released" / "0.0.1").mkdir(parents=True)
    (tmp_path / "released" / "0.0.1" / "quote.avsc").write_text(earlier.text)
    monkeypatch.setattr(schemas, "_folder", lambda: tmp_path)
    async with open_deserializer(SETTINGS) as deserializer:
        name, record = await deserializer.decode(value_of(earlier))
        header = await HeaderReader(Topic.QUOTES, schemas.load()[Topic.QUOTES], deserializer).decode(value_of(earlier))
    assert name == "aries.marketdata.Quote"
    assert QUOTE.items() <= record.items()
    assert "cleared" not in record
    assert header == (b"AAPL", 5, 6, 7, True)


async def test_records_of_an_unknown_schema_are_not_read() -> None:
    """A schema that was never released is an error that names its fingerprint."""
    earlier = earlier_schema()
    async with open_deserializer(SETTINGS) as deserializer:
        with pytest.raises(Undecodable, match=earlier.fingerprint.hex()):
            await deserializer.decode(value_of(earlier))


def test_without_releases_there_are_no_earlier_schemas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first release, and in a package without the folder, only today's schemas are known."""
    monkeypatch.setattr(schemas, "_folder", lambda: tmp_path)
    assert schemas.load_released() == ()
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / "README.md").write_text("nothing yet")
    assert schemas.load_released() == ()
