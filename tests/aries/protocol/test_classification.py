"""Kinds told by content."""

from __future__ import annotations

import pytest

from bridge.aries.protocol.classification import classify
from bridge.aries.protocol.messages import Kind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("symbol orderBook", Kind.LEVEL2),
        ("symbol quotes", Kind.LEVEL2),
        ("symbol delta", Kind.GREEKS),
        ("symbol impliedVolatility vega", Kind.GREEKS),
        ("symbol bidPrice", Kind.QUOTE),
        ("symbol askSizeChange", Kind.QUOTE),
        ("symbol bidPrice lastPrice", Kind.QUOTE),
        ("symbol tradeSeq price size", Kind.TIMESALE),
        ("symbol tradeSeq price size tradeExchange tradeTimestamp tick", Kind.TIMESALE),
        ("symbol tradeSeq price size lastPrice totalVolume", Kind.TRADE),
        ("symbol lastPrice", Kind.TRADE),
        ("symbol price size", Kind.TRADE),
        ("symbol openPrice", Kind.TRADE),
        ("market afterHours serverTime", Kind.MARKET_STATUS),
        ("market exchanges", Kind.MARKET_STATUS),
        ("market", None),
        ("symbol", None),
        ("symbol instrumentType", None),
        ("colour shape", None),
        ("", None),
    ],
)
def test_fields_tell_the_kind(names: str, kind: Kind | None) -> None:
    """The fields of a message tell what it is, or that nobody here knows."""
    assert classify(names.split()) is kind
    assert classify(dict.fromkeys(names.split())) is kind
