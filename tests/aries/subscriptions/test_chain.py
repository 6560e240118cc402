"""Entries with an underlying: valid ones become chains, and every mistake is named with its place and its hint."""

from __future__ import annotations

import json
import math
from datetime import date

import pytest

from bridge.aries import subscriptions
from bridge.aries.subscriptions import symbols
from bridge.aries.subscriptions.chain import Chain, Strikes
from bridge.aries.subscriptions.symbols import Contract, OptionType, SymbolType
from bridge.errors import SettingsError
from bridge.market_data import EventType

EXAMPLE = (
    '[{"underlying":"AAPL","expires_within_days":30,"strikes":{"around":10},"events":["quotes","trades","greeks"]}]'
)


def planned(*entries: object, symbols: tuple[str, ...] = ()) -> subscriptions.Plan:
    return subscriptions.plan(symbols, ("quotes", "trades"), json.dumps(entries))


def problems(**entry: object) -> list[str]:
    """Return the problems of an entry, which has an underlying, without their place."""
    with pytest.raises(SettingsError) as raised:
        planned({"underlying": "AAPL", **entry})
    return [problem.removeprefix("ARIES_SUBSCRIPTIONS, entry 1: ") for problem in raised.value.problems]


def test_an_underlying_is_a_chain() -> None:
    """The one entry is all that is needed; its contracts are not known yet, but its events are."""
    plan = subscriptions.plan((), ("quotes",), EXAMPLE)
    events = frozenset({EventType.QUOTES, EventType.TRADES, EventType.GREEKS})
    assert plan.chains == (
        Chain("AAPL", SymbolType.EQUITY, events, expires_within_days=30, strikes=Strikes(around=10)),
    )
    assert not plan
    assert plan.events == events


def test_everything_that_an_entry_can_say() -> None:
    """All keys arrive in the chain."""
    chain = planned(
        {
            "underlying": "SPX",
            "expirations": ["2026-12-18", "2027-01-15", "2026-12-18"],
            "strikes": {"from": 5000, "to": 6000.5},
            "types": ["call"],
            "fields": {"quotes": ["bidPrice"]},
            "include_underlying": True,
            "max_contracts": 50,
        }
    ).chains[0]
    assert chain.expirations == (date(2026, 12, 18), date(2027, 1, 15))
    assert chain.strikes == Strikes(lowest=5000, highest=6000.5)
    assert chain.types == {OptionType.CALL}
    assert chain.events == {EventType.QUOTES, EventType.TRADES}
    assert chain.fields == {EventType.QUOTES: ("bidPrice",)}
    assert chain.underlying_events == {EventType.TRADES}  # an index has no quotes
    assert chain.max_contracts == 50


def test_chains_beside_symbols() -> None:
    """Single symbols and chains stand in one list; a plan with another chain is another plan."""
    one = planned("MSFT", {"underlying": "AAPL", "expires_within_days": 30}, symbols=("NVDA",))
    assert list(one) == ["NVDA", "MSFT"]
    other = planned("MSFT", {"underlying": "AAPL", "expires_within_days": 31}, symbols=("NVDA",))
    assert one != other
    assert one == planned("MSFT", {"underlying": "AAPL", "expires_within_days": 30}, symbols=("NVDA",))


@pytest.mark.parametrize("strikes", [None, "all", {"from": 0}])
def test_all_strikes(strikes: object) -> None:
    """All strikes are the default, and can be written."""
    entry = {"underlying": "AAPL", "expires_within_days": 30, **({} if strikes is None else {"strikes": strikes})}
    assert planned(entry).chains[0].strikes == Strikes(None, 0, math.inf)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({}, "has no limit of expirations: set expires_within_days, like 30, or expirations"),
        ({"expires_within_days": 1, "expirations": ["2027-01-15"]}, "has two limits of expirations"),
        ({"expires_within_days": -1}, "expires_within_days must be a whole number of days from 0 to 3660"),
        ({"expires_within_days": "30"}, "expires_within_days must be a whole number of days from 0 to 3660"),
        ({"expirations": []}, "expirations must be a list of 1 to 100 dates"),
        ({"expirations": "2027-01-15"}, "expirations must be a list of 1 to 100 dates"),
        ({"expirations": ["2027-02-30"]}, "'2027-02-30' of expirations is not a date: write it like 2027-01-15."),
        ({"expirations": ["20270115"]}, "'20270115' of expirations is not a date"),
        ({"expirations": [20270115]}, "20270115 of expirations is not a date"),
        ({"strikes": 10}, "strikes must be"),
        ({"strikes": {}}, "strikes must be"),
        ({"strikes": {"nearest": 10}}, "strikes must be"),
        ({"strikes": {"around": 0}}, '"around" of strikes must be a whole number from 1 to 1000.'),
        ({"strikes": {"around": 1.5}}, '"around" of strikes must be a whole number from 1 to 1000.'),
        ({"strikes": {"around": True}}, '"around" of strikes must be a whole number from 1 to 1000.'),
        ({"strikes": {"around": 5, "from": 1}}, "keep one of the two"),
        ({"strikes": {"from": "90"}}, '"from" of strikes must be a price'),
        ({"strikes": {"from": 110, "to": 90}}, "strikes are from 110 to 90: swap the two."),
        ({"types": "calls"}, 'types must be "call", "put" or "both".'),
        ({"types": []}, 'types must be "call", "put" or "both".'),
        ({"events": ["greek"]}, "unknown event 'greek': did you mean greeks?"),
        ({"fields": {"greeks": ["delta"]}}, "has fields of greeks, not among its events"),
        ({"max_contracts": 0}, "max_contracts must be a whole number from 1 to 20000"),
        ({"include_underlying": "yes"}, "include_underlying must be true or false"),
        ({"strike": {"around": 10}}, "unknown key 'strike': did you mean strikes?"),
        ({"underlying": "AAPL270115C00150000"}, "is an option itself: name the symbol that it is on."),
        ({"underlying": ""}, "a symbol is empty"),
        ({"underlying": 5}, 'underlying must be a string like "AAPL"'),
    ],
)
def test_what_can_be_wrong(entry: dict[str, object], problem: str) -> None:
    """Each mistake is one problem, which says what is allowed."""
    found = problems(**entry)
    assert any(problem in text for text in found), found


def test_too_many_chains() -> None:
    """The number of chains is limited: each of them is resolved and shown on its own."""
    with pytest.raises(SettingsError, match="101 entries with an underlying, at most 100"):
        planned(*({"underlying": f"A{number}", "expires_within_days": 3} for number in range(101)))


def test_lower_case_underlying() -> None:
    """It is valid, but probably not intended."""
    assert "aapl" in planned({"underlying": "aapl", "expires_within_days": 3}).warnings[0]


@pytest.mark.parametrize("text", ["O:AAPL260410C00110000", "AAPL260410C00110000", "AAPL  260410C00110000"])
def test_contracts_of_answers(text: str) -> None:
    """A symbol of an answer is read with or without prefix and padding."""
    expected = Contract("AAPL260410C00110000", date(2026, 4, 10), OptionType.CALL, 110)
    assert symbols.contract(text) == expected


@pytest.mark.parametrize("text", ["", "AAPL", "O:AAPL", "O:AAPL261310C00110000", "X:AAPL260410C00110000"])
def test_what_is_no_contract(text: str) -> None:
    """Any other text is none."""
    assert symbols.contract(text) is None
