"""Records at a glance: what a person looks for first, in few words and plain ASCII."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from bridge.serialization.formatting import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bridge.serialization.deserializer import Decoded

    Record = dict[str, Any]

#: A longer glance is none; the rest is `aries-bridge tail`'s.
MOST_CHARACTERS: Final = 160


def glance(decoded: Decoded) -> str:
    """Return a record in a line; one that is none of ours is told field by field."""
    words = _WORDS.get(decoded.name, fields)
    return printable(" ".join(words(decoded.record)))[:MOST_CHARACTERS]


def printable(text: str) -> str:
    """Return the text with a question mark for all that could steer a terminal, or that one might not show."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)


def _quote(record: Record) -> Iterator[str]:
    yield record["symbol"]
    yield from _side("bid", record["bid_price"], record["bid_size"])
    yield from _side("ask", record["ask_price"], record["ask_size"])


def _trade(record: Record) -> Iterator[str]:
    yield record["symbol"]
    last = record["last_price"]
    yield from _side("last", record["price"] if last is None else last, record["size"])
    yield from _named(record, volume="total_volume", change="net_change", low="low_price", high="high_price")


def _timesale(record: Record) -> Iterator[str]:
    yield record["symbol"]
    yield from _side("", record["price"], record["size"])
    yield from _named(record, on="trade_exchange", tick="tick")


def _level2(record: Record) -> Iterator[str]:
    yield record["symbol"]
    book = record["book"]
    bids = [(row["price"], row["bid_size"]) for row in book if row["bid_size"]]
    asks = [(row["price"], row["ask_size"]) for row in book if row["ask_size"]]
    yield from _side("bid", *max(bids, default=(None, None)))
    yield from _side("ask", *min(asks, default=(None, None)))
    yield f"({len(book)} levels, {len(record['quotes'])} exchanges)"


def _greeks(record: Record) -> Iterator[str]:
    yield record["symbol"]
    for name in ("delta", "gamma", "theta", "vega", "rho"):
        if record[name] is not None:
            yield f"{name} {record[name]:.4g}"
    if record["implied_volatility"] is not None:
        yield f"IV {record['implied_volatility']:.1%}"


def _market_status(record: Record) -> Iterator[str]:
    places = {"market": record["market"], **record["exchanges"], **record["index_groups"]}
    yield ", ".join(f"{place} {state}" for place, state in places.items() if state is not None)


def _control(record: Record) -> Iterator[str]:
    yield record["kind"]
    if record["reason"]:
        yield f"({record['reason']})"
    if "lines_received" in record["counts"]:
        yield f"after {record['counts']['lines_received']:,} lines"


def _dead_letter(record: Record) -> Iterator[str]:
    if record["symbol"]:
        yield record["symbol"]
    yield f"{record['reason']}: {record['error']}"


def _side(name: str, price: object, size: object) -> Iterator[str]:
    if price is not None:
        yield f"{name} {_number(price)}".lstrip() + (f"x{size}" if size else "")


def _named(record: Record, **names: str) -> Iterator[str]:
    for word, name in names.items():
        if record[name] is not None:
            yield f"{word} {_number(record[name])}"


def _number(value: object) -> str:
    """Return a price with all digits that count, and cents at least."""
    if not isinstance(value, Decimal):
        return str(value)
    whole, _, fraction = f"{value:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"


_WORDS: Final[Mapping[str, Callable[[Record], Iterator[str]]]] = {
    "aries.marketdata.Quote": _quote,
    "aries.marketdata.Trade": _trade,
    "aries.marketdata.TimeSale": _timesale,
    "aries.marketdata.Level2": _level2,
    "aries.marketdata.Greeks": _greeks,
    "aries.marketdata.MarketStatus": _market_status,
    "aries.marketdata.Control": _control,
    "aries.marketdata.DeadLetter": _dead_letter,
}
