"""Updates are converted to records, or the error names the field that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import market_data
from bridge.errors import BadField
from bridge.market_data import EventType, Update, UpdateKind
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.field_mappings import FIELD_MAPPINGS, SHARED_FIELD_MAPPINGS, TOPICS_WITH_CLEARED
from bridge.serialization.level2_rows import MAX_ROWS
from bridge.serialization.records import IngestMetadata, build_record, record_topics, unknown_fields
from bridge.serialization.schemas import AvroRecord, load
from bridge.topics import MARKET_DATA, Topic, topics_for

METADATA = IngestMetadata(ingest_time_us=1701450000123456, session_id=1701440000000000, seq=7, after_gap=True)
QUOTE = {
    "symbol": "AAPL",
    "instrumentType": "e",
    "bidPrice": "101.25",
    "bidSize": 100,
    "bidExchange": "Q",
    "bidChange": "-0.01",
    "bidSizeChange": -200,
    "askPrice": 102,
    "askSize": "300",
    "askExchange": "N",
    "askChange": "0.010000000",
    "askSizeChange": "-5",
    "quoteTimestamp": "2025-06-25T04:12:14.327-04:00",
}
TRADE = {
    "symbol": "AAPL",
    "lastPrice": "101.26",
    "price": "101.26",
    "size": "100.0",
    "totalVolume": 123456789,
    "tickVolume": "42",
    "openPrice": "100",
    "highPrice": "103.5",
    "lowPrice": "99.999999999",
    "netChange": "-1.5",
    "tradeExchange": "D",
    "tradeTimestamp": 1750839134327000,
    "tradeSeq": "987654321",
    "tick": 1,
    "high52Week": "199.62",
    "low52Week": "124.17",
    "openInterest": 5,
    "dividend": "0.24",
}
GREEKS = {
    "delta": "0.55",
    "gamma": "1e-3",
    "theta": "-0.02",
    "vega": 0,
    "rho": "+.5",
    "impliedVolatility": "2.",
}
IS_FULL = {topic: {"is_full"} if topic is Topic.L2 else set[str]() for topic in MARKET_DATA}
FIELDS_OF_KIND = [(UpdateKind.QUOTE, QUOTE), (UpdateKind.TRADE, TRADE), (UpdateKind.GREEKS, GREEKS)]


def built(topic: Topic, fields: dict[str, Any], *, feed_time: object = None) -> AvroRecord:
    """Build a record from a composite update; the kind does not matter."""
    return build_record(topic, Update(UpdateKind.COMPOSITE, "AAPL", fields, feed_time), METADATA, DecimalEncoder())


def bad_field(topic: Topic, fields: dict[str, Any], **more: object) -> str:
    with pytest.raises(BadField) as caught:
        built(topic, fields, **more)
    assert caught.value.reason == "bad_field"
    return caught.value.field


def price(text: str) -> bytes:
    return DecimalEncoder().price(text)


def quantity(text: str) -> bytes:
    return DecimalEncoder().quantity(text)


def topics(kind: UpdateKind, **fields: object) -> tuple[Topic, ...]:
    return record_topics(kind, fields)


def test_a_full_quote() -> None:
    """Every field of a quote fills its field of the record, beside what the bridge adds."""
    assert built(Topic.QUOTES, QUOTE, feed_time=1750839134400) == {
        "symbol": "AAPL",
        "event_time": 1750839134327,
        "feed_time": 1750839134400,
        "ingest_time_us": 1701450000123456,
        "session_id": 1701440000000000,
        "seq": 7,
        "after_gap": True,
        "instrument_type": "e",
        "bid_price": price("101.25"),
        "bid_size": 100,
        "bid_exchange": "Q",
        "bid_change": price("-0.01"),
        "bid_size_change": -200,
        "ask_price": price("102"),
        "ask_size": 300,
        "ask_exchange": "N",
        "ask_change": price("0.01"),
        "ask_size_change": -5,
        "cleared": [],
    }


def test_a_full_trade() -> None:
    """Every field of a trade fills its field of the record."""
    record = built(Topic.TRADES, TRADE)
    assert {name: record[name] for name in record if name not in built(Topic.TRADES, {})} == {
        "event_time": 1750839134327,
        "last_price": price("101.26"),
        "price": price("101.26"),
        "size": quantity("100"),
        "total_volume": quantity("123456789"),
        "tick_volume": 42,
        "open_price": price("100"),
        "high_price": price("103.5"),
        "low_price": price("99.999999999"),
        "net_change": price("-1.5"),
        "trade_exchange": "D",
        "trade_seq": 987654321,
        "tick": "1",
        "high_52_week": price("199.62"),
        "low_52_week": price("124.17"),
        "open_interest": 5,
        "dividend": price("0.24"),
    }


def test_a_time_and_sale_has_only_the_fields_of_an_execution() -> None:
    """Fields about the trading session are not in the record."""
    record = built(Topic.TIMESALES, TRADE)
    assert record["price"] == price("101.26")
    assert record["trade_seq"] == 987654321
    assert "total_volume" not in record


def test_greeks_are_doubles() -> None:
    """Greeks may be numbers or text."""
    record = built(Topic.GREEKS, {**GREEKS, "symbol": "AAPL240119C00150000", "instrumentType": "o"})
    assert record["instrument_type"] == "o"
    assert [record[name] for name in ("delta", "gamma", "theta", "vega", "rho", "implied_volatility")] == [
        0.55,
        0.001,
        -0.02,
        0.0,
        0.5,
        2.0,
    ]


def test_market_status() -> None:
    """Maps have every entry of the update but those that are null."""
    fields = {
        "market": "closed",
        "afterHours": False,
        "earlyHours": True,
        "exchanges": {"nyse": "closed", "moon": "extended-hours", "otc": None},
        "currencies": {},
        "indicesGroups": {"s_and_p": "open"},
        "serverTime": "2025-07-17T03:33:11.000Z",
    }
    record = build_record(
        Topic.MARKET_STATUS, Update(UpdateKind.MARKET_STATUS, "market", fields), METADATA, DecimalEncoder()
    )
    assert record["symbol"] == "market"
    assert record["market"] == "closed"
    assert (record["after_hours"], record["early_hours"]) == (False, True)
    assert record["exchanges"] == {"nyse": "closed", "moon": "extended-hours"}
    assert record["currencies"] == {}
    assert record["index_groups"] == {"s_and_p": "open"}
    assert record["server_time"] == 1752723191000


def test_level_2_rows() -> None:
    """Rows are split in the order of the protocol, ask before bid; an empty column is null."""
    record = built(
        Topic.L2,
        {
            "orderBook": ["300:101.26:", ":101.25:100", "0:101.24:0", ":101.23:"],
            "quotes": ["NYSE:101.26:300:101.25:100", "ARCA:::101.2:5", "BATS:101.3:7::", "IEX::::"],
        },
    )
    assert record["book"] == [
        {"price": price("101.26"), "bid_size": None, "ask_size": 300},
        {"price": price("101.25"), "bid_size": 100, "ask_size": None},
        {"price": price("101.24"), "bid_size": 0, "ask_size": 0},
        {"price": price("101.23"), "bid_size": None, "ask_size": None},
    ]
    quotes: Any = record["quotes"]
    assert list(quotes[0]) == ["exchange", "ask_price", "ask_size", "bid_price", "bid_size"]
    assert [tuple(quote.values()) for quote in quotes] == [
        ("NYSE", price("101.26"), 300, price("101.25"), 100),
        ("ARCA", None, None, price("101.2"), 5),
        ("BATS", price("101.3"), 7, None, None),
        ("IEX", None, None, None, None),
    ]


@pytest.mark.parametrize(
    "row",
    ["", "300:101.26", "300:101.26:1:2", "300::100", "x:101.26:100", "1.5:101.26:2", "-1:101.26:2", 5, None],
)
def test_a_malformed_row_of_the_book(row: object) -> None:
    """A row without a price, or with another number of columns, is a bad field."""
    assert bad_field(Topic.L2, {"orderBook": ["300:101.26:100", row]}) == "orderBook"


@pytest.mark.parametrize("row", ["", "NYSE", "NYSE:1:2:3", "NYSE:1:2:3:4:5", ":1:2:3:4", "NYSE:a:2:3:4", {}])
def test_a_malformed_quote_row(row: object) -> None:
    """A row without an exchange, or with another number of columns, is a bad field."""
    assert bad_field(Topic.L2, {"quotes": [row]}) == "quotes"


def test_too_many_rows_are_rejected() -> None:
    """The number of rows in a level-2 message is limited."""
    assert len(built(Topic.L2, {"orderBook": ["1:1:1"] * MAX_ROWS})["book"]) == MAX_ROWS  # type: ignore[arg-type]
    assert bad_field(Topic.L2, {"orderBook": ["1:1:1"] * (MAX_ROWS + 1)}) == "orderBook"


def test_a_null_field_is_named_in_cleared() -> None:
    """A null field is null as a missing one is, and ``cleared`` tells the two apart."""
    record = built(Topic.QUOTES, {"bidPrice": None, "askPrice": "1", "instrumentType": None, "color": None})
    assert record["cleared"] == ["bid_price", "instrument_type"]
    assert "bid_price" not in record
    assert built(Topic.TRADES, {"lastPrice": None, "bidPrice": None})["cleared"] == ["last_price"]
    assert built(Topic.GREEKS, {"delta": None})["cleared"] == ["delta"]
    assert "cleared" not in built(Topic.TIMESALES, {"price": "1", "size": None})


@pytest.mark.parametrize("value", [True, 1.5, "x", "", [], {}, "1000000000", "NaN", "-0.5", -2])
def test_bad_prices_name_their_field(value: object) -> None:
    """Anything but a decimal number below 10^9 is a bad field, also after an equal price of another type."""
    assert bad_field(Topic.QUOTES, {"askPrice": 1, "bidPrice": value}) == "bidPrice"


@pytest.mark.parametrize("value", [False, 1.0, "x", "", "0.5", "-1", -1, 2**63, "9" * 19, "1e400", [], {}])
def test_bad_sizes_name_their_field(value: object) -> None:
    """Fractions, negative numbers, more than 64 bits and other types are bad fields."""
    assert bad_field(Topic.QUOTES, {"bidSize": value}) == "bidSize"


@pytest.mark.parametrize("value", ["100", "100.0", "1e2", 100, "+100", "0000000000000000000000100"])
def test_sizes_in_several_notations(value: object) -> None:
    """A size is accepted as a number and as text, in any notation of a whole number."""
    assert built(Topic.QUOTES, {"bidSize": value})["bid_size"] == 100


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-Infinity", "1e999", "1_0", " 1", "", "x", "\u0663", "1" * 500, True, [], 0.5]
)
def test_bad_greeks_name_their_field(value: object) -> None:
    """Anything but a finite number is a bad field."""
    assert bad_field(Topic.GREEKS, {"delta": value}) == "delta"


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        (Topic.QUOTES, {"bidExchange": []}),
        (Topic.QUOTES, {"instrumentType": True}),
        (Topic.QUOTES, {"quoteTimestamp": "yesterday"}),
        (Topic.TRADES, {"tick": True}),
        (Topic.TRADES, {"tick": []}),
        (Topic.TRADES, {"tradeTimestamp": "2025-06-25T04:12:14.327"}),
        (Topic.L2, {"orderBook": "300:101.26:100"}),
        (Topic.L2, {"quotes": {}}),
        (Topic.MARKET_STATUS, {"afterHours": "no"}),
        (Topic.MARKET_STATUS, {"earlyHours": 2}),
        (Topic.MARKET_STATUS, {"exchanges": ["nyse"]}),
        (Topic.MARKET_STATUS, {"currencies": {"fx": []}}),
        (Topic.MARKET_STATUS, {"market": True}),
    ],
)
def test_wrong_types_name_their_field(topic: Topic, fields: dict[str, Any]) -> None:
    """A value of another type is a bad field, and not converted."""
    assert bad_field(topic, fields) == next(iter(fields))


@pytest.mark.parametrize("value", ["", "N/A", "nan", "NULL"])
def test_a_text_that_means_none_is_a_bad_field(value: str) -> None:
    """It is replaced by null, as it is where a number is due; a dash is a tick."""
    with pytest.raises(BadField, match="bidExchange"):
        built(Topic.QUOTES, {"bidExchange": value})
    assert built(Topic.TIMESALES, {"price": 1, "tick": "-"})["tick"] == "-"


def test_a_number_where_a_text_is_due_becomes_its_text() -> None:
    """Exchanges are numbers in the vendor's other answers; statuses and flags may come as texts and numbers, too."""
    quote = built(Topic.QUOTES, {"askExchange": 308, "bidExchange": "301.5", "instrumentType": 1})
    assert (quote["ask_exchange"], quote["bid_exchange"], quote["instrument_type"]) == ("308", "301.5", "1")
    status = built(Topic.MARKET_STATUS, {"afterHours": "False", "earlyHours": 1, "exchanges": {"nyse": 2}, "market": 0})
    assert (status["after_hours"], status["early_hours"], status["market"]) == (False, True, "0")
    assert status["exchanges"] == {"nyse": "2"}


def test_only_changes_may_be_negative() -> None:
    """A price below zero is a bad field; a change of a price is not."""
    assert bad_field(Topic.TRADES, {"lastPrice": "-37.63"}) == "lastPrice"
    assert built(Topic.TRADES, {"netChange": "-37.63"})["net_change"] == price("-37.63")
    assert built(Topic.QUOTES, {"bidChange": "-1", "askChange": -1})["bid_change"] == price("-1")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (QUOTE, (Topic.QUOTES,)),
        (TRADE, (Topic.TRADES,)),
        (GREEKS, (Topic.GREEKS,)),
        ({**QUOTE, **TRADE}, (Topic.QUOTES, Topic.TRADES)),
        ({**QUOTE, **TRADE, **GREEKS}, (Topic.QUOTES, Topic.TRADES, Topic.GREEKS)),
        ({"price": "1", "size": 1}, (Topic.TRADES,)),
        ({"instrumentType": "e", "symbol": "AAPL"}, ()),
        ({"bidPrice": None, "lastPrice": "1"}, (Topic.QUOTES, Topic.TRADES)),
        ({"bidPrice": None}, (Topic.QUOTES,)),
        ({"color": "red"}, ()),
        ({}, ()),
    ],
)
@pytest.mark.parametrize("kind", [UpdateKind.QUOTE, UpdateKind.TRADE, UpdateKind.COMPOSITE])
def test_the_fields_of_a_flat_update_decide_its_topics(
    kind: UpdateKind, fields: dict[str, Any], expected: tuple[Topic, ...]
) -> None:
    """Quote, trade and greeks fields each make a record, whichever of these kinds the update is."""
    assert topics(kind, **fields) == expected


@pytest.mark.parametrize(
    ("kind", "fields", "topic"),
    [
        (UpdateKind.TIMESALE, {"price": "1", "size": 1, "lastPrice": "1"}, Topic.TIMESALES),
        (UpdateKind.LEVEL2, {"orderBook": []}, Topic.L2),
        (UpdateKind.GREEKS, {"delta": "1", "bidPrice": "1"}, Topic.GREEKS),
        (UpdateKind.MARKET_STATUS, {"market": "open"}, Topic.MARKET_STATUS),
    ],
)
def test_the_other_kinds_have_one_topic(kind: UpdateKind, fields: dict[str, Any], topic: Topic) -> None:
    """Time & sales, level 2, greeks and market status have one topic, or none without a field of it."""
    assert topics(kind, **fields) == (topic,)
    assert topics(kind, color="red") == ()


def test_unknown_fields() -> None:
    """Names outside the protocol are unknown; those of the other flat kinds are not."""
    for kind, fields in FIELDS_OF_KIND:
        assert unknown_fields(kind, fields) == frozenset()
    assert unknown_fields(UpdateKind.QUOTE, {**QUOTE, **TRADE, "color": 1, "": 2}) == {"color", ""}
    assert unknown_fields(UpdateKind.LEVEL2, {"orderBook": [], "bidPrice": 1}) == {"bidPrice"}


@pytest.mark.parametrize("topic", MARKET_DATA)
def test_mappings_and_schemas_have_the_same_fields(topic: Topic) -> None:
    """Every field of a schema is filled by a mapping or by the bridge."""
    in_schema = {field["name"] for field in load()[topic].parsed["fields"]}
    shared = (
        set() if topic is Topic.MARKET_STATUS else {mapping.record_field for mapping in SHARED_FIELD_MAPPINGS.values()}
    )
    mapped = {mapping.record_field for mapping in FIELD_MAPPINGS[topic].values()} | shared
    added = {"symbol", "event_time", "feed_time", "ingest_time_us", "session_id", "seq", "after_gap", *IS_FULL[topic]}
    cleared = {"cleared"} if topic in TOPICS_WITH_CLEARED else set()
    assert in_schema == mapped | added | cleared


@pytest.mark.parametrize("event", EventType)
def test_every_field_of_an_event_type_is_mapped(event: EventType) -> None:
    """The fields that can be subscribed to are those with a mapping."""
    [topic] = topics_for([event])
    assert set(market_data.FIELDS[event]) == set(FIELD_MAPPINGS[topic])


def test_every_other_field_of_the_feed_is_mapped() -> None:
    """The fields of a market status, and those of all symbols, are those with a mapping."""
    assert set(market_data.MARKET_STATUS_FIELDS) == set(FIELD_MAPPINGS[Topic.MARKET_STATUS])
    assert set(market_data.SHARED_FIELDS) == set(SHARED_FIELD_MAPPINGS)
