"""Read small files that are named in settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Unreadable(ValueError):
    """A clause that says why a file cannot be read, without its content."""


def read(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file; raise Unreadable, also if it is larger than ``max_bytes``."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise Unreadable(f"cannot be read ({reason})") from None
    if len(content) > max_bytes:
        raise Unreadable(f"is larger than {max_bytes} bytes")
    return content


def read_text(path: Path, max_bytes: int) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark; raise Unreadable."""
    return decode(read(path, max_bytes))


def decode(content: bytes) -> str:
    """Return UTF-8 text without its byte order mark; raise Unreadable, without the content."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text (byte {error.start})") from None
