"""The generator of the code that encodes records, from the schemas and the table of field mappings."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from bridge.serialization.fast.binary import NULL
from bridge.serialization.field_mappings import FIELD_MAPPINGS, RECORD_MAPPINGS, REQUIRED_FIELDS, TOPICS_WITH_CLEARED
from bridge.serialization.level2_rows import BOOK_LEVEL, EXCHANGE_QUOTE
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.serialization.converters import Converter
    from bridge.serialization.fast.code_context import AvroType, CodeContext
    from bridge.serialization.level2_rows import RowLayout

_RECORD_ENCODER = '''\
def encode(fields, feed_time, symbol, ingest_time, session_id, seq, after_gap):
    """Encode a record of {topic}; return None if the reference implementation must handle the update."""
    {unpack}
    if {left_to_reference}:
        return None
    rounded = decimals.rounded
    try:
        return join((
            prefix,
            {encoded},
        ))
    except (AttributeError, TypeError, ValueError):
        decimals.rounded = rounded
        return None
'''
_ARRAY_ENCODER = '''\
def {name}(rows):
    """Encode the array {name} as one block."""
    if rows is None or rows == []:
        return EMPTY
    if type(rows) is not list or len(rows) > MAX_ROWS:
        raise ValueError(rows)
    encoded = [encode_long(len(rows))]
    for row in rows:
        {columns} = row.split(":")
        encoded += (
            {encoded},
        )
    encoded.append(EMPTY)
    return join(encoded)


'''
_IS = "\n" + 12 * " " + "is "
_NEXT_LINE = ",\n" + 12 * " "
_CONTINUATION = "\n" + 16 * " "
#: The expressions for what the bridge adds to a record.
_METADATA = {
    "symbol": "symbol",
    "ingest_time_us": "ingest_time",
    "session_id": "session_id",
    "seq": "SMALL[seq] if seq < SMALL_COUNT else encode_long(seq)",
    "after_gap": "TRUE if after_gap else FALSE",
    "is_full": "IS_FULL",
}
#: The arrays of rows of level 2.
_ROWS: Mapping[str, RowLayout] = {"book": BOOK_LEVEL, "quotes": EXCHANGE_QUOTE}
_CLEARED = "cleared"


def generate_record_encoder(
    topic: Topic, record: AvroType, context: CodeContext, names: Sequence[str] | None = None
) -> str:
    """Return the code of a topic's ``RecordEncoder``, given the Avro type of its records.

    With ``names``, the code is for updates that have exactly these fields in this order: it unpacks their values
    instead of looking each up.
    """
    mappings = RECORD_MAPPINGS[topic]
    values = {name: f'get("{name}")' for name in mappings}
    unpack = "get = fields.get"
    if names is not None:
        values = {name: f"v{position}" for position, name in enumerate(names) if name in mappings}
        unpack = f"[{', '.join(values.get(name, '_') for name in names)}] = fields.values()"
    filled = {mapping.record_field: (values.get(name), mapping.convert) for name, mapping in mappings.items()}
    filled["feed_time"] = ("feed_time", FIELD_MAPPINGS[Topic.QUOTES]["quoteTimestamp"].convert)
    encoded = [
        _cleared_expression({mappings[name].record_field: value for name, value in values.items()}, names)
        if field["name"] == _CLEARED
        else _field_expression(topic, field, context, filled)
        for field in record["fields"]
    ]
    return _RECORD_ENCODER.format(
        topic=topic,
        unpack=unpack,
        left_to_reference=_left_to_reference(topic, values, names),
        encoded=_NEXT_LINE.join(_merge_nulls(encoded)),
    )


def generate_array_encoders(record: AvroType, context: CodeContext) -> str:
    """Return the code of the functions that encode a record's arrays."""
    return "".join(
        _array_encoder(field["name"], field["type"]["items"], context)
        for field in record["fields"]
        if field["name"] in _ROWS
    )


def _left_to_reference(topic: Topic, values: Mapping[str, str], names: Sequence[str] | None) -> str:
    """Return the condition under which the reference implementation must handle the update."""
    if topic in REQUIRED_FIELDS:
        return f"{values.get(REQUIRED_FIELDS[topic])} is None"
    if topic not in TOPICS_WITH_CLEARED:
        own = [value for name, value in values.items() if name in FIELD_MAPPINGS[topic]]
        return f"({_IS.join(['None', *own, 'None'])})"
    if names is not None:
        return "False"
    # Looked up by name, a null field cannot be told from a missing one, nor a field without rows.
    return "None in fields.values()" if topic is not Topic.L2 else "not all(fields.values())"


def _cleared_expression(values: Mapping[str, str], names: Sequence[str] | None) -> str:
    """Return the expression for the names of the fields that are null, or have no rows, given those for the values."""
    if names is None or not values:
        return "EMPTY"
    none_is_null = " and ".join(value if field in _ROWS else f"{value} is not None" for field, value in values.items())
    pairs = ", ".join(
        f'("{field}", {value} or None)' if field in _ROWS else f'("{field}", {value})'
        for field, value in values.items()
    )
    return f"EMPTY if {none_is_null}{_CONTINUATION}else encode_cleared(({pairs},))"


def _field_expression(
    topic: Topic, field: AvroType, context: CodeContext, filled: Mapping[str, tuple[str | None, Converter]]
) -> str:
    """Return the expression for an encoded field; ``filled`` has None for a value that the update does not have."""
    name, declared = field["name"], field["type"]
    if name in _METADATA:
        return _METADATA[name]
    if name not in filled and not isinstance(declared, list):
        raise ValueError(f"no field of an update fills the field {name} of {topic}, and it cannot be null")
    value, convert = filled.get(name, (None, None))
    if value is None or convert is None:
        return "NULL"  # the same byte as an empty array or map
    return f"{name}({value})" if name in _ROWS else context.field_expression(declared, convert, value)


def _merge_nulls(expressions: Sequence[str]) -> Iterator[str]:
    """Yield the expressions, each run of nulls as one literal."""
    for is_null, run in groupby(expressions, "NULL".__eq__):
        members = list(run)
        yield from [repr(NULL * len(members))] if is_null else members


def _array_encoder(name: str, row: AvroType, context: CodeContext) -> str:
    columns = {column.record_field: column.convert for column in _ROWS[name].columns}
    encoded = [
        context.column_expression(field["type"], columns[field["name"]], field["name"]) for field in row["fields"]
    ]
    return _ARRAY_ENCODER.format(name=name, columns=", ".join(columns), encoded=_NEXT_LINE.join(encoded))
