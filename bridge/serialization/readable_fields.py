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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.market_data import Update
    from bridge.serialization.converters import Converter
    from bridge.serialization.decimals import DecimalEncoder
    from bridge.serialization.level2_rows import Column, RowLayout
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


#: Every field that may have an unreadable value, by topic.
READ_FIELDS: Mapping[Topic, tuple[str, ...]] = {
    topic: (*mappings, FEED_TIME) for topic, mappings in RECORD_MAPPINGS.items()
}


class UnreadableValue(NamedTuple):
    """A value that could not be read, and what was expected; ``says_none`` if it is a text for "no value"."""

    value: object
    expected: str
    says_none: bool


class UnreadableField(NamedTuple):
    """A field of a topic's record with a value that could not be read."""

    topic: Topic
    name: str
    value: UnreadableValue


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
    unreadable: list[UnreadableField] = []
    has_content = False
    for topic in topics:
        mappings = RECORD_MAPPINGS[topic]
        for name, value in update.fields.items():
            if name not in mappings:
                continue
            found: list[UnreadableValue] = []
            fields[name] = _read(mappings[name].convert, value, decimals, found)
            if name in FIELD_MAPPINGS[topic]:
                has_content |= fields[name] is not None or all(one.says_none for one in found)
            unreadable += [UnreadableField(topic, name, one) for one in found]
        found = []
        feed_time = _read(converters.time, update.feed_time, decimals, found)
        unreadable += [UnreadableField(topic, FEED_TIME, one) for one in found]
    decimals.rounded = rounded
    return Readable(msgspec.structs.replace(update, fields=fields, feed_time=feed_time), unreadable, has_content)


def _read(convert: Converter, value: object, decimals: DecimalEncoder, unreadable: list[UnreadableValue]) -> object:
    """Return the value if it can be read, else what is readable of it or None; report what is not."""
    if value is None:
        return None
    try:
        convert(value, decimals)
    except ValueError as error:
        if convert in _NEVER_NEGATIVE and _is_minus_one(value):
            return None
        if (repair := _REPAIRS.get(convert)) is not None:
            return repair(value, decimals, unreadable)
        unreadable.append(UnreadableValue(value, str(error), says_none=_says_none(value)))
        return None
    return value


def _is_minus_one(value: object) -> bool:
    return value == -1 if type(value) is int else type(value) is str and _MINUS_ONE.fullmatch(value) is not None


def _says_none(value: object) -> bool:
    return type(value) is str and len(value) <= _MAX_NO_VALUE_CHARACTERS and value.lower() in _NO_VALUE


def _repair_statuses(value: object, decimals: DecimalEncoder, unreadable: list[UnreadableValue]) -> object:
    if type(value) is not dict:
        unreadable.append(UnreadableValue(value, "an object of strings", says_none=False))
        return None
    entries = {name: _read(converters.string, status, decimals, unreadable) for name, status in value.items()}
    return {name: status for name, status in entries.items() if status is not None} or None


def _repair_book(value: object, decimals: DecimalEncoder, unreadable: list[UnreadableValue]) -> object:
    return _repair_rows(level2_rows.BOOK_LEVEL, value, decimals, unreadable)


def _repair_quotes(value: object, decimals: DecimalEncoder, unreadable: list[UnreadableValue]) -> object:
    return _repair_rows(level2_rows.EXCHANGE_QUOTE, value, decimals, unreadable)


def _repair_rows(
    layout: RowLayout, value: object, decimals: DecimalEncoder, unreadable: list[UnreadableValue]
) -> object:
    try:
        rows = level2_rows.row_list(value)
    except ValueError as error:
        unreadable.append(UnreadableValue(value, str(error), says_none=False))
        return None
    repaired = (_repair_row(layout, row, decimals, unreadable) for row in rows)
    return [row for row in repaired if row is not None] or None


def _repair_row(
    layout: RowLayout, row: object, decimals: DecimalEncoder, unreadable: list[UnreadableValue]
) -> str | None:
    """Return the row with each column emptied that cannot be read, or None if it is nothing without one of these."""
    try:
        texts = layout.split(row)
    except ValueError as error:
        unreadable.append(UnreadableValue(row, str(error), says_none=False))
        return None
    found: list[UnreadableValue] = []
    read = [_read_column(column, text, decimals, found) for column, text in zip(layout.columns, texts, strict=True)]
    is_complete = all(text or not column.required for column, text in zip(layout.columns, read, strict=True))
    if found or not is_complete:
        unreadable.append(UnreadableValue(row, layout.description, says_none=False))
    return ":".join(read) if is_complete else None


def _read_column(column: Column, text: str, decimals: DecimalEncoder, unreadable: list[UnreadableValue]) -> str:
    return text if text and _read(column.convert, text, decimals, unreadable) is not None else ""


_REPAIRS: Mapping[Converter, Callable[[object, DecimalEncoder, list[UnreadableValue]], object]] = {
    converters.statuses: _repair_statuses,
    level2_rows.book: _repair_book,
    level2_rows.exchange_quotes: _repair_quotes,
}
