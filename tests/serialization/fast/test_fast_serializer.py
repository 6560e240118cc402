"""The generated code returns the bytes of the reference implementation, or None for what that must handle."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import BadLine
from bridge.market_data import Update, UpdateKind
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.fast import FastSerializer, encode_long, encode_string
from bridge.serialization.fast.serializer import MAX_SPECIALIZED_ENCODERS
from bridge.serialization.field_mappings import FIELD_MAPPINGS, REQUIRED_FIELDS, SHARED_FIELD_MAPPINGS
from bridge.serialization.level2_rows import MAX_ROWS
from bridge.serialization.readable_fields import readable
from bridge.serialization.records import IngestMetadata, build_record, is_empty
from bridge.serialization.schemas import Schema, load, parse_schema
from bridge.serialization.serializer import Serializer, confluent_prefix, single_object_prefixes
from bridge.topics import MARKET_DATA, Topic

SCHEMAS = load()
PREFIXES = single_object_prefixes(SCHEMAS)
METADATA = IngestMetadata(ingest_time_us=1701450000123456, session_id=1701440000000000, seq=7, after_gap=True)

WHOLE = st.one_of(st.integers(-3, 400), st.integers(-(2**64), 2**64))
SIZES = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1))
TEXTS = st.one_of(st.sampled_from(["NSDQ", "", "\u20ac", "\U0001f4c8", "+"]), st.text(max_size=60))
PRICES = st.one_of(
    st.decimals(-(10**9), 10**9, places=9).map(lambda price: f"{price:f}"),
    st.decimals(-99, 99, places=2).map(str),
    st.sampled_from(["1", "1.0", "-0", ".5", "2.", "1e2", "+7", "0.1234567891", "999999999.9999999999"]),
)
QUANTITIES = st.one_of(
    st.integers(0, 10**12),
    st.decimals(0, 10**12, places=6).map(lambda quantity: f"{quantity:f}"),
    st.sampled_from(["0.083", "100", "100.0", "1234567.25", "0.0000001"]),
)
TIMES = st.one_of(
    st.sampled_from(["2025-06-25T04:12:14.327-04:00", "2025-06-25T04:12:59.999-04:00", "2025-06-25T08:12:14.327Z"]),
    st.datetimes().map(lambda time: f"{time.isoformat(timespec='milliseconds')}Z"),
    st.integers(0, 10**19),
    st.sampled_from(["1764239640123.4567", "1.764239640123E12", "1764239640.123", "0", "0001-01-01T00:00:00Z"]),
)
DOUBLES = st.one_of(st.floats(allow_nan=False, allow_infinity=False).map(repr), st.integers(-5, 5))
STATUSES = st.dictionaries(TEXTS, st.one_of(TEXTS, st.none()), max_size=4)
FLAGS = st.booleans()
#: What no field accepts, or only some do, among it values of different types that are equal as keys of a dict.
ODD = st.one_of(
    st.booleans(),
    st.sampled_from([0, 1, 0.0, 1.0, 100.0, "100", "100.0", "-1", "", "x", "1_0", " 1", "\u0663", "nan", "\ud800"]),
    st.sampled_from([-1, "-1.00", "N/A", "-", "NaN", "Infinity", "0.5", 308]),
    st.none(),
    WHOLE,
    TEXTS,
    st.just([]),
    st.just({}),
    st.just(["1:1:1", None, 5]),
    st.just({"nyse": 1}),
)
SIDES = st.one_of(st.just(""), SIZES.map(str), st.sampled_from(["0", "00", "1.0", "1.5", "-1", "x"]))
ROW_PRICES = st.one_of(PRICES, PRICES, st.just(""))
BOOK = st.lists(st.builds("{}:{}:{}".format, SIDES, ROW_PRICES, SIDES), max_size=4)
EXCHANGE_QUOTES = st.lists(st.builds("{}:{}:{}:{}:{}".format, TEXTS, ROW_PRICES, SIDES, ROW_PRICES, SIDES), max_size=3)
GOOD = {
    **dict.fromkeys(FIELD_MAPPINGS[Topic.QUOTES], PRICES),
    **dict.fromkeys(FIELD_MAPPINGS[Topic.TRADES], PRICES),
    **dict.fromkeys(FIELD_MAPPINGS[Topic.GREEKS], DOUBLES),
    **dict.fromkeys(["bidSize", "askSize", "tickVolume", "tradeSeq", "openInterest"], SIZES),
    **dict.fromkeys(["size", "totalVolume"], QUANTITIES),
    **dict.fromkeys(["bidSizeChange", "askSizeChange"], st.integers(-(2**63), 2**63 - 1)),
    **dict.fromkeys(["bidExchange", "askExchange", "tradeExchange", "tick", "market", *SHARED_FIELD_MAPPINGS], TEXTS),
    **dict.fromkeys(["quoteTimestamp", "tradeTimestamp", "serverTime"], TIMES),
    **dict.fromkeys(["exchanges", "currencies", "indicesGroups"], STATUSES),
    **dict.fromkeys(["afterHours", "earlyHours"], FLAGS),
    "orderBook": BOOK,
    "quotes": EXCHANGE_QUOTES,
}


def updates(topic: Topic) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for the fields of complete and partial updates, some with odd values."""
    names = [*FIELD_MAPPINGS[topic], *SHARED_FIELD_MAPPINGS]
    good = st.fixed_dictionaries({}, optional={name: GOOD[name] for name in names})
    odd = st.dictionaries(st.sampled_from([*names, "color"]), ODD, max_size=2)
    return st.one_of(good, st.builds(lambda usual, unusual: usual | unusual, good, odd))


class Paths:
    """The reference path and the fast path, each with its own counter of rounded prices."""

    def __init__(self) -> None:
        self.reference_prices, self.fast_prices = DecimalEncoder(), DecimalEncoder()
        self.serializer = Serializer(SCHEMAS, PREFIXES)
        self.fast_serializer = FastSerializer(SCHEMAS, PREFIXES, self.fast_prices)

    def reference(self, topic: Topic, update: Update, metadata: IngestMetadata = METADATA) -> bytes | None:
        required = REQUIRED_FIELDS.get(topic)
        if is_empty(topic, update.fields) or (required is not None and update.fields.get(required) is None):
            return None  # no record
        try:
            return self.serializer.encode(topic, build_record(topic, update, metadata, self.reference_prices))
        except (BadLine, ValueError):
            return None

    def fast(
        self, topic: Topic, update: Update, metadata: IngestMetadata = METADATA, names: tuple[str, ...] | None = None
    ) -> bytes | None:
        return self.fast_serializer.encoder(topic, names)(
            update.fields,
            update.feed_time,
            encode_string(update.symbol),
            encode_long(metadata.ingest_time_us),
            encode_long(metadata.session_id),
            metadata.seq,
            metadata.after_gap,
        )

    def fields(self, topic: Topic, fields: dict[str, Any]) -> bytes | None:
        """Return the fast path's value of a record with only these fields, after comparing it with the reference."""
        update = Update(UpdateKind.COMPOSITE, "AAPL", fields)
        value = self.fast(topic, update, names=tuple(fields))
        assert value == self.reference(topic, update)
        return value


#: Shared by all examples of a property, so that later ones find the values of earlier ones in the caches.
PATHS = Paths()


@pytest.fixture
def paths() -> Paths:
    return Paths()


@pytest.mark.parametrize("topic", MARKET_DATA)
@settings(max_examples=120)
@given(data=st.data())
def test_both_paths_return_the_same_bytes_and_reject_the_same_updates(topic: Topic, data: st.DataObject) -> None:
    """Whatever an update contains, both paths return the same, and count the rounded prices of a record alike."""
    fields = data.draw(updates(topic))
    symbol = data.draw(st.one_of(st.just("AAPL"), st.text(max_size=20)))
    feed_time = data.draw(st.one_of(st.none(), TIMES, ODD))
    metadata = data.draw(st.builds(IngestMetadata, SIZES, SIZES, SIZES, st.booleans()))
    update = Update(UpdateKind.COMPOSITE, symbol, fields, feed_time)
    before = PATHS.reference_prices.rounded, PATHS.fast_prices.rounded
    expected = PATHS.reference(topic, update, metadata)
    # The general encoder cannot tell a null field from a missing one, and leaves both to the other.
    ambiguous = None in fields.values() or (topic is Topic.L2 and not all(fields.values()))
    assert PATHS.fast(topic, update, metadata) in ((expected, None) if ambiguous else (expected,))
    rounded = (PATHS.reference_prices.rounded - before[0]) if expected else 0
    if not ambiguous:
        assert PATHS.fast_prices.rounded - before[1] == rounded
    before = PATHS.reference_prices.rounded, PATHS.fast_prices.rounded
    assert PATHS.fast(topic, update, metadata, tuple(fields)) == expected
    assert PATHS.fast_prices.rounded - before[1] == rounded


@pytest.mark.parametrize("topic", MARKET_DATA)
@settings(max_examples=80)
@given(data=st.data())
def test_whatever_is_made_readable_is_encoded_alike_by_both_paths(topic: Topic, data: st.DataObject) -> None:
    """No value of a field can cost a record once it is made readable; nothing is counted while it is."""
    fields = data.draw(updates(topic))
    if topic is Topic.TIMESALES:
        fields["price"] = "1"
    update = Update(UpdateKind.COMPOSITE, "AAPL", fields, data.draw(st.one_of(st.none(), TIMES, ODD)))
    before = PATHS.fast_prices.rounded
    update, _, _ = readable(update, [topic], PATHS.fast_prices)
    assert PATHS.fast_prices.rounded == before
    value = PATHS.fast(topic, update, names=tuple(update.fields))
    assert value == PATHS.reference(topic, update)
    # A lone surrogate has no UTF-8: the JSON decoder does not let one through.
    assert value is not None or is_empty(topic, update.fields) or "\\ud800" in ascii(fields)


@pytest.mark.parametrize(("topic", "name"), [(topic, name) for topic in MARKET_DATA for name in FIELD_MAPPINGS[topic]])
def test_every_field_alone(topic: Topic, name: str, paths: Paths) -> None:
    """Each field accepts and rejects what the reference does; values that are equal as keys come in both orders."""
    for value in [1, True, 1.0, "1", 0, False, 0.0, -1, 2**13, -(2**13), 2**63 - 1, 2**63, -(2**63), "", "a" * 49]:
        paths.fields(topic, {name: value})
    for value in ["100", 100, "100.0", 100.0, True, 1, None, [], {}, [None], ["1:1:1"], ["A:1:1:1:1"], {"a": "b"}]:
        paths.fields(topic, {name: value})


@pytest.mark.parametrize("rows", [["1:2:3"] * 20, ["1:2:"], [":2:3", ":2:"], [], ["1:2:3", 5], ["1:2"], "1:2:3", {}])
def test_rows_of_the_book(rows: object, paths: Paths) -> None:
    """Rows with and without sides are encoded alike, and malformed ones rejected alike."""
    paths.fields(Topic.L2, {"orderBook": rows})


def test_the_number_of_rows_is_limited(paths: Paths) -> None:
    """Both paths have the same limit."""
    assert paths.fields(Topic.L2, {"orderBook": ["1:2:3"] * MAX_ROWS})
    assert paths.fields(Topic.L2, {"orderBook": ["1:2:3"] * (MAX_ROWS + 1)}) is None


def test_ordinary_updates_take_the_fast_path(paths: Paths) -> None:
    """Usual updates, in the notation of either dialect, are not left to the reference path."""
    assert paths.fields(Topic.QUOTES, {"bidPrice": "212.49", "bidSize": 300, "quoteTimestamp": 1750839134327})
    assert paths.fields(
        Topic.QUOTES, {"bidPrice": "212.49", "bidSize": "300", "quoteTimestamp": "2025-06-25T04:12:14.327-04:00"}
    )
    assert paths.fields(Topic.L2, {"orderBook": [":212.49:300"], "quotes": ["NSDQ:212.5:100::"]})


def test_each_rounded_price_is_counted(paths: Paths) -> None:
    """The same text is counted each time, in every field."""
    for _ in range(3):
        assert paths.fields(Topic.L2, {"orderBook": ["1:0.1234567891:1"], "quotes": ["A:0.1234567891::0.1234567891:"]})
        assert paths.fields(Topic.QUOTES, {"bidPrice": "0.1234567891"})
    assert paths.fast_prices.rounded == paths.reference_prices.rounded == 3 * 4


def test_a_rejected_update_counts_no_rounded_price(paths: Paths) -> None:
    """Rounded prices of an update that is left to the reference path are counted only there."""
    assert paths.fields(Topic.QUOTES, {"bidPrice": "0.1234567891", "askSize": -1}) is None
    assert paths.fast_prices.rounded == 0


def test_caches_are_bounded(paths: Paths) -> None:
    """More prices, times and sizes than a cache holds clear it, and the bytes stay right."""
    for number in range(70_000):
        fields = {"bidPrice": f"{number}.5", "bidSize": -number, "bidSizeChange": -number, "quoteTimestamp": number}
        paths.fast(Topic.QUOTES, Update(UpdateKind.QUOTE, "AAPL", fields | {"bidSize": f"{number}"}))
        paths.fast(Topic.QUOTES, Update(UpdateKind.QUOTE, "AAPL", {"bidExchange": f"{number}", "askSize": number}))
    sizes = {name: len(cache.known) for name, cache in paths.fast_serializer._context.caches.items()}
    assert max(sizes.values()) < 1 << 14  # the caches have been cleared
    assert 70_000 - (1 << 16) <= sizes["price"] <= 70_000 - (1 << 16) + 2  # null, and the one used below
    assert paths.fields(Topic.QUOTES, {"bidPrice": "69999.5", "bidSize": "69999", "quoteTimestamp": 69_999})


def test_a_long_text_is_not_cached(paths: Paths) -> None:
    """Long texts cannot fill the memory."""
    texts = paths.fast_serializer._context.caches["string"].known
    before = len(texts)
    assert paths.fields(Topic.QUOTES, {"bidExchange": "x" * 1000})
    assert len(texts) <= before + 1  # null, for the missing fields


def test_new_prefixes_apply_to_encoders_returned_before(paths: Paths) -> None:
    """Ids that a registry returns late are in the values of every encoder."""
    fields: dict[str, object] = {"bidPrice": "1"}
    returned_before = (
        paths.fast_serializer.encoder(Topic.QUOTES),
        paths.fast_serializer.encoder(Topic.QUOTES, ("bidPrice",)),
    )
    after_gap = True
    paths.fast_serializer.set_prefixes({topic: confluent_prefix(77) for topic in Topic})
    for encode in (*returned_before, paths.fast_serializer.encoder(Topic.QUOTES, ("bidPrice", "askPrice"))):
        value = encode(
            fields | ({"askPrice": "1"} if encode not in returned_before else {}),
            None,
            encode_string("AAPL"),
            encode_long(1),
            encode_long(2),
            0,
            after_gap,
        )
        assert value is not None
        assert value.startswith(confluent_prefix(77) + b"\x08AAPL")


def test_the_number_of_specialized_encoders_is_limited(paths: Paths) -> None:
    """More combinations of names than may have their own encoder are still encoded right."""
    for number in range(MAX_SPECIALIZED_ENCODERS + 50):
        fields: dict[str, object] = {"bidPrice": "1.5", f"x{number}": 1}
        update = Update(UpdateKind.QUOTE, "AAPL", fields)
        assert paths.fast(Topic.QUOTES, update, names=tuple(fields)) == paths.reference(Topic.QUOTES, update)
    assert len(paths.fast_serializer._specialized) == MAX_SPECIALIZED_ENCODERS


@pytest.mark.parametrize("topic", MARKET_DATA)
def test_the_generated_code_is_readable(topic: Topic, paths: Paths) -> None:
    """The code names every field of the feed that fills the record, in lines of usual length."""
    code = paths.fast_serializer.code(topic)
    assert all(f'get("{wire}")' in code for wire in FIELD_MAPPINGS[topic])
    assert max(map(len, code.splitlines())) < 120


def with_field(topic: Topic, field: dict[str, Any]) -> dict[Topic, Schema]:
    """Return the schemas with one more field at the end of that of a topic."""
    declared = json.loads(SCHEMAS[topic].text)
    declared["fields"].append(field)
    return {**SCHEMAS, topic: parse_schema(json.dumps(declared))}


def test_a_new_nullable_field_is_null() -> None:
    """A nullable field of the schema that no field of the feed fills is encoded as null."""
    schemas = with_field(Topic.QUOTES, {"name": "color", "type": ["null", "string"], "default": None})
    update = Update(UpdateKind.QUOTE, "AAPL", {"bidPrice": "1"})
    expected = Serializer(schemas, PREFIXES).encode(
        Topic.QUOTES, build_record(Topic.QUOTES, update, METADATA, DecimalEncoder())
    )
    paths = Paths()
    paths.fast_serializer = FastSerializer(schemas, PREFIXES, DecimalEncoder())
    assert paths.fast(Topic.QUOTES, update) == expected


@pytest.mark.parametrize("is_full", [True, False, None])
def test_level_2_says_whether_a_message_has_all_rows(is_full: bool | None, paths: Paths) -> None:  # noqa: FBT001
    """Both paths write what is known of the feed."""
    paths.fast_serializer = FastSerializer(SCHEMAS, PREFIXES, DecimalEncoder(), is_full=is_full)
    update = Update(UpdateKind.LEVEL2, "AAPL", {"orderBook": ["1:2:3"], "quotes": []})
    metadata = msgspec.structs.replace(METADATA, is_full=is_full)
    expected = paths.reference(Topic.L2, update, metadata)
    assert expected is not None
    assert paths.fast(Topic.L2, update, metadata, ("orderBook", "quotes")) == expected


def test_a_new_required_field_is_rejected_at_start() -> None:
    """A schema with a required field that no field of the feed fills is an error before anything is encoded."""
    schemas = with_field(Topic.QUOTES, {"name": "color", "type": "string", "default": "red"})
    with pytest.raises(ValueError, match="color of quotes"):
        FastSerializer(schemas, PREFIXES, DecimalEncoder())
