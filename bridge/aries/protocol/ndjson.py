"""Cut frames into lines and lines into JSON objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from bridge.errors import BadLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.market_data import JsonObject

T = TypeVar("T")

#: ``float_hook=str`` keeps the digits of a number as they were written.
_decode: Callable[[bytes], object] = msgspec.json.Decoder(float_hook=str).decode

#: Objects and arrays within one another; messages have five. Python's own limit (1,000) counts from who calls: what
#: is read at one depth could at another not even be printed.
MOST_NESTED = 250
#: A line of so many bytes cannot hold more.
_SHALLOW = 2 * MOST_NESTED


def cut(frame: bytes, most: int) -> tuple[list[bytes], bytes]:
    """Return at most so many lines of a frame (NDJSON), blank ones among them, and the rest of the frame."""
    lines = frame.split(b"\n", most)
    return lines, lines.pop() if len(lines) > most else b""


def parse(line: bytes) -> JsonObject:
    """Return the JSON object of one line.

    Raises ``BadLine`` (reason ``not_utf8``, ``not_json`` or ``not_an_object``).
    """
    try:
        value = _decode(line)
    except UnicodeDecodeError as error:
        raise BadLine("not_utf8", f"the line is not UTF-8: {error.reason}") from None
    except msgspec.DecodeError as error:
        raise BadLine("not_json", f"the line is not JSON: {error}") from None
    except RecursionError:
        raise _nested_too_deeply() from None
    if type(value) is not dict:
        raise BadLine("not_an_object", f"the line is a JSON {_json_type(value)}, not an object")
    if len(line) > _SHALLOW and _may_be_deep(line) and _is_deep(value):
        raise _nested_too_deeply()
    return value


def decoder_of(message: type[T]) -> Callable[[bytes], T | None]:
    """Return a function that decodes a line of just this structure, as ``parse`` does; None for any other line."""
    decode = msgspec.json.Decoder(message, float_hook=str).decode

    def decoded(line: bytes) -> T | None:
        if len(line) > _SHALLOW and _may_be_deep(line):
            return None
        try:
            return decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    return decoded


def _may_be_deep(line: bytes) -> bool:
    """Ask the cheap question: each level takes two brackets, and few lines have as many."""
    return line.count(b"{") + line.count(b"[") > MOST_NESTED


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(MOST_NESTED + 1):
        level = [inner for outer in level for inner in _inside(outer)]
    return bool(level)


def _inside(value: object) -> Iterable[object]:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()


def _nested_too_deeply() -> BadLine:
    return BadLine("not_json", "the line is nested too deeply to be a message")


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "boolean", int: "number", str: "string or number", list: "array"}[type(value)]
