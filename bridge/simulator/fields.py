"""The kinds of market data and their field names, as the server side tells them apart."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


class Kind(StrEnum):
    """Name one kind of market data that a client can ask for."""

    QUOTE = "quote"
    TRADE = "trade"
    TIME_AND_SALES = "timeAndSales"
    LEVEL2 = "level2"
    GREEKS = "greeks"

    # Enum's own is written in Python, and kinds are looked up several times for every event.
    __hash__ = str.__hash__


class SymbolClass(StrEnum):
    """Tell symbols apart by how they are written."""

    EQUITY = "equity"
    INDEX = "index"
    OPTION = "option"


#: Indices have no bid and ask (vendor's subscription guide).
INDICES: Final = _names("SPX NDX DJI VIX RUT COMP NYA OEX MID SML")
#: An unpadded OSI option symbol: root, expiry, call or put, strike in thousandths.
OPTION_SYMBOL: Final = re.compile(r"(?P<root>[A-Z.]{1,6})(?P<expiry>\d{6})(?P<right>[CP])(?P<strike>\d{8})")

QUOTE_FIELDS: Final = _names(
    "askPrice askSize askExchange askChange askSizeChange bidPrice bidSize bidExchange bidChange "
    "bidSizeChange quoteTimestamp"
)
TRADE_FIELDS: Final = _names(
    "lastPrice price size totalVolume tickVolume openPrice highPrice lowPrice netChange "
    "tradeExchange tradeTimestamp tradeSeq tick high52Week low52Week openInterest dividend"
)
GREEKS_FIELDS: Final = _names("delta gamma theta vega rho impliedVolatility")
#: The fields of each kind, as the vendor's table has them.
FIELDS_OF: Final = {
    Kind.QUOTE: QUOTE_FIELDS,
    Kind.TRADE: TRADE_FIELDS,
    Kind.TIME_AND_SALES: _names("price size tradeExchange tradeTimestamp tradeSeq tick"),
    Kind.LEVEL2: frozenset({"orderBook", "quotes"}),
    Kind.GREEKS: GREEKS_FIELDS,
}
#: Fields that say what a message is about; alone they make no update.
ANY_FIELDS: Final = frozenset({"symbol", "instrumentType"})
#: Fields that travel as decimal text or as JSON numbers, as the server is set.
PRICE_FIELDS: Final = _names(
    "askPrice askChange bidPrice bidChange lastPrice price openPrice highPrice lowPrice netChange "
    "high52Week low52Week dividend"
)

_JSON_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")  # RFC 8259, section 6

#: What each class of symbol has.
KINDS_OF: Final = {
    SymbolClass.EQUITY: frozenset(Kind) - {Kind.GREEKS},
    SymbolClass.INDEX: frozenset({Kind.TRADE}),
    SymbolClass.OPTION: frozenset(Kind),
}


def symbol_class(symbol: str) -> SymbolClass:
    """Return what kind of instrument a symbol names."""
    if symbol in INDICES:
        return SymbolClass.INDEX
    return SymbolClass.OPTION if OPTION_SYMBOL.fullmatch(symbol) else SymbolClass.EQUITY


def as_numbers(fields: dict[str, object]) -> dict[str, object]:
    """Turn prices that are text into JSON numbers of the very same digits; what is no number stays text."""
    return {
        name: msgspec.Raw(value.encode())
        if name in PRICE_FIELDS and isinstance(value, str) and _JSON_NUMBER.fullmatch(value)
        else value
        for name, value in fields.items()
    }
