"""What became of one line, as text and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.serialization.deserializer import to_json
from bridge.serialization.formatting import fields
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.serialization.schemas import AvroRecord


#: Left out of the text: the key, and what depends on when the line is explained.
_NOT_SHOWN: Final = frozenset({"symbol", "ingest_time_us", "session_id"})


class ExplainedRecord(NamedTuple):
    """A record and where it goes."""

    kind: Topic
    topic: str
    partition: int
    key: bytes | None
    schema: str
    record: AvroRecord

    def __str__(self) -> str:
        place = f"{self.topic}[{self.partition}] {_printable(self.key)}"
        if self.kind is Topic.DLQ:
            return f"{place} dead letter {self.record['reason']}: {_quiet(self.record['error'])}"
        record = {name: value for name, value in self.record.items() if name not in _NOT_SHOWN}
        return " ".join([place, *fields(record)])

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return to_json(
            {
                "topic": self.topic,
                "partition": self.partition,
                "key": self.key,
                "schema": self.schema,
                "record": self.record,
            }
        )


class ClearedField(NamedTuple):
    """A value that could not be read, so that a field is null or lacks a part."""

    topic: str
    field: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.field} could not be read: expected {self.expected}, got {self.value}"


class Explanation(NamedTuple):
    """What became of one line: its records, or the kind of lines without a record that it is.

    ``cleared`` are the values that could not be read, ``unknown_fields`` the fields that no record has.
    """

    records: tuple[ExplainedRecord, ...]
    filtered: str | None
    cleared: tuple[ClearedField, ...]
    unknown_fields: tuple[str, ...]

    @property
    def dead_letter(self) -> AvroRecord | None:
        """Return the dead letter that the line became, if it did."""
        return next((one.record for one in self.records if one.kind is Topic.DLQ), None)

    @property
    def result(self) -> str:
        """Return what became of it in one word."""
        if self.filtered is not None:
            return "filtered"
        return "published" if self.dead_letter is None else "dead_letter"

    def lines(self) -> Iterator[str]:
        """Yield lines of text."""
        if self.filtered is not None:
            yield f"no record: {self.filtered}"
        yield from map(str, self.records)
        yield from (f"  {_quiet(str(one))}" for one in self.cleared)
        yield from (f"  no record has a field {name!r}" for name in self.unknown_fields)

    def json(self, **where: object) -> str:
        """Return one JSON object in ASCII, which begins with where the line was."""
        document: dict[str, object] = {**where, "result": self.result}
        if self.filtered is not None:
            document["filtered"] = self.filtered
        if (letter := self.dead_letter) is not None:
            document |= {"reason": letter["reason"], "error": letter["error"]}
        document |= {
            "records": [one.to_json() for one in self.records],
            "unreadable": [one._asdict() for one in self.cleared],
            "unknown_fields": list(self.unknown_fields),
        }
        return json.dumps(document, separators=(",", ":"))


def _printable(key: bytes | None) -> str:
    return "-" if key is None else _quiet(key.decode(errors="backslashreplace"))


def _quiet(text: object) -> str:
    """Return a text without what could control a terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in str(text))
