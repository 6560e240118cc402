"""The kinds of market data, their fields, and which kinds each class of symbol has."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


class DataKind(StrEnum):
    """A kind of market data that a client can subscribe to."""

    QUOTE = "quote"
    TRADE = "trade"
    TIME_AND_SALES = "timeAndSales"
    LEVEL2 = "level2"
    GREEKS = "greeks"

    # Enum.__hash__ is written in Python, and kinds are looked up several times for every event.
    __hash__ = str.__hash__


class SymbolClass(StrEnum):
    """A class of symbols, recognised by their format."""

    EQUITY = "equity"
    INDEX = "index"
    OPTION = "option"


#: Indices have no bid and ask (the vendor's subscription guide).
INDICES: Final = _names("SPX NDX DJI VIX RUT COMP NYA OEX MID SML")
#: An unpadded OSI option symbol: root, expiry, call or put, strike in thousandths.
OPTION_SYMBOL: Final = re.compile(r"(?P<root>[A-Z./]{1,8})(?P<expiry>\d{6})(?P<right>[CP])(?P<strike>\d{8})")

QUOTE_FIELDS: Final = _names(
    "askPrice askSize askExchange askChange askSizeChange bidPrice bidSize bidExchange bidChange "
    "bidSizeChange quoteTimestamp"
)
TRADE_FIELDS: Final = _names(
    "lastPrice price size totalVolume tickVolume openPrice highPrice lowPrice netChange "
    "tradeExchange tradeTimestamp tradeSeq tick high52Week low52Week openInterest dividend"
)
GREEKS_FIELDS: Final = _names("delta gamma theta vega rho impliedVolatility")
#: The fields of each kind, from the vendor's table.
FIELDS_OF: Final = {
    DataKind.QUOTE: QUOTE_FIELDS,
    DataKind.TRADE: TRADE_FIELDS,
    DataKind.TIME_AND_SALES: _names("price size tradeExchange tradeTimestamp tradeSeq tick"),
    DataKind.LEVEL2: frozenset({"orderBook", "quotes"}),
    DataKind.GREEKS: GREEKS_FIELDS,
}
#: Fields that only identify the instrument; an update with no other field is not sent.
IDENTIFYING_FIELDS: Final = frozenset({"symbol", "instrumentType"})
#: Fields that are sent as decimal strings or as JSON numbers, depending on the server's price style.
PRICE_FIELDS: Final = _names(
    "askPrice askChange bidPrice bidChange lastPrice price openPrice highPrice lowPrice netChange "
    "high52Week low52Week dividend"
)

_JSON_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")  # RFC 8259, section 6

#: The kinds that each class of symbol has.
KINDS_OF: Final = {
    SymbolClass.EQUITY: frozenset(DataKind) - {DataKind.GREEKS},
    SymbolClass.INDEX: frozenset({DataKind.TRADE}),
    SymbolClass.OPTION: frozenset(DataKind),
}


def symbol_class(symbol: str) -> SymbolClass:
    """Return the class of a symbol."""
    if symbol in INDICES:
        return SymbolClass.INDEX
    return SymbolClass.OPTION if OPTION_SYMBOL.fullmatch(symbol) else SymbolClass.EQUITY


def prices_as_numbers(fields: dict[str, object]) -> dict[str, object]:
    """Convert price strings to JSON numbers with the same digits; a string that is not a number stays a string."""
    return {
        name: msgspec.Raw(value.encode())
        if name in PRICE_FIELDS and isinstance(value, str) and _JSON_NUMBER.fullmatch(value)
        else value
        for name, value in fields.items()
    }
