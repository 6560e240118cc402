"""The plan of the compiled step: the tables and schemas of the encoder in Python, as numbers and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.market_data import UpdateKind
from bridge.pipeline.compiled import is_built
from bridge.pipeline.partition_queue import MAX_RECORD_BYTES, RECORD_OVERHEAD_BYTES
from bridge.pipeline.routing import CONFLATED
from bridge.serialization import converters, level2_rows
from bridge.serialization.fast.binary import NULL, PRESENT, encode_boolean, encode_string
from bridge.serialization.fast.code_context import branch
from bridge.serialization.field_mappings import FIELD_MAPPINGS, RECORD_MAPPINGS, REQUIRED_FIELDS, TOPICS_WITH_CLEARED
from bridge.serialization.records import record_topics
from bridge.topics import LATEST_OF, Topic

if is_built():
    from bridge.pipeline.compiled import _lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.market_data import UpdateShape
    from bridge.pipeline.accounts import Accounts
    from bridge.pipeline.compiled._lines import LineEncoder
    from bridge.pipeline.ingest import Ingest
    from bridge.pipeline.record_buffer import RecordBuffer
    from bridge.serialization.converters import Converter
    from bridge.serialization.schemas import Schemas

#: The names of the module's constants for values, by converter.
_VALUE_TYPES: Final[Mapping[Converter, str]] = {
    converters.price: "PRICE",
    converters.price_change: "CHANGE",
    converters.quantity: "PRICE",  # 0 or more as well; the scale is the schema's
    converters.size: "SIZE",
    converters.size_change: "SIZE_CHANGE",
    converters.double: "DOUBLE",
    converters.string: "STRING",
    converters.time: "TIME",
    level2_rows.book: "ROWS",
    level2_rows.exchange_quotes: "ROWS",
}
_ROW_LAYOUTS: Final = {
    level2_rows.book: level2_rows.BOOK_LEVEL,
    level2_rows.exchange_quotes: level2_rows.EXCHANGE_QUOTE,
}
#: The names of its constants for what the bridge adds to a record.
_METADATA: Final = {
    "symbol": "SYMBOL_SLOT",
    "feed_time": "FEED_TIME",
    "ingest_time_us": "INGEST_TIME",
    "session_id": "SESSION",
    "seq": "SEQ",
    "after_gap": "AFTER_GAP",
    "cleared": "CLEARED",
}
_SYMBOL: Final = "symbol"
_EVERY_NAME: Final = frozenset[str]().union(*FIELD_MAPPINGS.values())


def line_encoder(
    shape: UpdateShape,
    schemas: Schemas,
    prefixes: Mapping[Topic, bytes],
    *,
    ingest: Ingest,
    buffer: RecordBuffer,
    accounts: Accounts,
    is_full: bool | None,
) -> LineEncoder:
    """Return the compiled step of a dialect for this pipeline; it must have been built (``is_built``).

    It leaves to Python what is merged: latest states, and what conflates at intervals.
    """
    conflated = CONFLATED if ingest.conflation.interval_us else frozenset[Topic]()
    left_to_python = conflated.union(LATEST_OF if ingest.latest is not None else ())
    layouts = _layouts(shape)
    topics = [*dict.fromkeys(layouts.values())]
    return _lines.LineEncoder(
        shape=_shape(shape),
        kinds=tuple(
            (word.encode(), topics.index(layouts[kind])) for word, kind in shape.kinds.items() if kind in layouts
        ),
        layouts=tuple(_layout(one, schemas, prefixes, left_to_python, is_full=is_full) for one in topics),
        no_texts=tuple(text.encode() for text in converters.NO_TEXT),
        max_rows=level2_rows.MAX_ROWS,
        max_record_bytes=MAX_RECORD_BYTES,
        record_overhead_bytes=RECORD_OVERHEAD_BYTES,
        routes=ingest.routes,
        buffer=buffer,
        accounts=accounts,
        overload=ingest.overload,
        last_data=ingest.last_data_us,
    )


def _layouts(shape: UpdateShape) -> Mapping[UpdateKind, tuple[Topic, ...]]:
    """Return the topics of each kind of update about a symbol: kinds with the same topics share a layout."""
    return {
        kind: record_topics(kind, _EVERY_NAME) for kind in shape.kinds.values() if kind is not UpdateKind.MARKET_STATUS
    }


def _shape(shape: UpdateShape) -> tuple[object, ...]:
    fixed = [
        (key.encode(), in_holder, None in words, tuple(word.encode() for word in words if word is not None))
        for in_holder, keys in ((False, shape.words), (shape.holder is not None, shape.update_words))
        for key, words in keys.items()
    ]
    return shape.holder and shape.holder.encode(), b"type", b"data", shape.feed_time.encode(), tuple(fixed)


def _layout(
    topics: tuple[Topic, ...],
    schemas: Schemas,
    prefixes: Mapping[Topic, bytes],
    left_to_python: Iterable[Topic],
    *,
    is_full: bool | None,
) -> tuple[object, ...]:
    """Return the fields of updates for these topics, their records, and the key of the routes for each subset."""
    names = [_SYMBOL, *dict.fromkeys(name for topic in topics for name in RECORD_MAPPINGS[topic])]
    records = tuple(
        (
            topic,
            prefixes[topic],
            names.index(REQUIRED_FIELDS[topic]) if topic in REQUIRED_FIELDS else -1,
            topic in CONFLATED,
            topic in left_to_python,
            _slots(topic, schemas[topic].parsed, names, is_full=is_full),
        )
        for topic in topics
    )
    subsets = tuple(
        tuple(topic for place, topic in enumerate(topics) if bits >> place & 1) for bits in range(1 << len(topics))
    )
    return tuple(_field(name, topics, schemas) for name in names), records, subsets


def _slots(topic: Topic, record: Any, names: list[str], *, is_full: bool | None) -> tuple[tuple[int, int, bytes], ...]:
    """Return what each field of a record is filled with."""
    filled = {mapping.record_field: names.index(name) for name, mapping in RECORD_MAPPINGS[topic].items()}
    slots = []
    for field in record["fields"]:
        name = field["name"]
        if name in _METADATA:
            slots.append((_constant(_METADATA[name]), 0, b""))
        elif name == "is_full":
            slots.append((_lines.LITERAL, 0, NULL if is_full is None else PRESENT + encode_boolean(is_full)))
        elif name in filled:
            slots.append((_lines.FIELD, filled[name], b""))
        elif branch(field["type"])[1]:
            slots.append((_lines.LITERAL, 0, NULL))
        else:
            raise ValueError(f"no field of an update fills the field {name} of {topic}, and it cannot be null")
    return tuple(slots)


def _field(name: str, topics: tuple[Topic, ...], schemas: Schemas) -> tuple[object, ...]:
    """Return how a field of updates is read and encoded, and the topics that it belongs to, as bits."""
    if name == _SYMBOL:
        return name.encode(), _lines.SYMBOL, 0, 0, (None,) * len(topics), ()
    mappings = {topic: RECORD_MAPPINGS[topic][name] for topic in topics if name in RECORD_MAPPINGS[topic]}
    [(convert, declared)] = _distinct(
        (mapping.convert, _type_of(schemas[topic].parsed, mapping.record_field)) for topic, mapping in mappings.items()
    )
    cleared = tuple(
        encode_string(mappings[topic].record_field) if topic in mappings and topic in TOPICS_WITH_CLEARED else None
        for topic in topics
    )
    own = sum(1 << place for place, topic in enumerate(topics) if name in FIELD_MAPPINGS[topic])
    columns = _columns(_ROW_LAYOUTS[convert], declared) if convert in _ROW_LAYOUTS else ()
    inner, may_be_null = branch(declared)
    if not may_be_null and not columns:
        raise ValueError(f"{name} fills a field that cannot be null")
    return name.encode(), _constant(_VALUE_TYPES[convert]), inner.get("scale", 0), own, cleared, columns


def _columns(layout: level2_rows.RowLayout, declared: Any) -> tuple[tuple[int, int, bool, int], ...]:
    """Return the columns of rows in the order of the record, each with its position in the feed's row."""
    positions = {column.record_field: place for place, column in enumerate(layout.columns)}
    columns = []
    for field in declared["items"]["fields"]:
        position = positions[field["name"]]
        inner, may_be_null = branch(field["type"])
        value_type = _constant(_VALUE_TYPES[layout.columns[position].convert])
        columns.append((value_type, inner.get("scale", 0), not may_be_null, position))
    return tuple(columns)


def _type_of(record: Any, name: str) -> Any:
    [declared] = [field["type"] for field in record["fields"] if field["name"] == name]
    return declared


def _distinct(pairs: Iterable[tuple[Converter, Any]]) -> list[tuple[Converter, Any]]:
    """Return the different ones: a field that goes to several topics is read in one way."""
    found: list[tuple[Converter, Any]] = []
    for pair in pairs:
        if pair not in found:
            found.append(pair)
    return found


def _constant(name: str) -> int:
    value: int = getattr(_lines, name)
    return value
