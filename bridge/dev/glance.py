"""Records at a glance: what a person looks for first, in few words and plain ASCII."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bridge.readable import fields
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Record = dict[str, Any]

#: A longer glance is none; the rest is `aries-bridge tail`'s.
MOST_CHARACTERS = 160
_CENTS = Decimal("0.01")


def glance(topic: Topic, record: Record) -> str:
    """Return a record in a line; a field that another schema lacks is left out."""
    words = " ".join(_words(topic, record)) or " ".join(fields(record))
    return printable(words)[:MOST_CHARACTERS]


def printable(text: str) -> str:
    """Return the text with a question mark for all that could steer a terminal, or that one might not show."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)


def _words(topic: Topic, record: Record) -> Iterator[str]:
    symbol = record.get("symbol")
    if symbol is not None and topic not in (Topic.MARKET_STATUS, Topic.DLQ):
        yield str(symbol)
    yield from _WORDS[topic](record)


def _quote(record: Record) -> Iterator[str]:
    yield from _side("bid", record.get("bid_price"), record.get("bid_size"))
    yield from _side("ask", record.get("ask_price"), record.get("ask_size"))


def _trade(record: Record) -> Iterator[str]:
    last = record.get("last_price")
    yield from _side("last", record.get("price") if last is None else last, record.get("size"))
    yield from _named(record, volume="total_volume", change="net_change", low="low_price", high="high_price")


def _timesale(record: Record) -> Iterator[str]:
    yield from _side("", record.get("price"), record.get("size"))
    yield from _named(record, on="trade_exchange", tick="tick")


def _level2(record: Record) -> Iterator[str]:
    book = list(_rows(record, "book"))
    bids = [(row["price"], row["bid_size"]) for row in book if row.get("bid_size")]
    asks = [(row["price"], row["ask_size"]) for row in book if row.get("ask_size")]
    yield from _side("bid", *max(bids, default=(None, None)))
    yield from _side("ask", *min(asks, default=(None, None)))
    yield f"({len(book)} levels, {len(list(_rows(record, 'quotes')))} exchanges)"


def _greeks(record: Record) -> Iterator[str]:
    for name in ("delta", "gamma", "theta", "vega", "rho"):
        if record.get(name) is not None:
            yield f"{name} {record[name]:.4g}"
    if record.get("implied_volatility") is not None:
        yield f"IV {record['implied_volatility']:.1%}"


def _market_status(record: Record) -> Iterator[str]:
    places = {"market": record.get("market"), **(record.get("exchanges") or {}), **(record.get("index_groups") or {})}
    yield ", ".join(f"{place} {state}" for place, state in places.items() if state is not None)


def _control(record: Record) -> Iterator[str]:
    yield str(record.get("kind"))
    if record.get("reason"):
        yield f"({record['reason']})"
    read = (record.get("counts") or {}).get("lines_received")
    if read is not None:
        yield f"after {read:,} lines"


def _dead_letter(record: Record) -> Iterator[str]:
    if record.get("symbol"):
        yield str(record["symbol"])
    yield f"{record.get('reason')}: {record.get('error')}"


_WORDS = {
    Topic.QUOTES: _quote,
    Topic.TRADES: _trade,
    Topic.TIMESALES: _timesale,
    Topic.L2: _level2,
    Topic.GREEKS: _greeks,
    Topic.MARKET_STATUS: _market_status,
    Topic.CONTROL: _control,
    Topic.DLQ: _dead_letter,
}


def _rows(record: Record, name: str) -> Iterator[Mapping[str, Any]]:
    yield from record.get(name) or ()


def _side(name: str, price: object, size: object) -> Iterator[str]:
    if price is not None:
        yield f"{name} {_number(price)}".lstrip() + (f"x{size}" if size else "")


def _named(record: Record, **names: str) -> Iterator[str]:
    for word, name in names.items():
        if record.get(name) is not None:
            yield f"{word} {_number(record[name])}"


def _number(value: object) -> str:
    """Return a price with all digits that count, and cents at least."""
    if not isinstance(value, Decimal):
        return str(value)
    exact = value.normalize()
    return f"{value.quantize(_CENTS) if exact == exact.quantize(_CENTS) else exact:f}"
