"""Decoded records become readable lines, and JSON that loses nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from bridge.serialization.deserializer import Decoded
from bridge.serialization.formatting import MAX_TEXT_CHARACTERS, fields, json_line, text_line, time_of_day

INGEST_US = 1_701_450_000_123_456
QUOTE = {
    "symbol": "AAPL",
    "event_time": datetime(2023, 12, 1, 17, 0, 0, 120_000, tzinfo=UTC),
    "feed_time": None,
    "ingest_time_us": INGEST_US,
    "session_id": 1_701_440_000_000_000,
    "seq": 7,
    "after_gap": False,
    "bid_price": Decimal("187.250000000"),
    "bid_size": 300,
    "bid_exchange": "Q",
    "ask_price": Decimal("123456789.123456789"),
}


def message(key: bytes | None = b"AAPL", timestamp: int = INGEST_US // 1000) -> ConsumerRecord:
    return ConsumerRecord("aries.quotes", 3, 41, timestamp, 0, key, b"", None, -1, -1, ())


def as_text(record: dict[str, Any], key: bytes | None = b"AAPL", timestamp: int = INGEST_US // 1000) -> str:
    return text_line(message(key, timestamp), Decoded("aries.marketdata.Quote", record))


def as_json(record: dict[str, Any], key: bytes | None = b"AAPL", timestamp: int = INGEST_US // 1000) -> str:
    return json_line(message(key, timestamp), Decoded("aries.marketdata.Quote", record))


class TestText:
    def test_market_fields_come_first_and_nothing_is_repeated(self) -> None:
        """A line has time, topic, key and the set fields, decimals exact, the position in the stream last."""
        assert as_text(QUOTE) == (
            "17:00:00.123 aries.quotes AAPL bid_price=187.25 bid_size=300 bid_exchange=Q "
            "ask_price=123456789.123456789 event_time=2023-12-01T17:00:00.120Z session_id=1701440000000000 seq=7 "
            "after_gap=false"
        )

    def test_symbol_and_ingest_time_are_shown_if_they_differ(self) -> None:
        """A symbol that is not the key, and an ingest time that is not the Kafka timestamp, are fields."""
        line = as_text(QUOTE, key=None, timestamp=0)

        assert line.startswith("00:00:00.000 aries.quotes - symbol=AAPL ")
        assert "ingest_time_us=2023-12-01T17:00:00.123456Z" in line

    def test_level_two_is_compact(self) -> None:
        """Column names are shown once; empty sides are dashes, and further rows are counted."""
        levels = [{"price": Decimal(price), "bid_size": 3, "ask_size": None} for price in range(7)]

        assert list(fields({"book": levels, "quotes": []})) == [
            "book=[price/bid_size/ask_size: 0/3/- 1/3/- 2/3/- 3/3/- 4/3/- +2 more]"
        ]

    def test_maps_are_in_braces(self) -> None:
        """Accounts and market statuses are in braces; empty maps are left out."""
        assert list(fields({"counts": {"read": 3, "published": 2}, "exchanges": {}})) == ["counts={read=3 published=2}"]

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("Q", "Q"),
            ("", "''"),
            ("two words", "'two words'"),
            ("a=b", "'a=b'"),
            ("\x1b[31mred", r"'\x1b[31mred'"),
            ("line\nend", r"'line\nend'"),
            ("\u202eright to left", r"'\u202eright to left'"),
            ("x" * (MAX_TEXT_CHARACTERS + 5), f"'{'x' * MAX_TEXT_CHARACTERS}'+5"),
        ],
    )
    def test_texts_cannot_imitate_fields_or_control_a_terminal(self, text: str, shown: str) -> None:
        """A text is quoted if it could end the field or the line, or control a terminal; a long one is cut."""
        assert list(fields({"reason": text})) == [f"reason={shown}"]

    @pytest.mark.parametrize("microseconds", [10**30, -(10**30)])
    def test_impossible_times_stay_numbers(self, microseconds: int) -> None:
        """A number beyond the years of datetime is shown unchanged."""
        assert list(fields({"time_us": microseconds})) == [f"time_us={microseconds}"]

    @pytest.mark.parametrize(("ms", "shown"), [(0, "00:00:00.000"), (86_399_999, "23:59:59.999"), (-1, "23:59:59.999")])
    def test_time_of_day(self, ms: int, shown: str) -> None:
        """The time of day is in UTC, for any number."""
        assert time_of_day(ms) == shown


class TestJson:
    def test_nothing_is_left_out(self) -> None:
        """One object has topic, partition, offset, time, key, schema and all fields, decimals as exact strings."""
        assert json.loads(as_json(QUOTE)) == {
            "topic": "aries.quotes",
            "partition": 3,
            "offset": 41,
            "timestamp": "2023-12-01T17:00:00.123Z",
            "key": "AAPL",
            "schema": "aries.marketdata.Quote",
            "record": QUOTE
            | {
                "event_time": "2023-12-01T17:00:00.120Z",
                "bid_price": "187.25",
                "ask_price": "123456789.123456789",
            },
        }

    def test_a_record_is_one_line_of_ascii(self) -> None:
        """No character of a feed ends the line or reaches a terminal unescaped."""
        line = as_json({"reason": "a\nb\u2028c\x1b\x9b"})

        assert line.isascii()
        assert line.isprintable()
        assert json.loads(line)["record"] == {"reason": "a\nb\u2028c\x1b\x9b"}

    @pytest.mark.parametrize("timestamp", [-1, 10**18])
    def test_an_invalid_timestamp_is_null(self, timestamp: int) -> None:
        """A timestamp of another producer that is no time is no error."""
        assert json.loads(as_json({}, key=None, timestamp=timestamp))["timestamp"] is None

    def test_binary_keys_are_base64(self) -> None:
        """A key that is not UTF-8 is base64 with a prefix, and a missing one is null."""
        assert json.loads(as_json({}, key=b"\xff"))["key"] == "base64:/w=="
        assert json.loads(as_json({}, key=None))["key"] is None
