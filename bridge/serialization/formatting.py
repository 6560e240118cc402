"""Decoded records as lines: for people, and as JSON for programs."""

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

#: So many rows of a list, and characters of a text, stand in a line for people.
SHOWN_ROWS = 5
SHOWN_CHARACTERS = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 24 * 60 * 60 * 1000
# People look for the market first; these say where in the stream it stands.
_BOOKKEEPING = ("event_time", "feed_time", "ingest_time_us", "session_id", "seq", "after_gap")
_TELLING_APART = frozenset("'\"=,/[]{} ")


def text_line(message: ConsumerRecord, decoded: Decoded) -> str:
    """Return time (UTC), topic, key and the fields that are set.

    Left out is what the line says already: the symbol that is the key, the ingest time that is the time.
    """
    record = dict(decoded.record)
    if record.get("symbol") == _key(message):
        del record["symbol"]
    if _milliseconds(record.get("ingest_time_us")) == message.timestamp:
        del record["ingest_time_us"]
    key = "-" if message.key is None else _text(_key(message))
    return " ".join([clock(message.timestamp), message.topic, key, *fields(record)])


def json_line(message: ConsumerRecord, decoded: Decoded) -> str:
    """Return one JSON object in ASCII, so that no character of a feed can steer a terminal or end a line."""
    shown = {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": _time(message.timestamp),
        "key": message.key,
        "schema": decoded.name,
        "record": decoded.record,
    }
    return json.dumps(to_json(shown), default=str, separators=(",", ":"))


def fields(record: AvroRecord) -> Iterator[str]:
    """Yield ``name=value`` for each field that holds something, the bridge's bookkeeping last."""
    plain = to_json(record)
    last = {name: plain.pop(name) for name in _BOOKKEEPING if name in plain}
    for name, value in (plain | last).items():
        if value is not None and value not in ([], {}):
            yield f"{name}={_instant(value) if name.endswith('_us') else _shown(value)}"


def clock(epoch_ms: int) -> str:
    """Return the time of day, UTC, whatever the number."""
    seconds, ms = divmod(epoch_ms % _DAY_MS, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}.{ms:03}"


def _key(message: ConsumerRecord) -> Any:
    return to_json({"key": message.key})["key"]


def _milliseconds(microseconds: object) -> int | None:
    return microseconds // 1000 if isinstance(microseconds, int) else None


def _time(epoch_ms: int) -> datetime | None:
    """Return a Kafka timestamp as a time; null where a producer wrote none, or another unit."""
    try:
        return _EPOCH + timedelta(milliseconds=epoch_ms) if epoch_ms >= 0 else None
    except OverflowError:
        return None


def _instant(value: Any) -> str:
    """Return µs since 1970 as ISO-8601, or as the number where that is beyond all years."""
    try:
        return (_EPOCH + timedelta(microseconds=value)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (OverflowError, TypeError):
        return _shown(value)


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case str():
            return _text(value)
        case dict():
            return f"{{{' '.join(f'{_text(name)}={_shown(inner)}' for name, inner in value.items())}}}"
        case list():
            return f"[{' '.join(_rows(value))}]"
    return str(value)


def _rows(rows: Sequence[Any]) -> Iterator[str]:
    """Yield rows compactly, the names of their columns once and before them."""
    if rows and isinstance(rows[0], dict):
        yield "/".join(rows[0]) + ":"
    for row in rows[:SHOWN_ROWS]:
        yield _row(row) if isinstance(row, dict) else _shown(row)
    if len(rows) > SHOWN_ROWS:
        yield f"+{len(rows) - SHOWN_ROWS} more"


def _row(row: Mapping[str, Any]) -> str:
    return "/".join(map(_shown, row.values()))


def _text(text: str) -> str:
    """Return the text, quoted where its end could be mistaken or a terminal steered by it."""
    if len(text) > SHOWN_CHARACTERS:
        return f"{text[:SHOWN_CHARACTERS]!r}+{len(text) - SHOWN_CHARACTERS}"
    plain = text and text.isprintable() and _TELLING_APART.isdisjoint(text)
    return text if plain else repr(text)
