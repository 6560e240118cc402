"""The fast path writes what the slow path writes, and leaves to it what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import BadLine
from bridge.market_data import Update, UpdateKind
from bridge.serialization.decimals import Prices
from bridge.serialization.fast import FastSerializer, long_bytes, string_bytes
from bridge.serialization.fast.serializer import MOST_OF_NAMES
from bridge.serialization.records import FIELDS, MOST_ROWS, SHARED_FIELDS, Stamp, build
from bridge.serialization.schemas import Schema, load, schema_of
from bridge.serialization.serializer import Serializer, confluent_prefix, single_object_prefixes
from bridge.topics import MARKET_DATA, Topic

SCHEMAS = load()
PREFIXES = single_object_prefixes(SCHEMAS)
STAMP = Stamp(ingest_time_us=1701450000123456, session_id=1701440000000000, seq=7, after_gap=True)

WHOLE = st.one_of(st.integers(-3, 400), st.integers(-(2**64), 2**64))
SIZES = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1))
TEXTS = st.one_of(st.sampled_from(["NSDQ", "", "\u20ac", "\U0001f4c8", "+"]), st.text(max_size=60))
PRICES = st.one_of(
    st.decimals(-(10**9), 10**9, places=9).map(lambda price: f"{price:f}"),
    st.decimals(-99, 99, places=2).map(str),
    st.sampled_from(["1", "1.0", "-0", ".5", "2.", "1e2", "+7", "0.1234567891", "999999999.9999999999"]),
)
TIMES = st.one_of(
    st.sampled_from(["2025-06-25T04:12:14.327-04:00", "2025-06-25T04:12:59.999-04:00", "2025-06-25T08:12:14.327Z"]),
    st.datetimes().map(lambda time: f"{time.isoformat(timespec='milliseconds')}Z"),
    st.integers(0, 10**19),
)
DOUBLES = st.one_of(st.floats(allow_nan=False, allow_infinity=False).map(repr), st.integers(-5, 5))
STATUSES = st.dictionaries(TEXTS, st.one_of(TEXTS, st.none()), max_size=4)
FLAGS = st.booleans()
#: What no field takes, or only some do: the types a cache may confuse are among them.
ODD = st.one_of(
    st.booleans(),
    st.sampled_from([0, 1, 0.0, 1.0, 100.0, "100", "100.0", "-1", "", "x", "1_0", " 1", "\u0663", "nan", "\ud800"]),
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
    **dict.fromkeys(FIELDS[Topic.QUOTES], PRICES),
    **dict.fromkeys(FIELDS[Topic.TRADES], PRICES),
    **dict.fromkeys(FIELDS[Topic.GREEKS], DOUBLES),
    **dict.fromkeys(["bidSize", "askSize", "size", "totalVolume", "tickVolume", "tradeSeq", "openInterest"], SIZES),
    **dict.fromkeys(["bidSizeChange", "askSizeChange"], st.integers(-(2**63), 2**63 - 1)),
    **dict.fromkeys(["bidExchange", "askExchange", "tradeExchange", "tick", "market", *SHARED_FIELDS], TEXTS),
    **dict.fromkeys(["quoteTimestamp", "tradeTimestamp", "serverTime"], TIMES),
    **dict.fromkeys(["exchanges", "currencies", "indicesGroups"], STATUSES),
    **dict.fromkeys(["afterHours", "earlyHours"], FLAGS),
    "orderBook": BOOK,
    "quotes": EXCHANGE_QUOTES,
}


def updates(topic: Topic) -> st.SearchStrategy[dict[str, Any]]:
    """Make updates, partial ones too, of good values, or with an odd one among them."""
    names = [*FIELDS[topic], *SHARED_FIELDS]
    good = st.fixed_dictionaries({}, optional={name: GOOD[name] for name in names})
    odd = st.dictionaries(st.sampled_from([*names, "color"]), ODD, max_size=2)
    return st.one_of(good, st.builds(lambda usual, unusual: usual | unusual, good, odd))


class Paths:
    """Take updates along both paths, with counters of their own; what is remembered stays from one to the next."""

    def __init__(self) -> None:
        self.slow_prices, self.fast_prices = Prices(), Prices()
        self.serializer = Serializer(SCHEMAS, PREFIXES)
        self.fast_serializer = FastSerializer(SCHEMAS, PREFIXES, self.fast_prices)

    def slow(self, topic: Topic, update: Update, stamp: Stamp = STAMP) -> bytes | None:
        if all(update.fields.get(name) is None for name in FIELDS[topic]):
            return None  # no record at all
        try:
            return self.serializer.encode(topic, build(topic, update, stamp, self.slow_prices))
        except BadLine:
            return None

    def fast(
        self, topic: Topic, update: Update, stamp: Stamp = STAMP, names: tuple[str, ...] | None = None
    ) -> bytes | None:
        return self.fast_serializer.of(topic, names)(
            update.fields,
            update.feed_time,
            string_bytes(update.symbol),
            long_bytes(stamp.ingest_time_us),
            long_bytes(stamp.session_id),
            stamp.seq,
            stamp.after_gap,
        )

    def fields(self, topic: Topic, fields: dict[str, Any]) -> bytes | None:
        """Return what the fast path makes of these fields alone, after the slow path made the same of them."""
        update = Update(UpdateKind.COMPOSITE, "AAPL", fields)
        value = self.fast(topic, update)
        assert value == self.slow(topic, update)
        return value


#: The same for all examples of a property: so they meet what earlier ones left in the tables.
PATHS = Paths()


@pytest.fixture
def paths() -> Paths:
    return Paths()


@pytest.mark.parametrize("topic", MARKET_DATA)
@settings(max_examples=120)
@given(data=st.data())
def test_both_paths_write_the_same_bytes_and_refuse_the_same_updates(topic: Topic, data: st.DataObject) -> None:
    """Whatever an update holds, both paths end alike, and count rounded prices alike where they write."""
    fields = data.draw(updates(topic))
    symbol = data.draw(st.one_of(st.just("AAPL"), st.text(max_size=20)))
    feed_time = data.draw(st.one_of(st.none(), TIMES, ODD))
    stamp = data.draw(st.builds(Stamp, SIZES, SIZES, SIZES, st.booleans()))
    update = Update(UpdateKind.COMPOSITE, symbol, fields, feed_time)
    before = PATHS.slow_prices.rounded, PATHS.fast_prices.rounded
    expected = PATHS.slow(topic, update, stamp)
    assert PATHS.fast(topic, update, stamp) == expected
    rounded = (PATHS.slow_prices.rounded - before[0]) if expected else 0
    assert PATHS.fast_prices.rounded - before[1] == rounded
    assert PATHS.fast(topic, update, stamp, tuple(fields)) == expected
    assert PATHS.fast_prices.rounded - before[1] == 2 * rounded


@pytest.mark.parametrize(("topic", "name"), [(topic, name) for topic in MARKET_DATA for name in FIELDS[topic]])
def test_every_field_alone(topic: Topic, name: str, paths: Paths) -> None:
    """One field after another takes, and refuses, what the slow path does; in both orders of what is alike."""
    for value in [1, True, 1.0, "1", 0, False, 0.0, -1, 2**13, -(2**13), 2**63 - 1, 2**63, -(2**63), "", "a" * 49]:
        paths.fields(topic, {name: value})
    for value in ["100", 100, "100.0", 100.0, True, 1, None, [], {}, [None], ["1:1:1"], ["A:1:1:1:1"], {"a": "b"}]:
        paths.fields(topic, {name: value})


@pytest.mark.parametrize("rows", [["1:2:3"] * 20, ["1:2:"], [":2:3", ":2:"], [], ["1:2:3", 5], ["1:2"], "1:2:3", {}])
def test_rows_of_the_book(rows: object, paths: Paths) -> None:
    """Rows with and without sides are written alike, and malformed ones refused alike."""
    paths.fields(Topic.L2, {"orderBook": rows})


def test_as_many_rows_are_taken_as_the_slow_path_takes(paths: Paths) -> None:
    """The limit on rows is the same one."""
    assert paths.fields(Topic.L2, {"orderBook": ["1:2:3"] * MOST_ROWS})
    assert paths.fields(Topic.L2, {"orderBook": ["1:2:3"] * (MOST_ROWS + 1)}) is None


def test_ordinary_updates_are_taken(paths: Paths) -> None:
    """What the feed sends all day does not end on the slow path, in either dialect's notation."""
    assert paths.fields(Topic.QUOTES, {"bidPrice": "212.49", "bidSize": 300, "quoteTimestamp": 1750839134327})
    assert paths.fields(
        Topic.QUOTES, {"bidPrice": "212.49", "bidSize": "300", "quoteTimestamp": "2025-06-25T04:12:14.327-04:00"}
    )
    assert paths.fields(Topic.L2, {"orderBook": [":212.49:300"], "quotes": ["NSDQ:212.5:100::"]})


def test_each_rounded_price_is_counted(paths: Paths) -> None:
    """The same text counts every time it is written, wherever it stands."""
    for _ in range(3):
        assert paths.fields(Topic.L2, {"orderBook": ["1:0.1234567891:1"], "quotes": ["A:0.1234567891::0.1234567891:"]})
        assert paths.fields(Topic.QUOTES, {"bidPrice": "0.1234567891"})
    assert paths.fast_prices.rounded == paths.slow_prices.rounded == 3 * 4


def test_what_is_refused_is_counted_by_the_slow_path_alone(paths: Paths) -> None:
    """A rounded price in an update that is left to the slow path is not counted twice."""
    assert paths.fields(Topic.QUOTES, {"bidPrice": "0.1234567891", "askSize": -1}) is None
    assert paths.fast_prices.rounded == 0


def test_what_is_remembered_is_bounded(paths: Paths) -> None:
    """More prices, times and sizes than a table holds leave it no larger, and the bytes right."""
    for number in range(70_000):
        fields = {"bidPrice": f"{number}.5", "bidSize": -number, "bidSizeChange": -number, "quoteTimestamp": number}
        paths.fast(Topic.QUOTES, Update(UpdateKind.QUOTE, "AAPL", fields | {"bidSize": f"{number}"}))
        paths.fast(Topic.QUOTES, Update(UpdateKind.QUOTE, "AAPL", {"bidExchange": f"{number}", "askSize": number}))
    sizes = {name: len(table.known) for name, table in paths.fast_serializer._tables.tables.items()}
    assert max(sizes.values()) < 1 << 14  # the tables have started anew
    assert 70_000 - (1 << 16) <= sizes["price"] <= 70_000 - (1 << 16) + 2  # null, and one that is looked at below
    assert paths.fields(Topic.QUOTES, {"bidPrice": "69999.5", "bidSize": "69999", "quoteTimestamp": 69_999})


def test_a_long_text_is_not_remembered(paths: Paths) -> None:
    """Who sends long texts does not fill the memory with them."""
    texts = paths.fast_serializer._tables.tables["text"].known
    before = len(texts)
    assert paths.fields(Topic.QUOTES, {"bidExchange": "x" * 1000})
    assert len(texts) <= before + 1  # null, for the fields that are not there


def test_prefixes_change_also_for_functions_handed_out_before(paths: Paths) -> None:
    """A registry that answers late still gets its ids into every value."""
    fields: dict[str, object] = {"bidPrice": "1"}
    known = paths.fast_serializer.of(Topic.QUOTES), paths.fast_serializer.of(Topic.QUOTES, ("bidPrice",))
    after_gap = True
    paths.fast_serializer.prefix_with({topic: confluent_prefix(77) for topic in Topic})
    for encode in (*known, paths.fast_serializer.of(Topic.QUOTES, ("bidPrice", "askPrice"))):
        value = encode(
            fields | ({"askPrice": "1"} if encode not in known else {}),
            None,
            string_bytes("AAPL"),
            long_bytes(1),
            long_bytes(2),
            0,
            after_gap,
        )
        assert value is not None
        assert value.startswith(confluent_prefix(77) + b"\x08AAPL")


def test_functions_for_certain_names_are_few(paths: Paths) -> None:
    """A feed that invents names without end gets as many functions as fit, and the right bytes all the same."""
    for number in range(MOST_OF_NAMES + 50):
        fields: dict[str, object] = {"bidPrice": "1.5", f"x{number}": None}
        update = Update(UpdateKind.QUOTE, "AAPL", fields)
        assert paths.fast(Topic.QUOTES, update, names=tuple(fields)) == paths.slow(Topic.QUOTES, update)
    assert len(paths.fast_serializer._of_names) == MOST_OF_NAMES


@pytest.mark.parametrize("topic", MARKET_DATA)
def test_the_source_can_be_read(topic: Topic, paths: Paths) -> None:
    """The text of a function names every field of the feed that goes into its records."""
    source = paths.fast_serializer.source(topic)
    assert all(f'get("{wire}")' in source for wire in FIELDS[topic])
    assert max(map(len, source.splitlines())) < 120


def with_field(topic: Topic, field: dict[str, Any]) -> dict[Topic, Schema]:
    """Return the schemas with one more field at the end of a topic's."""
    declared = json.loads(SCHEMAS[topic].text)
    declared["fields"].append(field)
    return {**SCHEMAS, topic: schema_of(json.dumps(declared))}


def test_a_new_field_that_may_be_null_is_null() -> None:
    """The functions follow the schema: a field that nothing fills yet is written as null."""
    schemas = with_field(Topic.QUOTES, {"name": "color", "type": ["null", "string"], "default": None})
    update = Update(UpdateKind.QUOTE, "AAPL", {"bidPrice": "1"})
    expected = Serializer(schemas, PREFIXES).encode(Topic.QUOTES, build(Topic.QUOTES, update, STAMP, Prices()))
    paths = Paths()
    paths.fast_serializer = FastSerializer(schemas, PREFIXES, Prices())
    assert paths.fast(Topic.QUOTES, update) == expected


def test_a_new_field_that_must_be_filled_is_refused_at_once() -> None:
    """A schema that the tables of fields do not cover ends at start-up, not in wrong bytes."""
    schemas = with_field(Topic.QUOTES, {"name": "color", "type": "string", "default": "red"})
    with pytest.raises(ValueError, match="color of quotes"):
        FastSerializer(schemas, PREFIXES, Prices())
