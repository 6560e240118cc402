"""What becomes of values that cannot be read: null in their fields, so that the rest of an update is published.

Public feeds send ``"N/A"``, ``NaN`` or ``-1`` for "none", and now and then a value of another type. One odd value must
not cost a record: it becomes null, and it is reported, so that a change of the feed's format stays visible.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bridge.serialization import converters, level2_rows
from bridge.serialization.field_mappings import FIELD_MAPPINGS, RECORD_MAPPINGS
from bridge.serialization.level2_rows import BOOK_LEVEL, EXCHANGE_QUOTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.market_data import Update
    from bridge.serialization.converters import Converter
    from bridge.serialization.decimals import DecimalEncoder
    from bridge.serialization.level2_rows import RowLayout
    from bridge.topics import Topic

#: The name under which the server's time of a message is reported.
FEED_TIME = "timestamp"
#: Texts that feeds send for "no value" where a number or a time is due, in lower case.
_NO_VALUE = frozenset(
    {"", "-", "--", "n/a", "na", "nan", "null", "none", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}
)
_MAX_NO_VALUE_CHARACTERS = max(map(len, _NO_VALUE))
#: ``-1`` in any notation: "no value" for what is never below 0.
_MINUS_ONE = re.compile(r"-1(?:\.0*)?")
_NEVER_NEGATIVE = frozenset({converters.price, converters.quantity, converters.size})
#: What of a list of rows or a map can be read is kept.
_PARTLY_READABLE = frozenset({converters.statuses, level2_rows.book, level2_rows.exchange_quotes})


#: Every field that may have an unreadable value, by topic.
READ_FIELDS: Mapping[Topic, tuple[str, ...]] = {
    topic: (*mappings, FEED_TIME) for topic, mappings in RECORD_MAPPINGS.items()
}


class UnreadableField(NamedTuple):
    """A value that could not be read for a topic's record, and what was expected.

    ``says_none``: it is a text for "no value".
    """

    topic: Topic
    name: str
    value: object
    expected: str
    says_none: bool = False


class Readable(NamedTuple):
    """An update in which every value can be read or is null, and what was replaced."""

    update: Update
    unreadable: list[UnreadableField]
    #: Whether a topic has anything but values that could not be read.
    has_content: bool


def readable(update: Update, topics: Iterable[Topic], decimals: DecimalEncoder) -> Readable:
    """Return the update with null in place of each value that cannot be read for a record of one of these topics.

    A row of level 2 without its price or exchange is left out instead, and so is an entry of a map. Rounded decimals
    are not counted, as nothing is encoded.
    """
    rounded = decimals.rounded
    fields = dict(update.fields)
    feed_time = update.feed_time
    unreadable: list[UnreadableField] = []
    has_content = False
    for topic in topics:
        mappings, own = RECORD_MAPPINGS[topic], FIELD_MAPPINGS[topic]
        for name, value in update.fields.items():
            if name in mappings:
                before = len(unreadable)
                read = fields[name] = _Field(topic, name, decimals, unreadable).read(mappings[name].convert, value)
                if name in own and not has_content:
                    has_content = read is not None or len(unreadable) == before or unreadable[-1].says_none
        feed_time = _Field(topic, FEED_TIME, decimals, unreadable).read(converters.time, update.feed_time)
    decimals.rounded = rounded
    return Readable(msgspec.structs.replace(update, fields=fields, feed_time=feed_time), unreadable, has_content)


class _Field:
    """A field of an update: what is readable of its value, and where to report what is not."""

    __slots__ = ("_decimals", "_name", "_topic", "_unreadable")

    def __init__(self, topic: Topic, name: str, decimals: DecimalEncoder, unreadable: list[UnreadableField]) -> None:
        self._topic = topic
        self._name = name
        self._decimals = decimals
        self._unreadable = unreadable

    def read(self, convert: Converter, value: object) -> object:
        """Return the value if it can be read, else what is readable of it or None."""
        if value is None:
            return None
        try:
            convert(value, self._decimals)
        except ValueError as error:
            if convert in _NEVER_NEGATIVE and _is_minus_one(value):
                return None
            if convert in _PARTLY_READABLE:
                return self._read_part(convert, value)
            self._report(value, str(error), says_none=_says_none(value))
            return None
        return value

    def _read_part(self, convert: Converter, value: object) -> object:
        if convert is converters.statuses:
            return self._read_statuses(value)
        return self._read_rows(BOOK_LEVEL if convert is level2_rows.book else EXCHANGE_QUOTE, value)

    def _read_statuses(self, value: object) -> object:
        if type(value) is not dict:
            self._report(value, "an object of strings")
            return None
        entries = {name: self.read(converters.string, status) for name, status in value.items()}
        return {name: status for name, status in entries.items() if status is not None} or None

    def _read_rows(self, layout: RowLayout, value: object) -> object:
        try:
            rows = level2_rows.row_list(value)
        except ValueError as error:
            self._report(value, str(error))
            return None
        read = (self._read_row(layout, row) for row in rows)
        return [row for row in read if row is not None] or None

    def _read_row(self, layout: RowLayout, row: object) -> str | None:
        """Return the row with each unreadable column emptied, or None if it is nothing without one of these."""
        try:
            texts = layout.split(row)
        except ValueError as error:
            self._report(row, str(error))
            return None
        columns: list[UnreadableField] = []
        field = _Field(self._topic, self._name, self._decimals, columns)
        read = [
            text if text and field.read(column.convert, text) is not None else ""
            for column, text in zip(layout.columns, texts, strict=True)
        ]
        is_complete = all(text or not column.required for column, text in zip(layout.columns, read, strict=True))
        if columns or not is_complete:
            self._report(row, layout.description)
        return ":".join(read) if is_complete else None

    def _report(self, value: object, expected: str, *, says_none: bool = False) -> None:
        self._unreadable.append(UnreadableField(self._topic, self._name, value, expected, says_none))


def _is_minus_one(value: object) -> bool:
    return value == -1 if type(value) is int else type(value) is str and _MINUS_ONE.fullmatch(value) is not None


def _says_none(value: object) -> bool:
    return type(value) is str and len(value) <= _MAX_NO_VALUE_CHARACTERS and value.lower() in _NO_VALUE
