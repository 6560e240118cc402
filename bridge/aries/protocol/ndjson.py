"""NDJSON: frames are split into lines, and lines are decoded as JSON objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from bridge.errors import BadLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.market_data import JsonObject

T = TypeVar("T")

#: ``float_hook=str`` keeps a number with a fraction as the text that was sent, so that no digit is lost.
_decode: Callable[[bytes], object] = msgspec.json.Decoder(float_hook=str).decode

#: Maximum depth of objects and arrays; messages have five levels. Python's recursion limit (1,000) includes the
#: caller's frames, so that a value which could be decoded in one place could not even be printed in another.
MAX_DEPTH = 250
#: A line of so few bytes is not deeper: each level takes two brackets.
_ALWAYS_SHALLOW_BYTES = 2 * MAX_DEPTH


#: Blank lines, as many as there are; what ``bytes.strip`` removes is blank.
_BLANK_LINES = re.compile(rb"[ \t\r\n\v\f]*\n")


def split_lines(frame: bytes, start: int, max_lines: int, max_bytes: int) -> tuple[list[bytes], int]:
    """Return lines of a frame from ``start`` on, and where the rest of the frame starts.

    They are at most ``max_lines``, and end with the one that reaches ``max_bytes``. Blank lines are included, but not
    those that a long frame has before them. No byte behind them is copied, so that a frame of any length costs what
    its bytes cost once.
    """
    size = len(frame)
    if not start and size <= max_bytes and frame.count(b"\n") < max_lines:
        return frame.split(b"\n"), size
    blank = _BLANK_LINES.match(frame, start, start + max_bytes)
    end = first = start if blank is None else blank.end()
    if first == start + max_bytes:
        return [], first
    for _ in range(max_lines):
        newline = frame.find(b"\n", end)
        if newline < 0:
            return frame[first:].split(b"\n"), size
        end = newline + 1
        if end - start >= max_bytes:
            break
    return frame[first : end - 1].split(b"\n"), end


def parse(line: bytes) -> JsonObject:
    """Decode the JSON object of one line; raise ``BadLine`` (``not_utf8``, ``not_json`` or ``not_an_object``)."""
    try:
        value = _decode(line)
    except UnicodeDecodeError as error:
        raise BadLine("not_utf8", f"the line is not UTF-8: {error.reason}") from None
    except msgspec.DecodeError as error:
        raise BadLine("not_json", f"the line is not JSON: {error}") from None
    except RecursionError:
        raise _too_deep() from None
    if type(value) is not dict:
        raise BadLine("not_an_object", f"the line is a JSON {_json_type(value)}, not an object")
    if len(line) > _ALWAYS_SHALLOW_BYTES and _may_be_deep(line) and _is_deep(value):
        raise _too_deep()
    return value


def line_decoder(message: type[T]) -> Callable[[bytes], T | None]:
    """Return a function that decodes a line of this structure as ``parse`` would, and returns None for any other."""
    decode = msgspec.json.Decoder(message, float_hook=str).decode

    def decode_or_none(line: bytes) -> T | None:
        if len(line) > _ALWAYS_SHALLOW_BYTES and _may_be_deep(line):
            return None
        try:
            return decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    return decode_or_none


def _may_be_deep(line: bytes) -> bool:
    """Return whether a line has enough brackets to be too deep: a cheap test that few lines pass."""
    return line.count(b"{") + line.count(b"[") > MAX_DEPTH


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _children(outer)]
    return bool(level)


def _children(value: object) -> Iterable[object]:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()


def _too_deep() -> BadLine:
    return BadLine("not_json", f"the line is nested more than {MAX_DEPTH} levels deep")


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "boolean", int: "number", str: "string or number", list: "array"}[type(value)]
