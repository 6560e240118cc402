"""Cut frames into lines and lines into JSON objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bridge.errors import BadLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.aries.events import JsonObject

#: ``float_hook=str`` keeps the digits of a number as they were written.
_decode: Callable[[bytes], object] = msgspec.json.Decoder(float_hook=str).decode


def split(frame: bytes) -> list[bytes]:
    """Return the lines of a frame (NDJSON); empty ones are not lines."""
    if b"\n" not in frame:
        return [frame] if frame.strip() else []
    return [line for line in frame.split(b"\n") if line and not line.isspace()]


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
        raise BadLine("not_json", "the line is nested too deeply to be a message") from None
    if type(value) is not dict:
        raise BadLine("not_an_object", f"the line is a JSON {_json_type(value)}, not an object")
    return value


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "boolean", int: "number", str: "string or number", list: "array"}[type(value)]
