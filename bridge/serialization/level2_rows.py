"""The rows of level-2 messages: texts with columns (protocol §3), and the records that they become."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.serialization import converters

if TYPE_CHECKING:
    from bridge.serialization.converters import Converter
    from bridge.serialization.decimals import DecimalEncoder
    from bridge.serialization.schemas import AvroRecord

#: A level-2 message of more rows is an error or an attack; real books have some hundreds.
MAX_ROWS = 10_000


class Column(NamedTuple):
    """A column of a row: the field of the record that it fills, and whether a row is nothing without it."""

    record_field: str
    convert: Converter
    required: bool = False


class RowLayout(NamedTuple):
    """The columns of a kind of row, in the order of the feed."""

    description: str
    columns: tuple[Column, ...]

    def split(self, row: object) -> list[str]:
        """Return the texts of the columns; raise ValueError unless the row is a text with so many."""
        texts = row.split(":") if type(row) is str else []
        if len(texts) != len(self.columns):
            raise ValueError(self.description)
        return texts

    def read(self, row: object, decimals: DecimalEncoder) -> AvroRecord:
        """Return a row as a record, an empty column as null; raise ValueError for an invalid row."""
        return {
            column.record_field: _value(column, text, decimals)
            for column, text in zip(self.columns, self.split(row), strict=True)
        }


BOOK_LEVEL = RowLayout(
    "a row askSize:price:bidSize",
    (
        Column("ask_size", converters.size),
        Column("price", converters.price, required=True),
        Column("bid_size", converters.size),
    ),
)
EXCHANGE_QUOTE = RowLayout(
    "a row exchange:askPrice:askSize:bidPrice:bidSize",
    (
        Column("exchange", converters.string, required=True),
        Column("ask_price", converters.price),
        Column("ask_size", converters.size),
        Column("bid_price", converters.price),
        Column("bid_size", converters.size),
    ),
)


def book(value: object, decimals: DecimalEncoder) -> list[AvroRecord]:
    """Return the rows of an order book as records."""
    return [BOOK_LEVEL.read(row, decimals) for row in row_list(value)]


def exchange_quotes(value: object, decimals: DecimalEncoder) -> list[AvroRecord]:
    """Return the quotes of the exchanges as records."""
    return [EXCHANGE_QUOTE.read(row, decimals) for row in row_list(value)]


def row_list(value: object) -> list[object]:
    """Return a list of rows as it is; raise ValueError for anything else, and for too many."""
    if type(value) is not list or len(value) > MAX_ROWS:
        raise ValueError(f"a list of at most {MAX_ROWS} rows")
    return value


def _value(column: Column, text: str, decimals: DecimalEncoder) -> object:
    if text:
        return column.convert(text, decimals)
    if column.required:
        raise ValueError(f"a row with {column.record_field}")
    return None
