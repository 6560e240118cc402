"""The syntax of symbols, and the type of instrument that follows from it."""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum


class SymbolType(StrEnum):
    """The types of instruments, as spelled by the feed."""

    EQUITY = "equity"
    OPTION = "option"
    INDEX = "index"


#: The indices that Aries serves (protocol §3); they have no bid and ask.
INDICES = frozenset({"SPX", "NDX", "DJI", "VIX", "RUT", "COMP", "NYA", "OEX", "MID", "SML"})

MAX_LENGTH = 64
#: Printable ASCII without the characters that lists, comments, JSON and shells use.
_SYMBOL = re.compile(r"[A-Za-z0-9.\-_/^$=&!@+~%]+")
#: Root, yymmdd, call or put, strike in thousandths: the OCC's OSI symbol without its padding.
_OSI = re.compile(r"[A-Z][A-Z0-9]{0,5}(?P<date>\d{6})[CP]\d{8}", re.ASCII)
_PADDED_OSI = re.compile(r"(?P<root>[A-Z][A-Z0-9]{0,5}) +(?P<rest>\d{6}[CP]\d{8})", re.ASCII)


def syntax_error(symbol: str) -> str | None:
    """Return why a text is not a symbol, and how to fix it; None if it is one."""
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
    """Return the type of a symbol: a known index, an OSI option with a valid date, else an equity."""
    if symbol in INDICES:
        return SymbolType.INDEX
    option = _OSI.fullmatch(symbol)
    return SymbolType.OPTION if option and _is_date(option["date"]) else SymbolType.EQUITY


def invalid_date(symbol: str) -> str | None:
    """Return the invalid date of what would otherwise be an option symbol, else None."""
    option = _OSI.fullmatch(symbol)
    return option["date"] if option and not _is_date(option["date"]) else None


def _is_date(yymmdd: str) -> bool:
    try:
        date(2000 + int(yymmdd[:2]), int(yymmdd[2:4]), int(yymmdd[4:]))
    except ValueError:
        return False
    return True
