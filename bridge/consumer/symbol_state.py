"""The state of one symbol on one topic, merged from its records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.consumer.level2_book import Level2Book
from bridge.serialization.field_mappings import CHANGE_FIELDS
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.serialization.schemas import AvroRecord

#: Fields that are about the record, not about the market.
_OF_THE_RECORD: Final = frozenset({"symbol", "ingest_time_us", "session_id", "seq", "after_gap", "cleared"})
#: Fields of level 2 that are in the book.
_OF_THE_BOOK: Final = frozenset({"book", "quotes", "is_full"})
_NOT_MERGED: Final = _OF_THE_RECORD | _OF_THE_BOOK | CHANGE_FIELDS


class SymbolState:
    """What is known of a symbol on a topic.

    ``fields`` has the last known value of each field, without those that are not known; of time and sales it has those
    of the last execution. ``book`` is empty but for level 2. Until ``is_complete``, it is known in part only: no record
    with ``after_gap`` was seen yet, or records were missed, or level 2 by changes has lost some.
    """

    __slots__ = ("book", "fields", "is_complete", "seq", "session_id", "symbol", "topic")

    def __init__(self, topic: Topic, symbol: str) -> None:
        self.topic = topic
        self.symbol = symbol
        self.session_id = -1
        self.seq = -1
        self.is_complete = False
        self.fields: dict[str, Any] = {}
        self.book = Level2Book()

    def apply(self, record: AvroRecord) -> None:
        """Take the next record."""
        if record["after_gap"] or record["session_id"] != self.session_id:
            self.fields, self.book = {}, Level2Book()
            # Of level 2 by changes only the first message of a session can have all rows.
            is_part = record.get("is_full") is False and record["seq"] != 0
            self.is_complete = bool(record["after_gap"]) and not is_part
        self.session_id, self.seq = record["session_id"], record["seq"]  # type: ignore[assignment]  # see the schemas
        if self.topic is Topic.TIMESALES:
            self.fields = dict(_present(record))
            return
        if self.topic is Topic.L2:
            self.book.apply(record)
        for name, value in _present(record):
            self.fields[name] = self.fields.get(name, {}) | value if isinstance(value, dict) else value
        cleared: Any = record.get("cleared", ())
        for name in cleared:
            self.fields.pop(name, None)


def _present(record: AvroRecord) -> Iterator[tuple[str, Any]]:
    """Yield the fields that are in this message and hold until another one."""
    for name, value in record.items():
        if value is not None and name not in _NOT_MERGED:
            yield name, value
