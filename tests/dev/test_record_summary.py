"""The one-line summary of a record has what a reader looks for first."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from bridge.dev.record_summary import MAX_CHARACTERS, printable, summarize
from bridge.serialization import schemas
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.deserializer import Decoded, Deserializer
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.topics import Topic

SCHEMAS = schemas.load()
STAMP = {"symbol": "AAPL", "ingest_time_us": 1, "session_id": 1, "seq": 0, "after_gap": False}
PRICE = DecimalEncoder()
QUANTITY = PRICE.quantity


async def summary_of(topic: Topic, **fields: Any) -> str:
    """Return the summary of a record that was encoded and decoded by its schema."""
    value = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS)).encode(topic, fields)
    return summarize(await Deserializer(SCHEMAS).decode(value))


@pytest.mark.parametrize(
    ("topic", "fields", "expected"),
    [
        (
            Topic.QUOTES,
            {"bid_price": PRICE.price("229.4"), "bid_size": 300, "ask_price": PRICE.price("229.43"), "ask_size": 200},
            "AAPL bid 229.40x300 ask 229.43x200",
        ),
        (Topic.QUOTES, {"ask_price": PRICE.price("0.1234")}, "AAPL ask 0.1234"),
        (
            Topic.TRADES,
            {
                "last_price": PRICE.price("6"),
                "size": QUANTITY("0"),
                "total_volume": QUANTITY("1200"),
                "net_change": PRICE.price("-1.5"),
            },
            "AAPL last 6.00 volume 1200 change -1.50",
        ),
        (Topic.TRADES, {"price": PRICE.price("6.05"), "size": QUANTITY("5")}, "AAPL last 6.05x5"),
        (
            Topic.TIMESALES,
            {"price": PRICE.price("1.000000001"), "size": QUANTITY("0.083"), "trade_exchange": "NYSE", "tick": "up"},
            "AAPL 1.000000001x0.083 on NYSE tick up",
        ),
        (
            Topic.L2,
            {
                "book": [
                    {"price": PRICE.price("10.02"), "ask_size": 500},
                    {"price": PRICE.price("10.01"), "ask_size": 400, "bid_size": 0},
                    {"price": PRICE.price("10"), "bid_size": 300},
                    {"price": PRICE.price("9.99"), "bid_size": 200},
                ],
                "quotes": [{"exchange": "NYSE"}],
            },
            "AAPL bid 10.00x300 ask 10.01x400 (4 levels, 1 exchanges)",
        ),
        (Topic.L2, {}, "AAPL (0 levels, 0 exchanges)"),
        (Topic.GREEKS, {"delta": 0.51234, "implied_volatility": 0.2345}, "AAPL delta 0.5123 IV 0.2345"),
        (
            Topic.MARKET_STATUS,
            {"market": "open", "exchanges": {"nyse": "closed"}, "index_groups": {"dow_jones": "open"}},
            "market open, nyse closed, dow_jones open",
        ),
    ],
)
async def test_market_records_show_prices_and_sizes(topic: Topic, fields: dict[str, Any], expected: str) -> None:
    """Prices have all their digits and at least two decimals; absent fields are left out."""
    assert await summary_of(topic, **STAMP, **fields) == expected


async def test_control_records_and_dead_letters_show_their_reason() -> None:
    """The bridge's own records show kind and reason, and the shard if there are several."""
    control = {"kind": "GAP", "instance": "here", "time_us": 1, "reason": "closed", "counts": {"lines_received": 1234}}
    assert await summary_of(Topic.CONTROL, **control) == "GAP (closed) after 1,234 lines"
    claim = {
        "kind": "SHARD_CLAIMED",
        "instance": "here",
        "time_us": 1,
        "reason": "first owner",
        "shard": 1,
        "shards": 3,
    }
    assert await summary_of(Topic.CONTROL, **claim) == "SHARD_CLAIMED shard 1 of 3 (first owner)"
    letter = {"error": "it is not JSON", "raw": b"{", "ingest_time_us": 1, "bridge_version": "1"}
    assert await summary_of(Topic.DLQ, reason="not_json", **letter) == "not_json: it is not JSON"
    assert await summary_of(Topic.DLQ, reason="bad_field", symbol="AAPL", **letter) == "AAPL bad_field: it is not JSON"


def test_a_record_of_another_application_is_shown_field_by_field() -> None:
    """A topic may hold records of other schemas; nothing is assumed about fields, even those with our names."""
    huge = Decimal("1" * 40)
    assert summarize(Decoded("com.example.Order", {"symbol": 7, "bid_price": huge})) == f"symbol=7 bid_price={huge}"


async def test_a_summary_cannot_control_a_terminal() -> None:
    """Control characters of the feed become question marks, and the length is limited."""
    text = await summary_of(Topic.QUOTES, **{**STAMP, "symbol": "A\x1b[2J\n\x07é"})
    assert text == "A?[2J???"
    assert len(await summary_of(Topic.QUOTES, **{**STAMP, "symbol": "A" * 1000})) == MAX_CHARACTERS
    assert printable("plain ~ text") == "plain ~ text"
