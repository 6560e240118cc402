"""The table of the fields of the feed, and the fields of a record that they fill."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.serialization import converters, level2_rows
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.serialization.converters import Converter


class FieldMapping(NamedTuple):
    """The name of a record's field, and the converter of its value."""

    record_field: str
    convert: Converter


_EXECUTION = {
    "price": FieldMapping("price", converters.price),
    "size": FieldMapping("size", converters.quantity),
    "tradeExchange": FieldMapping("trade_exchange", converters.string),
    "tradeTimestamp": FieldMapping("event_time", converters.time),
    "tradeSeq": FieldMapping("trade_seq", converters.size),
    "tick": FieldMapping("tick", converters.string),
}

#: How each field of the feed (protocol §5) fills a record of a topic. No other module lists these pairs.
FIELD_MAPPINGS: Mapping[Topic, Mapping[str, FieldMapping]] = {
    Topic.QUOTES: {
        "bidPrice": FieldMapping("bid_price", converters.price),
        "bidSize": FieldMapping("bid_size", converters.size),
        "bidExchange": FieldMapping("bid_exchange", converters.string),
        "bidChange": FieldMapping("bid_change", converters.price_change),
        "bidSizeChange": FieldMapping("bid_size_change", converters.size_change),
        "askPrice": FieldMapping("ask_price", converters.price),
        "askSize": FieldMapping("ask_size", converters.size),
        "askExchange": FieldMapping("ask_exchange", converters.string),
        "askChange": FieldMapping("ask_change", converters.price_change),
        "askSizeChange": FieldMapping("ask_size_change", converters.size_change),
        "quoteTimestamp": FieldMapping("event_time", converters.time),
    },
    Topic.TRADES: {
        **_EXECUTION,
        "lastPrice": FieldMapping("last_price", converters.price),
        "totalVolume": FieldMapping("total_volume", converters.quantity),
        "tickVolume": FieldMapping("tick_volume", converters.size),
        "openPrice": FieldMapping("open_price", converters.price),
        "highPrice": FieldMapping("high_price", converters.price),
        "lowPrice": FieldMapping("low_price", converters.price),
        "netChange": FieldMapping("net_change", converters.price_change),
        "high52Week": FieldMapping("high_52_week", converters.price),
        "low52Week": FieldMapping("low_52_week", converters.price),
        "openInterest": FieldMapping("open_interest", converters.size),
        "dividend": FieldMapping("dividend", converters.price),
    },
    Topic.TIMESALES: _EXECUTION,
    Topic.L2: {
        "orderBook": FieldMapping("book", level2_rows.book),
        "quotes": FieldMapping("quotes", level2_rows.exchange_quotes),
    },
    Topic.GREEKS: {
        "delta": FieldMapping("delta", converters.double),
        "gamma": FieldMapping("gamma", converters.double),
        "theta": FieldMapping("theta", converters.double),
        "vega": FieldMapping("vega", converters.double),
        "rho": FieldMapping("rho", converters.double),
        "impliedVolatility": FieldMapping("implied_volatility", converters.double),
    },
    Topic.MARKET_STATUS: {
        "market": FieldMapping("market", converters.string),
        "afterHours": FieldMapping("after_hours", converters.boolean),
        "earlyHours": FieldMapping("early_hours", converters.boolean),
        "exchanges": FieldMapping("exchanges", converters.statuses),
        "currencies": FieldMapping("currencies", converters.statuses),
        "indicesGroups": FieldMapping("index_groups", converters.statuses),
        "serverTime": FieldMapping("server_time", converters.time),
    },
}
#: Fields that an update of any symbol may have; an update with nothing else makes no record.
SHARED_FIELD_MAPPINGS: Mapping[str, FieldMapping] = {
    "instrumentType": FieldMapping("instrument_type", converters.string)
}
#: All fields that fill a record of a topic.
RECORD_MAPPINGS: Mapping[Topic, Mapping[str, FieldMapping]] = {
    topic: {**mappings, **({} if topic is Topic.MARKET_STATUS else SHARED_FIELD_MAPPINGS)}
    for topic, mappings in FIELD_MAPPINGS.items()
}
#: Fields of a quote that are relative to the feed's message before, so that they are no part of a state; by the names
#: of the feed, and by those of the record.
CHANGES = frozenset({"bidChange", "bidSizeChange", "askChange", "askSizeChange"})
CHANGE_FIELDS = frozenset(FIELD_MAPPINGS[Topic.QUOTES][name].record_field for name in CHANGES)
#: The field without which an update is no event of its topic.
REQUIRED_FIELDS: Mapping[Topic, str] = {Topic.TIMESALES: "price"}
#: Topics whose records name, in ``cleared``, the fields whose last known value no longer holds.
TOPICS_WITH_CLEARED = frozenset({Topic.QUOTES, Topic.TRADES, Topic.L2, Topic.GREEKS})
