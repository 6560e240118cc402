"""Know a symbol by its spelling: whether it is one, and of which type."""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum


class SymbolType(StrEnum):
    """Name the kind of instrument, as the feed spells it."""

    EQUITY = "equity"
    OPTION = "option"
    INDEX = "index"


#: The indices that Aries serves (protocol §3); they have no bid and ask.
INDICES = frozenset({"SPX", "NDX", "DJI", "VIX", "RUT", "COMP", "NYA", "OEX", "MID", "SML"})

MAX_LENGTH = 64
#: Printable ASCII without what lists, comments, JSON and shells need for themselves.
_SYMBOL = re.compile(r"[A-Za-z0-9.\-_/^$=&!@+~%]+")
#: Root, yymmdd, call or put, strike in thousandths: the OCC's OSI symbol without its padding.
_OSI = re.compile(r"[A-Z][A-Z0-9]{0,5}(?P<date>\d{6})[CP]\d{8}", re.ASCII)
_PADDED_OSI = re.compile(r"(?P<root>[A-Z][A-Z0-9]{0,5}) +(?P<rest>\d{6}[CP]\d{8})", re.ASCII)


def fault(symbol: str) -> str | None:
    """Say what keeps the text from being a symbol, and how to mend it; None where nothing does."""
    if not symbol:
        return "a symbol is empty: remove it."
    if len(symbol) > MAX_LENGTH:
        return f"{symbol[:20]!r}… has {len(symbol)} characters, a symbol has at most {MAX_LENGTH}."
    if padded := _PADDED_OSI.fullmatch(symbol):
        return f"{symbol!r} is padded: write the option as {padded['root']}{padded['rest']}."
    if not _SYMBOL.fullmatch(symbol):
        return f"{symbol!r} is not a symbol: letters, digits and .-_/^$=&!@+~% only, separated by commas."
    return None


def recognise(symbol: str) -> SymbolType:
    """Return the type that the spelling says: a known index, an OSI option of a real date, else an equity."""
    if symbol in INDICES:
        return SymbolType.INDEX
    option = _OSI.fullmatch(symbol)
    return SymbolType.OPTION if option and _is_date(option["date"]) else SymbolType.EQUITY


def misdated(symbol: str) -> str | None:
    """Return the impossible date in what else would be an option symbol, None where there is none."""
    option = _OSI.fullmatch(symbol)
    return option["date"] if option and not _is_date(option["date"]) else None


def _is_date(yymmdd: str) -> bool:
    try:
        date(2000 + int(yymmdd[:2]), int(yymmdd[2:4]), int(yymmdd[4:]))
    except ValueError:
        return False
    return True
