"""Decoded records as lines: readable text, or JSON for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bridge.serialization.deserializer import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aiokafka import ConsumerRecord

    from bridge.serialization.deserializer import Decoded
    from bridge.serialization.schemas import AvroRecord

#: A text line shows this many rows of a list, and this many characters of a text.
MAX_ROWS = 5
MAX_TEXT_CHARACTERS = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 24 * 60 * 60 * 1000
# Fields that locate a record in the stream; they follow those of the market.
_POSITION_FIELDS = ("event_time", "feed_time", "ingest_time_us", "session_id", "seq", "after_gap")
_DELIMITERS = frozenset("'\"=,/[]{} ")


def text_line(message: ConsumerRecord, decoded: Decoded) -> str:
    """Return time (UTC), topic, key and the fields that are set.

    The symbol is left out if it is the key, and the ingest time if it is the Kafka timestamp.
    """
    record = dict(decoded.record)
    if record.get("symbol") == _key(message):
        del record["symbol"]
    if _milliseconds(record.get("ingest_time_us")) == message.timestamp:
        del record["ingest_time_us"]
    key = "-" if message.key is None else _format_text(_key(message))
    return " ".join([time_of_day(message.timestamp), message.topic, key, *fields(record)])


def json_line(message: ConsumerRecord, decoded: Decoded) -> str:
    """Return one JSON object in ASCII: no character of a feed can control a terminal or end the line."""
    document = {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": _timestamp(message.timestamp),
        "key": message.key,
        "schema": decoded.name,
        "record": decoded.record,
    }
    return json.dumps(to_json(document), default=str, separators=(",", ":"))


def fields(record: AvroRecord) -> Iterator[str]:
    """Yield ``name=value`` for each field that is set and not empty, the position in the stream last."""
    plain = to_json(record)
    position = {name: plain.pop(name) for name in _POSITION_FIELDS if name in plain}
    for name, value in (plain | position).items():
        if value is not None and value not in ([], {}):
            yield f"{name}={_format_microseconds(value) if name.endswith('_us') else _format(value)}"


def time_of_day(epoch_ms: int) -> str:
    """Return the UTC time of day, for any number."""
    seconds, ms = divmod(epoch_ms % _DAY_MS, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}.{ms:03}"


def _key(message: ConsumerRecord) -> Any:
    return to_json({"key": message.key})["key"]


def _milliseconds(microseconds: object) -> int | None:
    return microseconds // 1000 if isinstance(microseconds, int) else None


def _timestamp(epoch_ms: int) -> datetime | None:
    """Return a Kafka timestamp as a time; None if the producer set none, or used another unit."""
    try:
        return _EPOCH + timedelta(milliseconds=epoch_ms) if epoch_ms >= 0 else None
    except OverflowError:
        return None


def _format_microseconds(value: Any) -> str:
    """Return microseconds since the epoch as ISO-8601; numbers beyond the years of datetime unchanged."""
    try:
        return (_EPOCH + timedelta(microseconds=value)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (OverflowError, TypeError):
        return _format(value)


def _format(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case str():
            return _format_text(value)
        case dict():
            return f"{{{' '.join(f'{_format_text(name)}={_format(inner)}' for name, inner in value.items())}}}"
        case list():
            return f"[{' '.join(_format_rows(value))}]"
    return str(value)


def _format_rows(rows: Sequence[Any]) -> Iterator[str]:
    """Yield the column names of records once, then the rows."""
    if rows and isinstance(rows[0], dict):
        yield "/".join(rows[0]) + ":"
    for row in rows[:MAX_ROWS]:
        yield _format_row(row) if isinstance(row, dict) else _format(row)
    if len(rows) > MAX_ROWS:
        yield f"+{len(rows) - MAX_ROWS} more"


def _format_row(row: Mapping[str, Any]) -> str:
    return "/".join(map(_format, row.values()))


def _format_text(text: str) -> str:
    """Return the text, quoted if it has delimiters or could control a terminal, and cut if it is long."""
    if len(text) > MAX_TEXT_CHARACTERS:
        return f"{text[:MAX_TEXT_CHARACTERS]!r}+{len(text) - MAX_TEXT_CHARACTERS}"
    is_plain = text and text.isprintable() and _DELIMITERS.isdisjoint(text)
    return text if is_plain else repr(text)
