"""The answers of the REST endpoints for option chains, and everything that is assumed about them.

``[D]`` is documented by the vendor, ``[A]`` assumed. A first answer of the real server corrects an assumption here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from bridge.aries.subscriptions import symbols

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from bridge.aries.subscriptions.symbols import Contract

#: [D] The whole chain of an underlying, in pages; [A] of all expirations, without parameters.
_SNAPSHOT_PATH: Final = "/v1/options/snapshot/chain/{underlying}"
#: [D] The contracts of one expiration; [A] in one answer.
_CONTRACTS_PATH: Final = "/v1/options/{underlying}/contracts/{expiration}"
#: [D] The next page. An example names another host, which is never requested: only path and query are used. [A] It is
#: missing, null or empty on the last page.
_NEXT: Final = "nextUrl"
#: [D] The contracts of a page, and where their symbols are: all terms are read from the symbol alone.
_RESULTS, _DETAILS, _TICKER = "results", "details", "ticker"
#: [D] The contracts of one expiration in the newer and in the older version; each has one of the keys of a symbol.
_SIDES: Final = ("calls", "puts")
_OLD_SIDE: Final = "contracts"
_SYMBOL_KEYS: Final = ("symbol", "ticker")
#: [A] The price of the underlying in an entry of a page; the first of these that is there.
_UNDERLYING: Final = "underlyingAsset"
_PRICE_KEYS: Final = ("price", "lastPrice", "value", "last", "close")
#: [A] The scope of the token that both endpoints need.
SCOPE: Final = "options:information"
#: Bounds: an answer has far less, and a chain that has more is not used at all, rather than in part.
MAX_ANSWER_BYTES: Final = 16 << 20
MAX_PAGES: Final = 2000
MAX_CONTRACTS: Final = 100_000


class BadAnswer(Exception):
    """An answer that cannot be read; its text is a predicate that follows the endpoint's name."""


class Page(NamedTuple):
    """One answer: contracts, the path of the next page, the price of the underlying, and how many symbols are none."""

    contracts: tuple[Contract, ...]
    next_path: str | None = None
    price: float | None = None
    unreadable: int = 0


def snapshot_path(underlying: str) -> str:
    """Return the path of the first page of a chain."""
    return _SNAPSHOT_PATH.format(underlying=quote(underlying, safe=""))


def contracts_path(underlying: str, expiration: date) -> str:
    """Return the path of the contracts of one expiration."""
    return _CONTRACTS_PATH.format(underlying=quote(underlying, safe=""), expiration=expiration.isoformat())


def snapshot_page(body: bytes, path: str) -> Page:
    """Return what a page of a chain has, which was requested at ``path``; raise BadAnswer."""
    document = _object(body)
    results = document.get(_RESULTS)
    if not isinstance(results, list):
        raise BadAnswer(f"answered without a list {_RESULTS!r}")
    entries = [entry for entry in results if isinstance(entry, dict)]
    details = [entry.get(_DETAILS) for entry in entries]
    tickers = [one.get(_TICKER) for one in details if isinstance(one, dict)]
    prices = (price for entry in entries if (price := _price(entry.get(_UNDERLYING))) is not None)
    return _page(tickers, len(results), _next_path(document.get(_NEXT), path), next(prices, None))


def contracts_page(body: bytes) -> Page:
    """Return the contracts of one expiration; raise BadAnswer."""
    document = _object(body)
    sides = [side for name in (*_SIDES, _OLD_SIDE) if isinstance(side := document.get(name), list)]
    if not sides:
        raise BadAnswer(f"answered without a list {_SIDES[0]!r}, {_SIDES[1]!r} or {_OLD_SIDE!r}")
    entries = [entry for side in sides for entry in side]
    return _page([_first(entry, _SYMBOL_KEYS) for entry in entries], len(entries), None, None)


def _page(tickers: Iterable[object], entries: int, next_path: str | None, price: float | None) -> Page:
    found = tuple(_contracts(tickers))
    if entries and not found:
        raise BadAnswer(f"answered with {entries} entries, of which none has the symbol of an option")
    return Page(found, next_path, price, entries - len(found))


def _contracts(tickers: Iterable[object]) -> Iterator[Contract]:
    for ticker in tickers:
        if isinstance(ticker, str) and (contract := symbols.contract(ticker)) is not None:
            yield contract


def _object(body: bytes) -> dict[str, object]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadAnswer("answered with something that is not JSON, or with a part of it") from None
    if not isinstance(document, dict):
        raise BadAnswer("answered with JSON that is no object")
    return document


def _next_path(url: object, path: str) -> str | None:
    """Return path and query of the next page's URL, whatever its host."""
    if url is None or url == "":
        return None
    if isinstance(url, str) and url.isascii() and url.isprintable() and " " not in url:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        next_path = parts.path or path.partition("?")[0]
        if next_path.startswith("/") and (parts.path or parts.query):
            return f"{next_path}?{parts.query}" if parts.query else next_path
    raise BadAnswer(f"answered with a {_NEXT!r} that is no URL")


def _first(entry: object, keys: Iterable[str]) -> object:
    return next((entry[key] for key in keys if key in entry), None) if isinstance(entry, dict) else None


def _price(asset: object) -> float | None:
    value = _first(asset, _PRICE_KEYS)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        price = float(value)
    except (ValueError, OverflowError):
        return None
    return price if math.isfinite(price) and price > 0 else None
