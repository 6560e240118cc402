"""The generator of the code that encodes records, from the schemas and the table of field mappings."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from bridge.serialization.fast.binary import NULL
from bridge.serialization.field_mappings import FIELD_MAPPINGS, SHARED_FIELD_MAPPINGS
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.serialization.converters import Converter
    from bridge.serialization.fast.code_context import AvroType, CodeContext
    from bridge.serialization.field_mappings import FieldMapping

_RECORD_ENCODER = '''\
def encode(fields, feed_time, symbol, ingest_time, session_id, seq, after_gap):
    """Encode a record of {topic}; return None if the reference implementation must handle the update."""
    {unpack}
    if ({all_null}):
        return None
    rounded = prices.rounded
    try:
        return join((
            prefix,
            {encoded},
        ))
    except (AttributeError, TypeError, ValueError):
        prices.rounded = rounded
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
#: The expressions for what the bridge adds to a record.
_METADATA = {
    "symbol": "symbol",
    "ingest_time_us": "ingest_time",
    "session_id": "session_id",
    "seq": "SMALL[seq] if seq < SMALL_COUNT else encode_long(seq)",
    "after_gap": "TRUE if after_gap else FALSE",
}
#: The columns of the rows of level 2 (protocol §3), by the names that quotes and trades have for the same values.
_COLUMNS_OF = {
    "book": ("askSize", "price", "bidSize"),
    "quotes": ("exchange", "askPrice", "askSize", "bidPrice", "bidSize"),
}
_COLUMNS = {
    **FIELD_MAPPINGS[Topic.QUOTES],
    "price": FIELD_MAPPINGS[Topic.TRADES]["price"],
    "exchange": FIELD_MAPPINGS[Topic.QUOTES]["bidExchange"]._replace(record_field="exchange"),
}


def generate_record_encoder(
    topic: Topic, record: AvroType, context: CodeContext, names: Sequence[str] | None = None
) -> str:
    """Return the code of a topic's ``RecordEncoder``, given the Avro type of its records.

    With ``names``, the code is for updates that have exactly these fields in this order: it unpacks their values
    instead of looking each up.
    """
    mappings = {**SHARED_FIELD_MAPPINGS, **FIELD_MAPPINGS[topic]}
    values = {name: f'get("{name}")' for name in mappings}
    unpack = "get = fields.get"
    if names is not None:
        values = {name: f"v{position}" for position, name in enumerate(names) if name in values}
        unpack = f"[{', '.join(values.get(name, '_') for name in names)}] = fields.values()"
    filled = {mapping.record_field: (values.get(name), mapping.convert) for name, mapping in mappings.items()}
    filled["feed_time"] = ("feed_time", FIELD_MAPPINGS[Topic.QUOTES]["quoteTimestamp"].convert)
    encoded = [_field_expression(topic, field, context, filled) for field in record["fields"]]
    all_null = _IS.join(["None", *(value for name, value in values.items() if name in FIELD_MAPPINGS[topic]), "None"])
    return _RECORD_ENCODER.format(
        topic=topic, unpack=unpack, all_null=all_null, encoded=_NEXT_LINE.join(_merge_nulls(encoded))
    )


def generate_array_encoders(record: AvroType, context: CodeContext) -> str:
    """Return the code of the functions that encode a record's arrays."""
    return "".join(
        _array_encoder(field["name"], field["type"]["items"], context) for field in record["fields"] if _is_array(field)
    )


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
    return f"{name}({value})" if _is_array(field) else context.field_expression(declared, convert, value)


def _merge_nulls(expressions: Sequence[str]) -> Iterator[str]:
    """Yield the expressions, each run of nulls as one literal."""
    for is_null, run in groupby(expressions, "NULL".__eq__):
        members = list(run)
        yield from [repr(NULL * len(members))] if is_null else members


def _array_encoder(name: str, row: AvroType, context: CodeContext) -> str:
    mappings: list[FieldMapping] = [_COLUMNS[column] for column in _COLUMNS_OF[name]]
    converters = {mapping.record_field: mapping.convert for mapping in mappings}
    encoded = [
        context.column_expression(field["type"], converters[field["name"]], field["name"]) for field in row["fields"]
    ]
    return _ARRAY_ENCODER.format(name=name, columns=", ".join(converters), encoded=_NEXT_LINE.join(encoded))


def _is_array(field: AvroType) -> bool:
    return isinstance(field["type"], dict) and field["type"]["type"] == "array"
