"""One-line summaries of records: what a reader looks for first, in printable ASCII."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from bridge.errors import shorten
from bridge.serialization.formatting import fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.serialization.deserializer import Decoded

    Record = dict[str, Any]

#: `aries-bridge tail` shows records in full.
MAX_CHARACTERS: Final = 160

#: Labels, with the field that each stands before, and for a price the field of its size.
_LABELLED: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "aries.marketdata.Quote": (("bid", "bid_price", "bid_size"), ("ask", "ask_price", "ask_size")),
    "aries.marketdata.Trade": (
        ("last", "last_price", "size"),
        ("volume", "total_volume"),
        ("change", "net_change"),
        ("low", "low_price"),
        ("high", "high_price"),
    ),
    "aries.marketdata.TimeSale": (("", "price", "size"), ("on", "trade_exchange"), ("tick", "tick")),
    "aries.marketdata.Greeks": (
        *((name, name) for name in ("delta", "gamma", "theta", "vega", "rho")),
        ("IV", "implied_volatility"),
    ),
}


def summarize(decoded: Decoded) -> str:
    """Return a record in one line; one of an unknown schema field by field."""
    return shorten(printable(" ".join(filter(None, _parts(decoded.name, decoded.record)))), MAX_CHARACTERS)


def printable(text: str) -> str:
    """Return the text with ``?`` for whatever could control a terminal, or not be displayed by it."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)


def _parts(schema: str, record: Record) -> Iterator[str]:
    match schema:
        case "aries.marketdata.Level2":
            yield from _level2(record)
        case "aries.marketdata.MarketStatus":
            states = {"market": record["market"], **record["exchanges"], **record["index_groups"]}
            yield ", ".join(f"{name} {state}" for name, state in states.items() if state is not None)
        case "aries.marketdata.Control":
            yield record["kind"]
            yield f"shard {record['shard']} of {record['shards']}" if record.get("shards", 1) > 1 else ""
            yield f"({record['reason']})" if record["reason"] else ""
            yield f"after {record['counts']['lines_received']:,} lines" if "lines_received" in record["counts"] else ""
        case "aries.marketdata.DeadLetter":
            yield record["symbol"] or ""
            yield f"{record['reason']}: {record['error']}"
        case _ if schema in _LABELLED:
            yield record["symbol"]
            for label, name, *size in _LABELLED[schema]:
                value = record["price"] if name == "last_price" and record[name] is None else record[name]
                yield _labelled(label, value, *(record[field] for field in size))
        case _:
            yield from fields(record)


def _level2(record: Record) -> Iterator[str]:
    book = record["book"]
    bids = [(row["price"], row["bid_size"]) for row in book if row["bid_size"]]
    asks = [(row["price"], row["ask_size"]) for row in book if row["ask_size"]]
    yield record["symbol"]
    yield _labelled("bid", *max(bids, default=(None,)))
    yield _labelled("ask", *min(asks, default=(None,)))
    yield f"({len(book)} levels, {len(record['quotes'])} exchanges)"


def _labelled(label: str, value: object, size: int | Decimal | None = None) -> str:
    if value is None:
        return ""
    text = _quantity(value) if label == "volume" else _number(value)
    return f"{label} {text}{f'x{_quantity(size)}' if size else ''}".lstrip()


def _quantity(value: object) -> str:
    """Return a size or volume without trailing zeros."""
    return f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, Decimal) else str(value)


def _number(value: object) -> str:
    """Return a price with its significant digits and at least two decimals, a float with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if not isinstance(value, Decimal):
        return str(value)
    whole, _, fraction = f"{value:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"
