from __future__ import annotations

import pytest

from bridge.aries.protocol.rejected_symbol import symbol_named

ASKED = {"A", "ALL", "AAPL", "BRK", "BRK.B", "ES=F", "^GSPC", "NO", "EQ927", "EQ9270115C00100000"}


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("unknown symbol: AAPL", "AAPL"),
        ("unknown symbol: AAPL.", "AAPL"),
        ("'AAPL' is not known", "AAPL"),
        ('{"symbol":"AAPL"}', "AAPL"),
        ("AAPL,MSFT", "AAPL"),
        ("no such option: EQ9270115C00100000", "EQ9270115C00100000"),
        ("no rights to BRK.B!", "BRK.B"),
        ("no rights to BRK.", "BRK"),
        ("(^GSPC)", "^GSPC"),
        ("ES=F: no futures", "ES=F"),
    ],
)
def test_a_symbol_is_found_as_a_word_of_its_own(text: str, symbol: str) -> None:
    """Whatever stands around it: quotes, brackets, the end of a sentence."""
    assert symbol_named(text, ASKED) == symbol


@pytest.mark.parametrize("text", ["", "limit reached", "unknown symbol: MSFT", "AAPLE", "BRK.A", "aapl", "XEQ927"])
def test_no_part_of_a_word_and_nothing_that_was_not_asked_for_is_blamed(text: str) -> None:
    """A longer word that holds a symbol is another symbol."""
    assert symbol_named(text, ASKED) is None


@pytest.mark.parametrize(
    ("text", "symbol"),
    [("A symbol is unknown: AAPL", "AAPL"), ("AAPL: NO such symbol", "AAPL"), ("NO data for A, ALL", "ALL")],
)
def test_of_several_words_that_are_symbols_the_longest_is_meant(text: str, symbol: str) -> None:
    """Short symbols are words of a sentence too."""
    assert symbol_named(text, ASKED) == symbol


def test_of_equally_long_words_the_last_is_meant() -> None:
    """What is wrong comes first and the symbol after it."""
    assert symbol_named("ALL symbols but ABC", {"ALL", "ABC"}) == "ABC"
