"""The text of the functions that write records, from the schemas and the tables of the feed's fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.records import FIELDS, SHARED_FIELDS
from bridge.topics import Topic

if TYPE_CHECKING:
    from bridge.encoder.tables import Tables, Type
    from bridge.records import Field

_ENCODE = '''\
def encode(fields, feed_time, symbol, ingest_time, session_id, seq, after_gap):
    """Write a record of {topic}; None for what is left to the slow path."""
    get = fields.get
    rounded = prices.rounded
    try:
        return join((
            prefix,
            {parts},
        ))
    except (AttributeError, TypeError, ValueError):
        prices.rounded = rounded
        return None
'''
_ROWS = '''\
def {name}(rows):
    """Write the array {name}, as one block."""
    if rows is None or rows == []:
        return EMPTY
    if type(rows) is not list or len(rows) > MOST_ROWS:
        raise ValueError(rows)
    parts = [long_bytes(len(rows))]
    for row in rows:
        {columns} = row.split(":")
        parts += (
            {parts},
        )
    parts.append(EMPTY)
    return join(parts)


'''
_BREAK = ",\n" + 12 * " "
#: What the bridge itself adds.
_STAMP = {
    "symbol": "symbol",
    "ingest_time_us": "ingest_time",
    "session_id": "session_id",
    "seq": "long_bytes(seq)",
    "after_gap": "TRUE if after_gap else FALSE",
}
#: The columns of level 2's rows (protocol §3), by the names that quotes and trades have for the same things.
_COLUMNS_OF = {
    "book": ("askSize", "price", "bidSize"),
    "quotes": ("exchange", "askPrice", "askSize", "bidPrice", "bidSize"),
}
_COLUMNS = {
    **FIELDS[Topic.QUOTES],
    "price": FIELDS[Topic.TRADES]["price"],
    "exchange": FIELDS[Topic.QUOTES]["bidExchange"]._replace(name="exchange"),
}


def source_of(topic: Topic, record: Type, tables: Tables) -> str:
    """Return the text of ``encode`` for the records of one topic, and of what writes their arrays."""
    arrays = {field["name"]: field["type"]["items"] for field in record["fields"] if _is_array(field["type"])}
    values = {field.name: (f'get("{wire}")', field.convert) for wire, field in _fields_of(topic).items()}
    values["feed_time"] = ("feed_time", FIELDS[Topic.QUOTES]["quoteTimestamp"].convert)

    def part(name: str, declared: Type) -> str:
        if name in _STAMP:
            return _STAMP[name]
        if name not in values:
            return _null(topic, name, declared)
        value, convert = values[name]
        return f"{name}({value})" if name in arrays else tables.field(declared, convert, value)

    parts = [part(field["name"], field["type"]) for field in record["fields"]]
    rows = [_rows(name, row, tables) for name, row in arrays.items()]
    return "".join(rows) + _ENCODE.format(topic=topic, parts=_BREAK.join(parts))


def _fields_of(topic: Topic) -> dict[str, Field]:
    return {**SHARED_FIELDS, **FIELDS[topic]}


def _rows(name: str, row: Type, tables: Tables) -> str:
    columns = {field.name: field for field in (_COLUMNS[wire] for wire in _COLUMNS_OF[name])}
    parts = [tables.column(field["type"], columns[field["name"]].convert, field["name"]) for field in row["fields"]]
    return _ROWS.format(name=name, columns=", ".join(columns), parts=_BREAK.join(parts))


def _null(topic: Topic, name: str, declared: Type) -> str:
    """Return the part of a field that this topic's updates never have."""
    if isinstance(declared, list):
        return "NULL"
    raise ValueError(f"nothing in an update fills the field {name} of {topic}, and it cannot be null")


def _is_array(declared: Type) -> bool:
    return isinstance(declared, dict) and declared["type"] == "array"
