"""What is to be explained: lines of a text, or the frames of a capture, each with where it was found."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from bridge.capture.file_format import ZSTD_MAGIC, EntryKind
from bridge.capture.reader import Capture, is_capture
from bridge.clock import wall_us
from bridge.errors import CaptureUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from bridge.capture.reader import DialectName

STANDARD_INPUT: Final = "-"


class Found(NamedTuple):
    """A frame or a line of a text, its number in the file, and when it was received (µs since the epoch).

    ``frame`` None: another connection begins. ``dialect`` None: the frame does not show its dialect.
    """

    number: int
    time_us: int
    frame: bytes | None
    dialect: DialectName | None


@contextmanager
def opened(name: str) -> Iterator[Source]:
    """Open a file, or standard input if it is called ``-``, while the block lasts; raise ``CaptureUnreadable``."""
    if name == STANDARD_INPUT:
        yield Source(sys.stdin.buffer, "standard input")
        return
    try:
        stream = Path(name).open("rb")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise CaptureUnreadable(f"cannot read {name!r} ({reason}).") from None
    with stream:
        yield Source(stream, repr(name))


class Source:
    """A file that is being read."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
        self._name = name
        try:
            self.is_capture = is_capture(self._stream.peek(len(ZSTD_MAGIC)))
        except OSError as error:
            raise CaptureUnreadable(f"cannot read {name} ({error.strerror}).") from None

    def found(self) -> Iterator[Found]:
        """Yield what is in the file; raise ``CaptureUnreadable``."""
        return self._entries() if self.is_capture else self._lines()

    def _entries(self) -> Iterator[Found]:
        capture = Capture(self._stream, self._name)
        dialect = capture.dialect
        number = 0
        for entry in capture.entries():
            if entry.kind is not EntryKind.MARKER:
                number += 1
                yield Found(number, entry.time_us, entry.data, dialect)
            elif msgspec.json.decode(entry.data).get("event") == "connected":
                yield Found(number, entry.time_us, None, dialect)

    def _lines(self) -> Iterator[Found]:
        try:
            for number, line in enumerate(self._stream, 1):
                yield Found(number, wall_us(), line.removesuffix(b"\n"), dialect_of(line))
        except OSError as error:
            raise CaptureUnreadable(f"cannot read {self._name} ({error.strerror}).") from None


def dialect_of(line: bytes) -> DialectName | None:
    """Return the dialect of a line by its outermost names; None if both could have sent it."""
    try:
        message = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if "action" in message:
        return "action"
    return "envelope" if "type" in message or "payload" in message else None
