"""The order book and the exchanges' quotes of a symbol, from its level-2 records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from bridge.serialization.schemas import AvroRecord

    Row = dict[str, Any]
    Rows = dict[Any, Row]


class Level2Book:
    """The rows that hold now: ``levels`` by price, ``exchanges`` by exchange."""

    __slots__ = ("exchanges", "levels")

    def __init__(self) -> None:
        self.levels: dict[Decimal, Row] = {}
        self.exchanges: dict[str, Row] = {}

    def apply(self, record: AvroRecord) -> None:
        """Take a record; after a gap, begin with a new book."""
        self.levels = _rows(self.levels, record, "book", "price")
        self.exchanges = _rows(self.exchanges, record, "quotes", "exchange")

    @property
    def bids(self) -> list[Row]:
        """Return the levels with a size to buy, the best first."""
        return sorted(self._levels("bid_size"), key=lambda row: row["price"], reverse=True)

    @property
    def asks(self) -> list[Row]:
        """Return the levels with a size to sell, the best first."""
        return sorted(self._levels("ask_size"), key=lambda row: row["price"])

    def _levels(self, size: str) -> Iterator[Row]:
        return (row for row in self.levels.values() if row[size])


def _rows(known: Rows, record: AvroRecord, part: str, key: str) -> Rows:
    """Return the rows of a part after a record: see "Level 2" in avro/README.md."""
    cleared: Any = record.get("cleared", ())  # a record of an earlier release may lack it
    sent: Any = record[part]
    if part in cleared:
        return {}
    if not sent:
        return known
    rows = {row[key]: row for row in sent}
    if record.get("is_full") is not False:
        return rows
    return {at: row for at, row in (known | rows).items() if row["bid_size"] or row["ask_size"]}
