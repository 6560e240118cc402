"""Updates of unknown type, classified by their fields."""

from __future__ import annotations

import pytest

from bridge.aries.protocol.classification import classify, correction
from bridge.market_data import UpdateKind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("symbol orderBook", UpdateKind.LEVEL2),
        ("symbol quotes", UpdateKind.LEVEL2),
        ("symbol delta", UpdateKind.GREEKS),
        ("symbol impliedVolatility vega", UpdateKind.GREEKS),
        ("symbol bidPrice", UpdateKind.QUOTE),
        ("symbol askSizeChange", UpdateKind.QUOTE),
        ("symbol bidPrice lastPrice", UpdateKind.QUOTE),
        ("symbol tradeSeq price size", UpdateKind.TIMESALE),
        ("symbol tradeSeq price size tradeExchange tradeTimestamp tick", UpdateKind.TIMESALE),
        ("symbol tradeSeq price size lastPrice totalVolume", UpdateKind.TRADE),
        ("symbol lastPrice", UpdateKind.TRADE),
        ("symbol price size", UpdateKind.TRADE),
        ("symbol openPrice", UpdateKind.TRADE),
        ("market afterHours serverTime", UpdateKind.MARKET_STATUS),
        ("market exchanges", UpdateKind.MARKET_STATUS),
        ("market", None),
        ("symbol", None),
        ("symbol instrumentType", None),
        ("colour shape", None),
        ("", None),
    ],
)
def test_the_fields_decide_the_kind(names: str, kind: UpdateKind | None) -> None:
    """The names of the fields decide the kind, if they are known."""
    assert classify(names.split()) is kind
    assert classify(dict.fromkeys(names.split())) is kind


@pytest.mark.parametrize(
    "wire_type",
    [
        "tradeCancel",
        "cancelError",
        "TRADE_CORRECTION",
        "correctedTrade",
        "bustedTrade",
        "error",
        "void",
        "reversal",
        "tradeBreak",
        "CXL",
    ],
)
def test_the_type_says_that_an_update_is_a_correction(wire_type: str) -> None:
    """A word in it is enough, in any case."""
    assert correction(wire_type, {"price": 1, "size": 2, "tradeSeq": 3}) == "its type"


def test_a_field_says_that_an_update_is_a_correction() -> None:
    """It is named; an execution of an unknown type without such a field is none."""
    execution: dict[str, object] = {"price": 1, "size": 2, "tradeSeq": 3}
    assert correction("print", {**execution, "originalPrice": "1.5"}) == "its field originalPrice"
    assert correction(None, {**execution, "tradeCancel": True}) == "its field tradeCancel"
    for wire_type in ("print", None, 7, {"cancel": 1}):
        assert correction(wire_type, {**execution, "tradeCancel": False}) is None
