"""The syntax and types of symbols."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.subscriptions import symbols
from bridge.aries.subscriptions.symbols import SymbolType


@pytest.mark.parametrize(
    "symbol", ["AAPL", "BRK.B", "BF/B", "ES=F", "^GSPC", "$SPX", "BTC-USD", "A_B", "7203.T", "M&M"]
)
def test_usual_spellings_are_symbols(symbol: str) -> None:
    """Share classes, futures, indices and pairs in other vendors' notation are valid, as equities."""
    assert symbols.syntax_error(symbol) is None
    assert symbols.recognise(symbol) is SymbolType.EQUITY


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("", "empty"),
        ("AA PL", "'AA PL' is not a symbol: separate symbols by commas, or write one with a space or colon as JSON"),
        ("BF/B  240119C00150000", "write the option as BF/B240119C00150000"),
        ("O:AAPL240119C00150000", "write the option as AAPL240119C00150000"),
        ("ÄPL", "'ÄPL' is not a symbol"),
        ("AAPL\n", "is not a symbol"),
        ('"AAPL"', "is not a symbol"),
        ("[AAPL", "is not a symbol"),
        ("A:B", "is not a symbol"),
        ("A" * 65, "has 65 characters"),
        ("AAPL  240119C00150000", "write the option as AAPL240119C00150000"),
    ],
)
def test_an_invalid_symbol_is_reported_with_the_reason(symbol: str, message: str) -> None:
    """The message has the invalid text and the reason."""
    assert message in (symbols.syntax_error(symbol) or "")


@pytest.mark.parametrize("symbol", ["BRK B", "X:BTCUSD", "BTC/USD", "A B C"])
def test_a_quoted_symbol_may_have_spaces_and_colons(symbol: str) -> None:
    """But no other white space, and none around it."""
    assert symbols.syntax_error(symbol, quoted=True) is None
    for wrong in (f" {symbol}", f"{symbol} ", symbol[0] + "  " + symbol[1:], f"{symbol}\t", f"{symbol},B", "Ä:B"):
        assert "is not a symbol" in (symbols.syntax_error(wrong, quoted=True) or "")


def test_the_longest_symbol_is_allowed() -> None:
    """A symbol may have 64 characters."""
    assert symbols.syntax_error("A" * 64) is None


@pytest.mark.parametrize("symbol", ["SPX", "NDX", "DJI", "VIX", "RUT", "COMP", "NYA", "OEX", "MID", "SML"])
def test_the_indices_of_the_feed_are_known(symbol: str) -> None:
    """The ten index symbols of the protocol are indices."""
    assert symbols.recognise(symbol) is SymbolType.INDEX


@given(
    root=st.from_regex(r"[A-Z][A-Z0-9]{0,5}([./][A-Z]{1,2})?", fullmatch=True),
    day=st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    side=st.sampled_from("CP"),
    strike=st.integers(0, 99_999_999),
)
def test_every_osi_symbol_is_an_option(root: str, day: date, side: str, strike: int) -> None:
    """Any root, date, side and strike without padding is an option."""
    symbol = f"{root}{day:%y%m%d}{side}{strike:08d}"
    assert symbols.syntax_error(symbol) is None
    assert symbols.recognise(symbol) is SymbolType.OPTION
    assert symbols.invalid_date(symbol) is None


@pytest.mark.parametrize(
    "symbol",
    ["AAPL240119X00150000", "AAPL240119C0015000", "AAPLXYZ240119C00150000", "240119C00150000", ".B240119C00150000"],
)
def test_an_invalid_option_symbol_is_an_equity(symbol: str) -> None:
    """A symbol with an invalid side, strike or root is an equity."""
    assert symbols.recognise(symbol) is SymbolType.EQUITY
    assert symbols.invalid_date(symbol) is None


@pytest.mark.parametrize("day", ["241301", "240230", "230229", "240100"])
def test_an_option_symbol_with_an_invalid_date_is_detected(day: str) -> None:
    """An option symbol with an invalid date is an equity, and its date is reported."""
    symbol = f"AAPL{day}C00150000"
    assert symbols.recognise(symbol) is SymbolType.EQUITY
    assert symbols.invalid_date(symbol) == day
