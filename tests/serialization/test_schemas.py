"""The schemas that consumers rely on: names, fields, documentation, fingerprints, evolution."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import avro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from fastavro.schema import SchemaParseException, UnknownType, to_parsing_canonical_form

from bridge.pipeline.control_events import ControlKind
from bridge.serialization.field_mappings import TOPICS_WITH_CLEARED
from bridge.serialization.schemas import load, parse_schema
from bridge.topics import MARKET_DATA, SUBSCRIBABLE, Topic
from tests.programs.docs import fingerprints

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
SCHEMAS = load()
RECORD_NAMES = {
    Topic.QUOTES: "Quote",
    Topic.TRADES: "Trade",
    Topic.TIMESALES: "TimeSale",
    Topic.L2: "Level2",
    Topic.GREEKS: "Greeks",
    Topic.MARKET_STATUS: "MarketStatus",
    Topic.CONTROL: "Control",
    Topic.DLQ: "DeadLetter",
}
COMMON = ["symbol", "event_time", "feed_time", "ingest_time_us", "session_id", "seq", "after_gap"]
topics = pytest.mark.parametrize("topic", list(Topic))


def declared(topic: Topic) -> Json:
    schema: Json = json.loads(SCHEMAS[topic].text)
    return schema


def field_names(topic: Topic) -> list[str]:
    return [field["name"] for field in declared(topic)["fields"]]


def named_types(node: object) -> Iterator[Json]:
    if isinstance(node, dict):
        if node.get("type") in ("record", "enum"):
            yield node
        for inner in node.values():
            yield from named_types(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from named_types(inner)


def crc_64_avro(text: str) -> bytes:
    """Compute the fingerprint bit by bit from the definition in the Avro specification, little-endian."""
    empty = 0xC15D213AA4D7A795
    remainder = empty
    for byte in text.encode():
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (empty if remainder & 1 else 0)
    return remainder.to_bytes(8, "little")


@topics
def test_each_topic_has_its_record(topic: Topic) -> None:
    """The full names are those of the contract."""
    assert SCHEMAS[topic].name == f"aries.marketdata.{RECORD_NAMES[topic]}"


@topics
def test_every_doc_has_a_unit(topic: Topic) -> None:
    """The doc of every record, enum and field has its unit."""
    for named in named_types(declared(topic)):
        assert "unit: " in named["doc"].lower()
        assert all("unit: " in field["doc"].lower() for field in named.get("fields", []))


@pytest.mark.parametrize("topic", MARKET_DATA)
def test_market_records_begin_with_the_common_fields(topic: Topic) -> None:
    """The seven common fields come first and in the order of the contract."""
    assert field_names(topic)[: len(COMMON)] == COMMON


@pytest.mark.parametrize("topic", SUBSCRIBABLE)
def test_records_of_symbols_have_an_instrument_type(topic: Topic) -> None:
    """Each record of a symbol has the field."""
    assert "instrument_type" in field_names(topic)


@topics
def test_unions_are_null_first_with_default_null(topic: Topic) -> None:
    """An optional field is a union of null, first, and one type, and is null by default."""
    for named in named_types(declared(topic)):
        for field in named.get("fields", []):
            if isinstance(field["type"], list):
                assert len(field["type"]) == 2
                assert field["type"][0] == "null"
                assert field["default"] is None


def test_prices_are_exact_decimals() -> None:
    """The price of a quote is bytes with decimal(18, 9)."""
    price = next(field for field in declared(Topic.QUOTES)["fields"] if field["name"] == "bid_price")
    assert price["type"][1] == {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 9}


def test_quantities_of_executions_are_exact_decimals() -> None:
    """Sizes of executions may be fractions of a share; sizes of quotes are whole numbers."""
    quantity = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 6}
    for topic, name in ((Topic.TRADES, "size"), (Topic.TRADES, "total_volume"), (Topic.TIMESALES, "size")):
        field = next(field for field in declared(topic)["fields"] if field["name"] == name)
        assert field["type"][1] == quantity
    bid_size = next(field for field in declared(Topic.QUOTES)["fields"] if field["name"] == "bid_size")
    assert bid_size["type"] == ["null", "long"]


@topics
def test_cleared_is_the_last_field_of_what_a_consumer_merges(topic: Topic) -> None:
    """Quotes, trades and greeks say which last known values no longer hold; by default none."""
    field = declared(topic)["fields"][-1]
    if topic in TOPICS_WITH_CLEARED:
        assert (field["name"], field["default"]) == ("cleared", [])
        assert field["type"] == {"type": "array", "items": "string"}
    else:
        assert "cleared" not in field_names(topic)


def test_the_doc_of_a_control_kind_names_them_all() -> None:
    """A kind is a string, as some readers have no enums, so its doc lists what the bridge announces."""
    kind = declared(Topic.CONTROL)["fields"][0]
    assert kind["type"] == "string"
    assert all(f"{name}," in kind["doc"] or f"{name};" in kind["doc"] for name in ControlKind)


@topics
def test_fingerprints_follow_the_specification(topic: Topic) -> None:
    """The fingerprint equals that of the specification's definition and that of Apache's library.

    Apache's Python library keeps the ``{"type": "long"}`` of a logical type an object in the canonical form (the
    specification and Java have ``"long"``), so it is given the canonical form.
    """
    canonical = to_parsing_canonical_form(declared(topic))
    reference = avro.schema.parse(canonical)
    assert reference.canonical_form == canonical
    assert SCHEMAS[topic].fingerprint == crc_64_avro(canonical) == reference.fingerprint()


def test_the_readme_has_the_fingerprints() -> None:
    """`make docs` updates the table after a change of a schema."""
    assert fingerprints.main(["--check"]) is None


def test_which_fingerprints_of_apache_python_differ() -> None:
    """Only records without logical types have the same everywhere, as the README says."""
    same = {
        topic for topic, schema in SCHEMAS.items() if avro.schema.parse(schema.text).fingerprint() == schema.fingerprint
    }
    assert same == {Topic.CONTROL, Topic.DLQ}


def test_fingerprints_are_distinct() -> None:
    """A fingerprint identifies the schema."""
    assert len({schema.fingerprint for schema in SCHEMAS.values()}) == len(Topic)


@topics
def test_optional_fields_can_be_added_and_removed(topic: Topic) -> None:
    """Older and newer readers are compatible when a field with a default is added or removed."""
    now = declared(topic)
    for field in now["fields"]:
        if "default" in field:
            other = copy.deepcopy(now)
            other["fields"] = [kept for kept in other["fields"] if kept["name"] != field["name"]]
            assert compatible(now, other), field["name"]
            assert compatible(other, now), field["name"]


def compatible(reader: Json, writer: Json) -> bool:
    schemas = avro.schema.parse(json.dumps(reader)), avro.schema.parse(json.dumps(writer))
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(*schemas)
    return bool(result.compatibility is SchemaCompatibilityType.compatible)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", ValueError),
        ('"string"', ValueError),
        ('["null", "string"]', ValueError),
        ('{"type": "record", "name": "R", "fields": [{"name": "a", "type": "Nobody"}]}', UnknownType),
        ('{"type": "record", "fields": []}', SchemaParseException),
    ],
)
def test_other_schemas_are_rejected(text: str, error: type[Exception]) -> None:
    """A text that is not the schema of a record raises the documented errors."""
    with pytest.raises(error):
        parse_schema(text)


def record(**fields: object) -> str:
    """Return the text of a schema with these fields."""
    types = [{"name": name, "type": declared} for name, declared in fields.items()]
    return json.dumps({"type": "record", "name": "R", "namespace": "n", "fields": types})


DECIMAL: dict[str, object] = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 9}
MILLIS: dict[str, object] = {"type": "long", "logicalType": "timestamp-millis"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (record(a="int"), record(a={"type": "int"})),
        (record(a=DECIMAL), record(a=dict(reversed(DECIMAL.items())))),
        (record(a={**DECIMAL, "scale": 0}), record(a={"type": "bytes", "logicalType": "decimal", "precision": 18})),
        (record(a=["null", MILLIS]), record(a=["null", {**MILLIS, "doc": "when"}])),
        ('{"type":"record","name":"n.R","fields":[]}', '{"type":"record","name":"R","namespace":"n","fields":[]}'),
        (
            '{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":1,"aliases":["b"]}]}',
            '{"fields":[{"type":"int","name":"a","doc":"d"}],"name":"R","type":"record","doc":"d"}',
        ),
    ],
)
def test_schemas_that_read_the_same_are_equivalent(one: str, other: str) -> None:
    """The order of attributes, how names and types are written, doc, defaults and aliases do not matter."""
    assert parse_schema(one).is_equivalent(parse_schema(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (record(a="int"), record(a="long")),
        (record(a="int", b="int"), record(b="int", a="int")),
        (record(a=["null", "int"]), record(a=["int", "null"])),
        (record(a=DECIMAL), record(a="bytes")),
        (record(a=DECIMAL), record(a={**DECIMAL, "scale": 4})),
        (record(a=MILLIS), record(a={**MILLIS, "logicalType": "timestamp-micros"})),
        (record(a=["null", DECIMAL]), record(a=["null", {**DECIMAL, "precision": 10}])),
        (record(a={"type": "array", "items": DECIMAL}), record(a={"type": "array", "items": "bytes"})),
        (record(a={"type": "map", "values": MILLIS}), record(a={"type": "map", "values": "long"})),
        (record(a=MILLIS, b="long"), record(a="long", b=MILLIS)),
        (
            record(a={"type": "record", "name": "In", "fields": [{"name": "p", "type": DECIMAL}]}, b="In"),
            record(a={"type": "record", "name": "In", "fields": [{"name": "p", "type": "bytes"}]}, b="In"),
        ),
    ],
)
def test_schemas_that_read_differently_are_not_equivalent(one: str, other: str) -> None:
    """Another type, order of fields, name or logical type is another schema, however deep it is."""
    assert not parse_schema(one).is_equivalent(parse_schema(other))


def test_each_schema_of_the_bridge_is_only_equivalent_to_itself() -> None:
    """No topic's schema stands for another's."""
    known = list(SCHEMAS.values())
    for number, schema in enumerate(known):
        assert [other.is_equivalent(schema) for other in known] == [place == number for place in range(len(known))]
