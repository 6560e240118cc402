"""Serialized values, read with fastavro and with Apache's library."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Any

import avro.io
import avro.schema
import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import BadLine
from bridge.market_data import Update, UpdateKind
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.records import IngestMetadata, build_record
from bridge.serialization.schemas import AvroRecord, load, parse_schema
from bridge.serialization.serializer import Serializer, confluent_prefix, single_object_prefix, single_object_prefixes
from bridge.simulator.data_kinds import DataKind
from bridge.simulator.market import Market
from bridge.topics import Topic
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SCHEMAS = load()
PREFIXES = single_object_prefixes(SCHEMAS)
README = (ROOT / "avro" / "README.md").read_text("utf-8")
STATE_EXAMPLE, LEVEL2_EXAMPLE, *PYTHON_EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
METADATA = IngestMetadata(ingest_time_us=1701450000123456, session_id=1701440000000000, seq=2**40, after_gap=False)
PREFIX_BYTES = 10


def apache_schema(topic: Topic) -> avro.schema.Schema:
    return avro.schema.parse(SCHEMAS[topic].text)


APACHE_SCHEMAS = {topic: apache_schema(topic) for topic in Topic}


def read_by_apache(topic: Topic, value: bytes) -> dict[str, Any]:
    """Read a value with Apache's reader, and check that no bytes are left."""
    body = BytesIO(value[PREFIX_BYTES:])
    record = avro.io.DatumReader(APACHE_SCHEMAS[topic]).read(avro.io.BinaryDecoder(body))
    assert not body.read()
    assert isinstance(record, dict)
    return record


def read_by_fastavro(topic: Topic, value: bytes) -> dict[str, Any]:
    body = BytesIO(value[PREFIX_BYTES:])
    record = fastavro.schemaless_reader(body, SCHEMAS[topic].parsed, None)
    assert not body.read()
    assert isinstance(record, dict)
    return record


def record_of(topic: Topic, fields: dict[str, Any], feed_time: object = None) -> AvroRecord:
    return build_record(topic, Update(UpdateKind.COMPOSITE, "AAPL", fields, feed_time), METADATA, DecimalEncoder())


def milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)


@pytest.fixture
def serializer() -> Serializer:
    return Serializer(SCHEMAS, PREFIXES)


def test_both_readers_agree_on_a_quote(serializer: Serializer) -> None:
    """Both readers return prices, sizes, times and nulls exactly."""
    record = record_of(
        Topic.QUOTES,
        {
            "bidPrice": "999999999.999999999",
            "askPrice": "0.000000001",
            "askChange": "-0.000000001",
            "bidChange": "-0.00",
            "bidSize": 2**63 - 1,
            "bidSizeChange": -(2**63),
            "bidExchange": "Ünïcode ✓",
            "quoteTimestamp": "2025-06-25T04:12:14.327-04:00",
        },
        feed_time=1750839134400,
    )
    value = serializer.encode(Topic.QUOTES, record)
    read = read_by_apache(Topic.QUOTES, value)
    assert read == read_by_fastavro(Topic.QUOTES, value)
    assert milliseconds(read.pop("event_time")) == 1750839134327
    assert milliseconds(read.pop("feed_time")) == 1750839134400
    assert read == {
        "symbol": "AAPL",
        "ingest_time_us": 1701450000123456,
        "session_id": 1701440000000000,
        "seq": 2**40,
        "after_gap": False,
        "instrument_type": None,
        "bid_price": Decimal("999999999.999999999"),
        "bid_size": 2**63 - 1,
        "bid_exchange": "Ünïcode ✓",
        "bid_change": Decimal(0),
        "bid_size_change": -(2**63),
        "ask_price": Decimal("0.000000001"),
        "ask_size": None,
        "ask_exchange": None,
        "ask_change": Decimal("-0.000000001"),
        "ask_size_change": None,
        "cleared": [],
    }


@given(st.lists(st.integers(0, 10**18 - 1).map(lambda unscaled: Decimal(unscaled).scaleb(-9)), max_size=8))
def test_both_readers_agree_on_any_price(values: list[Decimal]) -> None:
    """Both readers return the decimal that the feed sent."""
    rows = [f":{value:f}:" for value in values]
    value = Serializer(SCHEMAS, PREFIXES).encode(Topic.L2, record_of(Topic.L2, {"orderBook": rows}))
    for read in (read_by_apache(Topic.L2, value), read_by_fastavro(Topic.L2, value)):
        assert [level["price"] for level in read["book"]] == values


BAD_LINE = {"reason": "json", "error": "no JSON", "raw": b"\xff{", "ingest_time_us": 5, "bridge_version": "0"}
HEARTBEAT = {"kind": "HEARTBEAT", "instance": "me", "time_us": 5, "counts": {"published": 2**40}}
STATUS = {"exchanges": {"nyse": "open"}, "serverTime": "2025-07-17T03:33:11.000Z"}
#: A record of each topic (but quotes, above), and some of the fields that readers must return.
EXAMPLES: list[tuple[Topic, AvroRecord, dict[str, Any]]] = [
    (
        Topic.TRADES,
        record_of(Topic.TRADES, {"lastPrice": "101.26", "tradeSeq": 1, "tick": "up"}),
        {"last_price": Decimal("101.26"), "trade_seq": 1, "tick": "up", "dividend": None},
    ),
    (
        Topic.TIMESALES,
        record_of(Topic.TIMESALES, {"price": "101.26", "size": 1}),
        {"symbol": "AAPL", "price": Decimal("101.26"), "size": 1, "seq": 2**40},
    ),
    (
        Topic.L2,
        record_of(Topic.L2, {"orderBook": ["1:2:"], "quotes": ["ARCA::::"]}),
        {
            "book": [{"price": Decimal(2), "bid_size": None, "ask_size": 1}],
            "quotes": [{"exchange": "ARCA", "bid_price": None, "bid_size": None, "ask_price": None, "ask_size": None}],
        },
    ),
    (Topic.GREEKS, record_of(Topic.GREEKS, {"delta": "-0.25"}), {"delta": -0.25, "gamma": None}),
    (
        Topic.MARKET_STATUS,
        record_of(Topic.MARKET_STATUS, STATUS),
        {
            "exchanges": {"nyse": "open"},
            "currencies": {},
            "server_time": datetime(2025, 7, 17, 3, 33, 11, tzinfo=UTC),
        },
    ),
    (Topic.CONTROL, HEARTBEAT, {**HEARTBEAT, "shard": 0, "gap_from_us": None}),
    (Topic.DLQ, BAD_LINE, {**BAD_LINE, "symbol": None}),
]


@pytest.mark.parametrize(("topic", "record", "expected"), EXAMPLES)
def test_both_readers_agree_on_every_record(
    serializer: Serializer, topic: Topic, record: AvroRecord, expected: dict[str, Any]
) -> None:
    """Both readers return the fields that were given, and defaults for the rest."""
    value = serializer.encode(topic, record)
    read = read_by_apache(topic, value)
    assert read == read_by_fastavro(topic, value)
    assert {name: read[name] for name in expected} == expected


@pytest.mark.parametrize(("topic", "record", "expected"), EXAMPLES)
def test_missing_and_null_fields_are_the_same_bytes(
    serializer: Serializer, topic: Topic, record: AvroRecord, expected: dict[str, Any]
) -> None:
    """Fields that are null may be left out of a record."""
    optional = {field["name"]: None for field in SCHEMAS[topic].parsed["fields"] if isinstance(field["type"], list)}
    assert serializer.encode(topic, {**optional, **record}) == serializer.encode(topic, record)


def test_values_start_with_their_prefix(serializer: Serializer) -> None:
    """Single-object encoding starts with c301 and the fingerprint, the Confluent wire format with 00 and the id."""
    record = record_of(Topic.QUOTES, {})
    value = serializer.encode(Topic.QUOTES, record)
    assert value[:2].hex() == "c301"
    assert value[2:10] == SCHEMAS[Topic.QUOTES].fingerprint
    assert value[:10] == single_object_prefix(SCHEMAS[Topic.QUOTES])
    assert confluent_prefix(258).hex() == "0000000102"
    confluent = Serializer(SCHEMAS, {Topic.QUOTES: confluent_prefix(258)}).encode(Topic.QUOTES, record)
    assert confluent == confluent_prefix(258) + value[10:]


def test_values_are_independent(serializer: Serializer) -> None:
    """A value after a longer one, or after an error, contains no bytes of that one."""
    short = record_of(Topic.QUOTES, {})
    alone = Serializer(SCHEMAS, PREFIXES).encode(Topic.QUOTES, short)
    first = serializer.encode(Topic.L2, record_of(Topic.L2, {"orderBook": ["1:2:3"] * 100}))
    assert serializer.encode(Topic.QUOTES, short) == alone
    with pytest.raises(BadLine):
        serializer.encode(Topic.QUOTES, {**short, "bid_size": "many"})
    assert serializer.encode(Topic.QUOTES, short) == alone
    assert first == serializer.encode(Topic.L2, record_of(Topic.L2, {"orderBook": ["1:2:3"] * 100}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbol": None},
        {"symbol": 5},
        {"symbol": "\ud800"},
        {"seq": None},
        {"seq": "1"},
        {"seq": 2**63},
        {"bid_size": "many"},
        {"bid_size": 2**63},
        {"bid_price": "101.25"},
        {"bid_price": 5},
        {"event_time": "now"},
        {"instrument_type": b"e"},
    ],
)
def test_a_record_that_does_not_match_its_schema_is_a_bad_line(serializer: Serializer, wrong: AvroRecord) -> None:
    """A value of a wrong type raises BadLine with the reason for the dead letter."""
    with pytest.raises(BadLine, match="does not match the schema of quotes") as caught:
        serializer.encode(Topic.QUOTES, {**record_of(Topic.QUOTES, {}), **wrong})
    assert caught.value.reason == "encode"
    assert caught.value.symbol == wrong.get("symbol", "AAPL") or not isinstance(wrong["symbol"], str)


def test_a_record_without_a_required_field_is_a_bad_line(serializer: Serializer) -> None:
    """A required field has no default."""
    with pytest.raises(BadLine):
        serializer.encode(Topic.QUOTES, {"seq": 1})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory in which the shell example of avro/README.md has run."""
    directory = tmp_path_factory.mktemp("schemas")
    (example,) = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    subprocess.run(["bash", "-euc", example], cwd=directory, env={"PATH": path}, check=True)
    return directory


@pytest.mark.parametrize("example", PYTHON_EXAMPLES)
def test_the_examples_in_the_readme(
    serializer: Serializer, example: str, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python examples in avro/README.md read a quote exactly, with the schemas that its command has written."""
    monkeypatch.chdir(exported)
    consumer: dict[str, Any] = {}
    exec(example, consumer)
    record = consumer["read"](serializer.encode(Topic.QUOTES, record_of(Topic.QUOTES, {"bidPrice": "101.25"})))
    assert (record["symbol"], record["bid_price"]) == ("AAPL", Decimal("101.25"))


@pytest.mark.parametrize("example", PYTHON_EXAMPLES)
@pytest.mark.parametrize("prefix", [b"\xc3\x01" + bytes(8), b"\x00" + bytes(9), b""])
def test_the_examples_in_the_readme_reject_other_schemas(
    serializer: Serializer, example: str, prefix: bytes, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value of an unknown schema or encoding is an error, not a wrong record."""
    monkeypatch.chdir(exported)
    consumer: dict[str, Any] = {}
    exec(example, consumer)
    value = serializer.encode(Topic.QUOTES, record_of(Topic.QUOTES, {"bidPrice": "101.25"}))
    with pytest.raises(ValueError, match="bridge's version"):
        consumer["read"](prefix + value[PREFIX_BYTES:])


def test_the_example_in_the_readme_reads_records_of_earlier_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of a released schema is read as one of today: a later field has its default."""
    kept = tmp_path / "avro" / "released" / "0.0.1"
    shutil.copytree(ROOT / "avro", tmp_path / "avro")
    kept.mkdir(parents=True)
    earlier = json.loads(SCHEMAS[Topic.QUOTES].text)
    earlier["fields"] = [field for field in earlier["fields"] if field["name"] not in ("cleared", "ask_exchange")]
    (kept / "quote.avsc").write_text(json.dumps(earlier))
    schema = parse_schema((kept / "quote.avsc").read_text())
    body = BytesIO()
    record = record_of(Topic.QUOTES, {"bidPrice": "101.25"})
    fastavro.schemaless_writer(body, schema.parsed, record)
    monkeypatch.chdir(tmp_path)
    consumer: dict[str, Any] = {}
    exec(PYTHON_EXAMPLES[0], consumer)
    read = consumer["read"](single_object_prefix(schema) + body.getvalue())
    assert read.keys() == {field["name"] for field in SCHEMAS[Topic.QUOTES].parsed["fields"]}
    assert (read["bid_price"], read["ask_exchange"], read["cleared"]) == (Decimal("101.25"), None, [])


def test_the_state_that_the_readme_builds_from_quotes() -> None:
    """Absent fields keep their value, cleared ones lose it, changes are not carried over, a gap resets."""
    consumer: dict[str, Any] = {}
    exec(STATE_EXAMPLE, consumer)
    state: dict[str, Any] = {}
    messages: list[tuple[dict[str, object], bool]] = [
        ({"bidPrice": "9", "askPrice": "10", "bidChange": "1"}, True),
        ({"bidPrice": None, "askSize": 5}, False),
    ]
    for fields, after_gap in messages:
        update = Update(UpdateKind.QUOTE, "AAPL", fields)
        record = build_record(
            Topic.QUOTES, update, msgspec.structs.replace(METADATA, after_gap=after_gap), DecimalEncoder()
        )
        state = consumer["apply"](state, record)
    assert (state["bid_price"], state["ask_price"], state["ask_size"]) == (None, DecimalEncoder().price("10"), 5)
    assert "bid_change" not in state
    gap = build_record(Topic.QUOTES, Update(UpdateKind.QUOTE, "AAPL", {"bidSize": 1}), METADATA, DecimalEncoder())
    assert "ask_price" not in consumer["apply"](state, gap | {"after_gap": True})


@pytest.mark.parametrize("is_full", [True, False, None])
def test_the_book_that_the_readme_builds_is_that_of_the_feed(is_full: bool | None) -> None:  # noqa: FBT001
    """Whether messages have all rows or the changes, the book and the exchanges' quotes are those of the market."""
    consumer: dict[str, Any] = {}
    exec(LEVEL2_EXAMPLE, consumer)
    market = Market(seed=3, level2_changes=is_full is False)
    instrument = market.instrument("AAPL")
    state: dict[str, Any] = {}
    for number in range(300):
        market.make_event("AAPL", DataKind.QUOTE, number)
        fields = market.make_event("AAPL", DataKind.LEVEL2, number).fields
        metadata = msgspec.structs.replace(METADATA, after_gap=number == 0, is_full=is_full)
        record = build_record(Topic.L2, Update(UpdateKind.LEVEL2, "AAPL", fields), metadata, DecimalEncoder())
        state = consumer["apply_level2"](state, record)
        truth: dict[str, object] = {
            "orderBook": [*instrument._book.values()],
            "quotes": [*instrument._exchanges.values()],
        }
        wanted: Any = build_record(Topic.L2, Update(UpdateKind.LEVEL2, "AAPL", truth), metadata, DecimalEncoder())
        assert sorted(map(str, state["book"].values())) == sorted(map(str, wanted["book"]))
        assert sorted(map(str, state["quotes"].values())) == sorted(map(str, wanted["quotes"]))


def test_an_empty_part_of_level_2() -> None:
    """A part that is not in a message keeps its rows; an empty or null list says that there are none any more."""
    consumer: dict[str, Any] = {}
    exec(LEVEL2_EXAMPLE, consumer)
    messages: list[tuple[dict[str, object], int, int]] = [
        ({"orderBook": ["1:2:"], "quotes": ["A:1:2:3:4"]}, 1, 1),
        ({"orderBook": ["1:2.5:"]}, 1, 1),
        ({"orderBook": []}, 0, 1),
        ({"quotes": None}, 0, 0),
    ]
    state: dict[str, Any] = {}
    for fields, levels, exchanges in messages:
        record = build_record(Topic.L2, Update(UpdateKind.LEVEL2, "AAPL", fields), METADATA, DecimalEncoder())
        value = Serializer(SCHEMAS, PREFIXES).encode(Topic.L2, record)
        state = consumer["apply_level2"](state, read_by_apache(Topic.L2, value))
        assert (len(state["book"]), len(state["quotes"])) == (levels, exchanges)


@pytest.mark.parametrize(("topic", "record"), [(topic, record) for topic, record, _ in EXAMPLES if "seq" in record])
def test_replacing_a_field_keeps_all_others(serializer: Serializer, topic: Topic, record: AvroRecord) -> None:
    """Setting a flag changes one byte, and resetting it returns the value as it was, prefix included."""
    value = serializer.encode(topic, record)
    marked = serializer.replace_fields(topic, value, after_gap=True)
    assert sum(one != other for one, other in zip(value, marked, strict=True)) == 1
    assert serializer.replace_fields(topic, marked, after_gap=False) == value
