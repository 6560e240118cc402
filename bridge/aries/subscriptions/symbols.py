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
_CHARACTERS = r"A-Za-z0-9.\-_/^$=&!@+~%"
_SYMBOL = re.compile(rf"[{_CHARACTERS}]+")
#: The same with spaces and colons, which a list of symbols uses otherwise.
_QUOTED_SYMBOL = re.compile(rf"[{_CHARACTERS}:]+(?: [{_CHARACTERS}:]+)*")
#: The root of an option, which may name a class of shares: AAPL, BRK.B, BRK/B.
_ROOT = r"[A-Z][A-Z0-9]{0,5}(?:[./][A-Z]{1,2})?"
#: Root, yymmdd, call or put, strike in thousandths: the OCC's OSI symbol without its padding.
_OSI = re.compile(_ROOT + r"(?P<date>\d{6})[CP]\d{8}", re.ASCII)
_PADDED_OSI = re.compile(rf"(?P<root>{_ROOT}) +(?P<rest>\d{{6}}[CP]\d{{8}})", re.ASCII)
#: As the vendor's REST answers write options; on the socket they have no prefix (protocol §9).
_PREFIXED_OSI = re.compile(rf"O:(?P<symbol>{_OSI.pattern})", re.ASCII)


def syntax_error(symbol: str, *, quoted: bool = False) -> str | None:
    """Return why a text is not a symbol, and how to fix it; None if it is one.

    ``quoted``: from JSON, so that it may have spaces and colons.
    """
    if not symbol:
        return "a symbol is empty: remove it."
    if len(symbol) > MAX_LENGTH:
        return f"{symbol[:20]!r}… has {len(symbol)} characters, a symbol has at most {MAX_LENGTH}."
    if padded := _PADDED_OSI.fullmatch(symbol):
        return f"{symbol!r} is padded: write the option as {padded['root']}{padded['rest']}."
    if prefixed := _PREFIXED_OSI.fullmatch(symbol):
        return f"{symbol!r} has a prefix: write the option as {prefixed['symbol']}."
    if _SYMBOL.fullmatch(symbol) or (quoted and _QUOTED_SYMBOL.fullmatch(symbol)):
        return None
    if _QUOTED_SYMBOL.fullmatch(symbol):
        return f"{symbol!r} is not a symbol: separate symbols by commas, or write one with a space or colon as JSON."
    return f"{symbol!r} is not a symbol: letters, digits and .-_/^$=&!@+~% only, separated by commas."


def is_prefixed(item: str) -> bool:
    """Return whether a text is an option symbol with the prefix that it has elsewhere, but not on the socket."""
    return _PREFIXED_OSI.fullmatch(item.strip()) is not None


def has_type(item: str) -> bool:
    """Return whether a colon is followed by a type, as in ``SYM:type``, right or wrong: symbols are in upper case."""
    _, colon, suffix = item.partition(":")
    return bool(colon) and (suffix != suffix.upper() or not suffix.strip())


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
