"""The text of the functions that write records, from the schemas and the tables of the feed's fields."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from bridge.serialization.fast.binary import NULL
from bridge.serialization.records import FIELDS, SHARED_FIELDS
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.serialization.fast.code_context import Tables, Type
    from bridge.serialization.records import Convert, Field

_ENCODE = '''\
def encode(fields, feed_time, symbol, ingest_time, session_id, seq, after_gap):
    """Write a record of {topic}; None for what is left to the slow path."""
    {unpack}
    if ({silent}):
        return None
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
_SAME = "\n" + 12 * " " + "is "
_BREAK = ",\n" + 12 * " "
#: What the bridge itself adds.
_STAMP = {
    "symbol": "symbol",
    "ingest_time_us": "ingest_time",
    "session_id": "session_id",
    "seq": "SMALL[seq] if seq < MOST_SMALL else long_bytes(seq)",
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


def source_of(topic: Topic, record: Type, tables: Tables, names: Sequence[str] | None = None) -> str:
    """Return the text of ``encode`` for the records of one topic; None where no field of the topic's says anything.

    With ``names`` it is for updates that have just these fields, in this order: it need not look for them.
    """
    values = {name: f'get("{name}")' for name in _fields_of(topic)}
    unpack = "get = fields.get"
    if names is not None:
        values = {name: f"v{place}" for place, name in enumerate(names) if name in values}
        unpack = f"[{', '.join(values.get(name, '_') for name in names)}] = fields.values()"
    filled = {field.name: (values.get(wire), field.convert) for wire, field in _fields_of(topic).items()}
    filled["feed_time"] = ("feed_time", FIELDS[Topic.QUOTES]["quoteTimestamp"].convert)
    parts = [_part(topic, field, tables, filled) for field in record["fields"]]
    silent = _SAME.join(["None", *(value for name, value in values.items() if name in FIELDS[topic]), "None"])
    return _ENCODE.format(topic=topic, unpack=unpack, silent=silent, parts=_BREAK.join(_joined(parts)))


def arrays_of(record: Type, tables: Tables) -> str:
    """Return the text of the functions that write a record's arrays."""
    return "".join(
        _rows(field["name"], field["type"]["items"], tables) for field in record["fields"] if _is_array(field)
    )


def _part(topic: Topic, field: Type, tables: Tables, filled: Mapping[str, tuple[str | None, Convert]]) -> str:
    """Return the expression for a field of the record, given those for what fills it; None: the update has it not."""
    name, declared = field["name"], field["type"]
    if name in _STAMP:
        return _STAMP[name]
    if name not in filled and not isinstance(declared, list):
        raise ValueError(f"nothing in an update fills the field {name} of {topic}, and it cannot be null")
    value, convert = filled.get(name, (None, None))
    if value is None or convert is None:
        return "NULL"  # as well an array or a map without an entry
    return f"{name}({value})" if _is_array(field) else tables.field(declared, convert, value)


def _joined(parts: Sequence[str]) -> Iterator[str]:
    """Write nulls in a row as one part."""
    for is_null, run in groupby(parts, "NULL".__eq__):
        found = list(run)
        yield from [repr(NULL * len(found))] if is_null else found


def _fields_of(topic: Topic) -> dict[str, Field]:
    return {**SHARED_FIELDS, **FIELDS[topic]}


def _rows(name: str, row: Type, tables: Tables) -> str:
    columns = {field.name: field for field in (_COLUMNS[wire] for wire in _COLUMNS_OF[name])}
    parts = [tables.column(field["type"], columns[field["name"]].convert, field["name"]) for field in row["fields"]]
    return _ROWS.format(name=name, columns=", ".join(columns), parts=_BREAK.join(parts))


def _is_array(field: Type) -> bool:
    return isinstance(field["type"], dict) and field["type"]["type"] == "array"
