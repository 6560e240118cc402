"""A value that cannot be read costs its own field only, and is reported."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.market_data import Update, UpdateKind
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.readable_fields import Readable, readable
from bridge.topics import Topic


def made_readable(topic: Topic, fields: dict[str, Any], feed_time: object = None) -> Readable:
    return readable(Update(UpdateKind.COMPOSITE, "AAPL", fields, feed_time), [topic], DecimalEncoder())


def unreadable(found: Readable) -> list[str]:
    return [field.name for field in found.unreadable]


@pytest.mark.parametrize("value", ["NaN", "nan", "Infinity", "-Infinity", "-", "", "N/A", "null", "none"])
@pytest.mark.parametrize(("topic", "name"), [(Topic.QUOTES, "bidPrice"), (Topic.QUOTES, "bidSize")])
def test_a_word_for_no_value_is_null(topic: Topic, name: str, value: str) -> None:
    """It is counted, and the update has content: it says that there is no value."""
    found = made_readable(topic, {name: value})
    assert found.update.fields == {name: None}
    assert unreadable(found) == [name]
    assert found.has_content


@pytest.mark.parametrize("value", [-1, "-1", "-1.0", "-1.000"])
@pytest.mark.parametrize("name", ["bidPrice", "askSize", "lastPrice", "size", "openInterest", "totalVolume"])
def test_minus_one_means_none_where_nothing_is_below_zero(name: str, value: object) -> None:
    """It is a usual way to say null, so it is not counted as unreadable."""
    topic = Topic.QUOTES if name in ("bidPrice", "askSize") else Topic.TRADES
    found = made_readable(topic, {name: value})
    assert found.update.fields == {name: None}
    assert not found.unreadable
    assert found.has_content


def test_a_change_of_minus_one_is_a_change() -> None:
    """A difference may be below zero."""
    for topic, name in ((Topic.QUOTES, "bidChange"), (Topic.QUOTES, "askSizeChange"), (Topic.TRADES, "netChange")):
        assert made_readable(topic, {name: -1}).update.fields == {name: -1}


def test_the_other_fields_stay_as_they_are() -> None:
    """Only what cannot be read becomes null; unknown fields and the symbol are not looked at."""
    fields = {"symbol": "AAPL", "bidPrice": [], "askPrice": "1.5", "bidSize": "0.5", "color": object()}
    found = made_readable(Topic.QUOTES, fields)
    assert found.update.fields == fields | {"bidPrice": None, "bidSize": None}
    assert unreadable(found) == ["bidPrice", "bidSize"]
    assert found.unreadable[1].expected == "a whole number of at most 64 bits"
    assert found.has_content


def test_an_update_of_nothing_but_unreadable_values_has_no_content() -> None:
    """A field that all kinds of updates have is not what makes it one of these."""
    assert not made_readable(Topic.QUOTES, {"bidPrice": "x", "askPrice": {}, "instrumentType": "e"}).has_content
    assert made_readable(Topic.QUOTES, {"bidPrice": "x", "askPrice": None}).has_content


@pytest.mark.parametrize("feed_time", ["soon", True, {}, -1, 0, "0001-01-01T00:00:00", ""])
def test_the_servers_time_never_costs_a_record(feed_time: object) -> None:
    """It becomes null, and is reported under its name."""
    found = made_readable(Topic.QUOTES, {"bidPrice": "1"}, feed_time)
    assert found.update.feed_time is None
    assert unreadable(found) == ["timestamp"]


def test_a_row_loses_only_what_cannot_be_read() -> None:
    """A column becomes empty; a row without its price, exchange or columns is left out."""
    found = made_readable(
        Topic.L2,
        {
            "orderBook": ["1:1.5:2", "0.5:1.6:3", "-1:1.7:4", "5:N/A:5", "1:2", 7, None, "x:y:z"],
            "quotes": ["NYSE:1:2:3:4", "ARCA:x:2:3:4", ":1:2:3:4", "BATS:-1:-1:3:4"],
        },
    )
    assert found.update.fields == {
        "orderBook": ["1:1.5:2", ":1.6:3", ":1.7:4"],
        "quotes": ["NYSE:1:2:3:4", "ARCA::2:3:4", "BATS:::3:4"],
    }
    assert unreadable(found) == ["orderBook"] * 6 + ["quotes"] * 2
    assert found.has_content


def test_rows_of_which_none_can_be_read_are_no_book() -> None:
    """They are not taken for an empty book, which would say that there are no orders."""
    found = made_readable(Topic.L2, {"orderBook": ["x", "y"]})
    assert found.update.fields == {"orderBook": None}
    assert not found.has_content
    assert made_readable(Topic.L2, {"orderBook": []}).update.fields == {"orderBook": []}


def test_an_entry_of_a_map_costs_itself() -> None:
    """The statuses of the other exchanges are kept."""
    found = made_readable(Topic.MARKET_STATUS, {"exchanges": {"nyse": "open", "otc": [], "nasdaq": None, "cboe": 1}})
    assert found.update.fields == {"exchanges": {"nyse": "open", "cboe": 1}}
    assert unreadable(found) == ["exchanges"]


def test_a_shared_field_is_reported_for_each_record_that_has_it() -> None:
    """Fields are counted by topic."""
    update = Update(UpdateKind.COMPOSITE, "AAPL", {"bidPrice": "1", "lastPrice": "1", "instrumentType": []})
    found = readable(update, [Topic.QUOTES, Topic.TRADES], DecimalEncoder())
    assert [(field.topic, field.name) for field in found.unreadable] == [
        (Topic.QUOTES, "instrumentType"),
        (Topic.TRADES, "instrumentType"),
    ]
