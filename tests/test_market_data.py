"""Fields by which an update cancels or corrects an execution."""

from __future__ import annotations

import pytest

from bridge.market_data import (
    CORRECTION_FIELDS,
    FIELDS,
    MARKET_STATUS_FIELDS,
    SHARED_FIELDS,
    correction_field,
    correction_fields,
)


@pytest.mark.parametrize(
    "name",
    [
        *("tradeCancel", "tradeCorrection", "cancelErrorAction", "originalPrice", "correctedPrice", "originalSize"),
        *("originalTradeSeq", "isCancel", "isCancelled", "canceled", "trade_cancel", "correction", "bust", "void"),
        *("correctionIndicator", "cancelReason", "correctedTradeTimestamp", "original_price"),
    ],
)
def test_a_field_of_a_correction_is_known_by_its_name(name: str) -> None:
    """The feed's way of writing names, and another one, do not matter."""
    assert correction_fields(["symbol", name, "price"]) == (name,)
    assert correction_field({"symbol": "AAPL", name: "1.5"}) == name


def test_no_field_of_ordinary_market_data_is_one() -> None:
    """Neither is a name that only begins like one."""
    ordinary = {name for names in FIELDS.values() for name in names} | {*MARKET_STATUS_FIELDS, *SHARED_FIELDS}
    assert correction_fields([*ordinary, "originalCurrency", "reverseSplit", "errorBars"]) == ()
    assert all(name == name.replace("_", "").lower() for name in CORRECTION_FIELDS)


@pytest.mark.parametrize("name", ["action", "status", "tradeType", "update_status", "op"])
def test_a_field_that_says_what_happened_counts_by_its_word(name: str) -> None:
    """Any other value is ordinary."""
    for word in ("cancel", "BUSTED", "tradeCorrection", "broken", "cxl"):
        assert correction_field({"price": "1.5", name: word}) == name
    for value in ("new", "regular", True, 1, None, ["cancel"]):
        assert correction_field({"price": "1.5", name: value}) is None


@pytest.mark.parametrize("value", [None, False, 0, "", " ", "0", "false", "N", "No", "none", "NULL", "NEW", [], {}])
def test_a_field_that_says_no_does_not_count(value: object) -> None:
    """A feed may send the field with each execution."""
    assert correction_field({"price": "1.5", "tradeCancel": value}) is None


@pytest.mark.parametrize("value", [True, 1, "1", "true", "C", "Y", "1.50", "0.5", {"price": 1}, ["x"]])
def test_any_other_value_counts(value: object) -> None:
    """Even one that cannot be understood: an execution too few is a dead letter, one too many is a wrong volume."""
    assert correction_field({"price": "1.5", "tradeCancel": False, "isBust": value}) == "isBust"
    assert correction_field({"price": "1.5", "isBust": value}, ("isBust",)) == "isBust"
    assert correction_field({"price": "1.5", "isBust": value}, ()) is None
