"""``ARIES_STALE_SYMBOL_SECONDS``: limits by event type and type of symbol."""

from __future__ import annotations

import pytest

from bridge.aries.subscriptions import plan
from bridge.errors import SettingsError
from bridge.settings import load, quiet_limits
from bridge.topics import Topic
from tests.settings.test_environment import REQUIRED

OPTION = "AAPL240119C00150000"
PLAN = plan(["AAPL", "SPX", OPTION], ["quotes", "trades", "greeks"], None)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("quotes=300", {Topic.QUOTES: {"AAPL": 300, OPTION: 300}}),
        ("option.quotes=0, quotes=1.5", {Topic.QUOTES: {"AAPL": 1.5}}),
        ("Option.Greeks=600,index.trades=60", {Topic.GREEKS: {OPTION: 600}, Topic.TRADES: {"SPX": 60}}),
        ("trades=60,index.trades=30", {Topic.TRADES: {"AAPL": 60, "SPX": 30, OPTION: 60}}),
        ("0", {}),
        ("quotes=0", {}),
        (
            "120",
            {
                Topic.QUOTES: {"AAPL": 120, OPTION: 120},
                Topic.TRADES: {"AAPL": 120, "SPX": 120, OPTION: 120},
                Topic.GREEKS: {OPTION: 120},
            },
        ),
    ],
)
def test_a_symbol_has_the_limit_of_its_event_and_type(text: str, limits: dict[Topic, dict[str, float]]) -> None:
    """A limit for one type of symbol comes before that for all; what is not listed, or 0, has none."""
    assert quiet_limits.by_topic(quiet_limits.parse(text), PLAN) == limits


def test_by_default_equities_and_indices_are_watched_and_options_are_not() -> None:
    """Options may have no quote for hours, and trades may be rare, without any fault."""
    limits = quiet_limits.parse(load(REQUIRED).aries_stale_symbol_seconds)
    assert quiet_limits.by_topic(limits, PLAN) == {Topic.QUOTES: {"AAPL": 900}, Topic.TRADES: {"SPX": 900}}
    assert quiet_limits.shortest(limits) == 900
    assert quiet_limits.shortest(quiet_limits.parse("0")) == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("bids=5", "'bids' is no event type; the event types are quotes, trades, timesales, l2, greeks"),
        ("bond.quotes=5", "'bond.quotes' is no event type"),
        ("quotes=5m", "'5m' is not a number of seconds from 1 to 86400, or 0 = off"),
        ("quotes=0.5", "'0.5' is not a number of seconds"),
        ("quotes=nan", "'nan' is not a number of seconds"),
        ("-1", "'-1' is not a number of seconds"),
        ("quotes=", "'' is not a number of seconds"),
        ("quotes=5,quotes=6", "'quotes' is listed twice"),
        ("quotes=5,trades", "'trades' is not event=seconds; write quotes=900,option.quotes=0"),
    ],
)
def test_an_invalid_limit_is_reported_with_what_is_expected(text: str, complaint: str) -> None:
    """The problem names the setting, what is wrong in it, and what to write."""
    with pytest.raises(SettingsError) as raised:
        load({**REQUIRED, "ARIES_STALE_SYMBOL_SECONDS": text})
    assert f"ARIES_STALE_SYMBOL_SECONDS={text!r}: {complaint}" in str(raised.value)
