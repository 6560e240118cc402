"""NDJSON: frames are split into lines, and lines are decoded as JSON objects.

What other writers of JSON do is understood as far as no digit is in doubt: a byte order mark, NUL bytes behind a line,
NaN and Infinity, several messages in an array, and words instead of JSON to keep the connection alive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from bridge.errors import BadLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.market_data import JsonObject

T = TypeVar("T")

#: As ``float_hook`` it keeps a number with a fraction as the text that was sent, so that no digit is lost. There is no
#: space to strip; ``str`` does the same, but takes twice as long to call.
_unchanged: Callable[[str], str] = str.strip
_decode: Callable[[bytes], object] = msgspec.json.Decoder(float_hook=_unchanged).decode
#: What a line raises that a ``line_decoder`` cannot decode.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

#: Maximum depth of objects and arrays; messages have five levels. It is checked before anything decodes the line, as
#: the depth that Python and its extensions can decode depends on the version and on the caller's frames.
MAX_DEPTH = 250
#: A line of so few bytes is not deeper: each level takes two brackets.
ALWAYS_SHALLOW_BYTES = 2 * MAX_DEPTH

#: What is around a line, but not part of it: white space, NUL bytes, and a byte order mark before it.
_PADDING = b" \t\r\n\v\f\0"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: Lines by which servers keep a connection alive, without quotes and in lower case: [A], as no page shows one.
HEARTBEATS = frozenset({b"ping", b"pong", b"h", b"hb", b"heartbeat", b"keepalive", b"keep-alive", b"alive", b"noop"})
HEARTBEATS |= {b"\x01", b".", b"{}", b"null"}
_MAX_HEARTBEAT_BYTES = 32
_EMPTY_ARRAY = re.compile(rb"\[\s*\]")

#: A text, up to the end of the line if it is not closed. Nothing in it is looked at twice.
_TEXT = rb'"(?:[^"\\]++|\\.)*+"?'
_TEXTS = re.compile(_TEXT, re.DOTALL)
_CONSTANT = rb"(?P<minus>-?)(?:(?P<nan>NaN)|Inf(?:inity)?)\b"
_CONSTANTS = re.compile(_CONSTANT, re.IGNORECASE)
_TEXT_OR_CONSTANT = re.compile(_TEXT + b"|" + _CONSTANT, re.DOTALL | re.IGNORECASE)
_TEXT_OR_DELIMITER = re.compile(_TEXT + rb"|[\[\]{},]", re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING, _CLOSING = b"[{", b"]}"


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


def content(line: bytes) -> bytes:
    """Return a line without what is around it; nothing is left of a blank line."""
    return line.strip(_PADDING).removeprefix(_BYTE_ORDER_MARK).strip(_PADDING)


def is_heartbeat(text: bytes) -> bool:
    """Return whether the content of a line only keeps the connection alive: a word, a number, or an empty array."""
    if len(text) <= _MAX_HEARTBEAT_BYTES and (text.strip(b'"').lower() in HEARTBEATS or text.isdigit()):
        return True
    return _EMPTY_ARRAY.fullmatch(text) is not None


def is_array(text: bytes) -> bool:
    """Return whether the content of a line is an array, whose elements are lines of their own."""
    return text.startswith(b"[")


def split_array(array: bytes, start: int, max_elements: int, max_bytes: int) -> tuple[list[bytes], int]:
    """Return elements of an array from ``start`` on, which is 0 at first, and where the rest starts.

    They are at most ``max_elements``, and end with the one that reaches ``max_bytes``. Arrays in the array are not
    split. What is behind the end of the array is one more element, and so is the rest of an array without an end:
    neither is valid, and whoever decodes it says so.
    """
    elements: list[bytes] = []
    first = start or array.index(b"[") + 1
    depth, limit = 0, first + max_bytes
    for token in _TEXT_OR_DELIMITER.finditer(array, first):
        delimiter = token[0]
        if delimiter in _OPENING:
            depth += 1
            if depth > MAX_DEPTH:
                break
        elif depth and delimiter in _CLOSING:
            depth -= 1
        elif not depth and (delimiter == b"," or delimiter in _CLOSING):
            elements.append(array[first : token.start()])
            first = token.end()
            if delimiter != b",":
                break
            if len(elements) >= max_elements or first >= limit:
                return elements, first
    return [*elements, array[first:]], len(array)


def parse(text: bytes) -> JsonObject:
    """Decode the content of one line as an object; raise ``BadLine`` (``not_utf8``, ``not_json``, ``not_an_object``).

    NaN and Infinity become texts, as all numbers do that are no integers.
    """
    if _is_too_deep(text):
        raise _too_deep()
    try:
        value = _decode_tolerantly(text)
    except UnicodeDecodeError as error:
        raise BadLine("not_utf8", f"the line is not UTF-8: {error.reason}") from None
    except msgspec.DecodeError as error:
        raise BadLine("not_json", f"the line is not JSON: {error}") from None
    except RecursionError:  # the caller's frames leave less than usual
        raise _too_deep() from None
    if type(value) is not dict:
        raise BadLine("not_an_object", f"the line is a JSON {_json_type(value)}, not an object")
    return value


def _decode_tolerantly(text: bytes) -> object:
    try:
        return _decode(text)
    except msgspec.DecodeError:
        if not _CONSTANTS.search(text):
            raise
    return _decode(_TEXT_OR_CONSTANT.sub(_quote_constant, text))


def _quote_constant(match: re.Match[bytes]) -> bytes:
    """Return NaN and Infinity as texts, and texts unchanged: so all else is decoded as in any other line."""
    if match["minus"] is None:
        return match[0]
    return b'"NaN"' if match["nan"] else b'"%sInfinity"' % match["minus"]


def line_decoder(message: type[T]) -> Callable[[bytes], T]:
    """Return a function that decodes a line of this structure as ``parse`` would, and raises ``UNREADABLE`` for others.

    A line of more than ``ALWAYS_SHALLOW_BYTES`` that ``may_be_deep`` must not be given to it.
    """
    return msgspec.json.Decoder(message, float_hook=_unchanged).decode


def may_be_deep(line: bytes) -> bool:
    """Return whether a line has enough brackets to be too deep: a cheap test that few lines pass."""
    return line.count(b"{") + line.count(b"[") > MAX_DEPTH


def _is_too_deep(text: bytes) -> bool:
    """Return whether objects and arrays are nested too deep, by the brackets that are not in texts."""
    if len(text) <= ALWAYS_SHALLOW_BYTES or not may_be_deep(text):
        return False
    depth = 0
    for bracket in _TEXTS.sub(b"", text).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in _OPENING else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _too_deep() -> BadLine:
    return BadLine("not_json", f"the line is nested more than {MAX_DEPTH} levels deep")


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "boolean", int: "number", str: "string or number", list: "array"}[type(value)]
