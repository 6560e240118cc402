"""A limit on the length of a log line: collectors cut longer ones, which makes them invalid JSON, or reject them.

Lists and texts of an event that is too long are cut step by step until it fits. What is left out is counted in the
field ``left_out``, so that all other fields keep their types.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

_T = TypeVar("_T")

#: Of a line with its end.
MAX_LINE_BYTES: Final = 8192
#: How many items of lists and objects, and characters of texts, are kept in each step.
_STEPS: Final = ((200, 2000), (50, 1000), (20, 500), (10, 200), (4, 100), (2, 50))
#: Fields that are kept whatever the others hold, of a length that fits though each character may take 12 bytes.
_ALWAYS: Final = ("timestamp", "level", "severity", "logger", "event")
_ALWAYS_CHARACTERS: Final = 100
_MAX_DEPTH: Final = 20
_MAX_INTEGER_BITS: Final = 128
_MAX_NOTES: Final = 10
_MAX_PATH_CHARACTERS: Final = 50


def render(event: Mapping[str, object]) -> str:
    """Return an event of JSON types as JSON, without what is too much for one line."""
    return _fitting(event)[1]


def limited(event: Mapping[str, object]) -> Mapping[str, object]:
    """Return an event of JSON types without what is too much for one line."""
    return _fitting(event)[0]


def _fitting(event: Mapping[str, object]) -> tuple[Mapping[str, object], str]:
    if (line := _fits(event)) is not None:
        return event, line
    for max_items, max_characters in _STEPS:
        cut = _Cut(max_items, max_characters)
        shorter = {**cut.fields(event), "left_out": cut.notes}
        if (line := _fits(shorter)) is not None:
            return shorter, line
    least = {key: str(event[key])[:_ALWAYS_CHARACTERS] for key in _ALWAYS if key in event}
    shortest = {**least, "left_out": ["all other fields"]}
    return shortest, json.dumps(shortest)


def _fits(event: Mapping[str, object]) -> str | None:
    try:
        line = json.dumps(event)  # in ASCII
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, or too many levels
        return None
    return line if len(line) < MAX_LINE_BYTES else None


class _Cut:
    """One step: what it keeps at most, and notes of what it left out."""

    def __init__(self, max_items: int, max_characters: int) -> None:
        self.notes: list[str] = []
        self._max_items = max_items
        self._max_characters = max_characters

    def fields(self, event: Mapping[str, object]) -> dict[str, object]:
        """Return the fields of an event, those of every event in any case."""
        others = {key: value for key, value in event.items() if key not in _ALWAYS}
        items = [*((key, event[key]) for key in _ALWAYS if key in event), *self._items(others, "fields")]
        return {self._text(key, key): self._value(value, key, 0) for key, value in items}

    def _value(self, value: object, path: str, depth: int) -> object:
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, int) and not isinstance(value, bool):
            return value if value.bit_length() <= _MAX_INTEGER_BITS else self._text(hex(value), path)
        if not isinstance(value, dict | list | tuple):
            return value
        if depth == _MAX_DEPTH:
            self._note(path, len(value), "items")
            return type(value)()
        if isinstance(value, dict):
            items = self._items(value, path)
            return {self._text(key, path): self._value(item, f"{path}.{key}", depth + 1) for key, item in items}
        return [self._value(item, f"{path}.{at}", depth + 1) for at, item in enumerate(self._kept(list(value), path))]

    def _items(self, fields: Mapping[str, object], path: str) -> list[tuple[str, object]]:
        return self._kept([(str(key), value) for key, value in fields.items()], path)

    def _kept(self, items: list[_T], path: str) -> list[_T]:
        """Return the first and the last items: of a traceback, the last frame says where the error is."""
        if (left_out := len(items) - self._max_items) <= 0:
            return items
        self._note(path, left_out, "items")
        half = self._max_items // 2
        return items[: self._max_items - half] + items[len(items) - half :]

    def _text(self, text: str, path: str) -> str:
        if (left_out := len(text) - self._max_characters) <= 0:
            return text
        self._note(path, left_out, "characters")
        return text[: self._max_characters] + "…"

    def _note(self, path: str, count: int, unit: str) -> None:
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(f"{path[:_MAX_PATH_CHARACTERS]}: {count} {unit}")
