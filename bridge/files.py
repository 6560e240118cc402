"""Read small files that a setting names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Unreadable(ValueError):
    """Say in a clause why a file cannot be read; never what it holds."""


def read(path: Path, most_bytes: int) -> bytes:
    """Return the content of a file; raise Unreadable, also where it has more than ``most_bytes``."""
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise Unreadable(f"cannot be read ({reason})") from None
    if len(content) > most_bytes:
        raise Unreadable(f"is larger than {most_bytes} bytes")
    return content


def text(path: Path, most_bytes: int) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark; raise Unreadable."""
    return decoded(read(path, most_bytes))


def decoded(content: bytes) -> str:
    """Return UTF-8 text without byte order mark; raise Unreadable, which does not cite the content."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text (byte {error.start})") from None
