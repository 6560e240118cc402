"""Write one capture file: secrets replaced, compressed, and readable up to the last write whatever happens then."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from zstandard import COMPRESSOBJ_FLUSH_BLOCK, COMPRESSOBJ_FLUSH_FINISH, ZstdCompressor

from bridge.capture import file_format
from bridge.capture.file_format import Entry, EntryKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

#: Owner only: market data may be licensed, and redaction knows only the secrets of this process.
MODE: Final = 0o600
_COMPRESSION_LEVEL: Final = 3


class CaptureFile:
    """A new capture file; raises OSError from all of its methods."""

    def __init__(self, path: Path, about: Mapping[str, object], redact: Callable[[str], str]) -> None:
        self.path = path
        self.bytes = 0
        self._redact = redact
        self._compressor = ZstdCompressor(level=_COMPRESSION_LEVEL).compressobj()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        try:
            self._compress(redact(file_format.header(about).decode()).encode())
        except OSError:
            self.abandon()
            path.unlink(missing_ok=True)
            raise

    def add(self, entries: Sequence[Entry]) -> None:
        """Write entries; all of them can be read even if the process is killed right behind this."""
        self._compress(b"".join([entry.encode() for entry in redacted(entries, self._redact)]))

    def close(self) -> None:
        """Write the end of the compressed data, and close the file."""
        try:
            self._write(self._compressor.flush(COMPRESSOBJ_FLUSH_FINISH))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is, after an error."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _compress(self, data: bytes) -> None:
        self._write(self._compressor.compress(data) + self._compressor.flush(COMPRESSOBJ_FLUSH_BLOCK))

    def _write(self, data: bytes) -> None:
        while data:
            written = os.write(self._descriptor, data)
            self.bytes += written
            data = data[written:]


def redacted(entries: Sequence[Entry], redact: Callable[[str], str]) -> Iterable[Entry]:
    """Return the entries with secrets replaced: a server may echo a token that it was sent.

    All are looked through at once; only where there is a secret, each is redacted on its own.
    """
    whole = b"\n".join([entry.data for entry in entries]).decode("latin-1")  # maps every byte to itself
    if redact(whole) == whole:
        return entries
    return [_redacted(entry, redact) for entry in entries]


def _redacted(entry: Entry, redact: Callable[[str], str]) -> Entry:
    text = entry.data.decode("latin-1")
    found = redact(text)
    if found == text:
        return entry
    kind = EntryKind.REDACTED_FRAME if entry.is_frame else EntryKind.MARKER
    return Entry(kind, entry.time_us, found.encode("latin-1"))
