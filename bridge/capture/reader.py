"""Read capture files, whole or cut off by the end of their process."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from zstandard import ZstdDecompressor, ZstdError

from bridge.capture.file_format import ENTRY_HEAD, FORMAT, VERSION, ZSTD_MAGIC, Entry, EntryKind
from bridge.errors import CaptureUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DialectName = Literal["action", "envelope"]
#: A longer entry or header is none: the longest frame that a bridge accepts has 16 MiB.
MAX_ENTRY_BYTES: Final = 64 << 20
MAX_HEADER_BYTES: Final = 1 << 16
#: What is decompressed at a time: small, as 4 bytes can be 128 KiB (RFC 8878 section 3.1.1.2).
READ_BYTES: Final = 4096
_DIALECTS: Final[dict[str, DialectName]] = {"action": "action", "envelope": "envelope"}
_KINDS: Final = {kind.value: kind for kind in EntryKind}


class Capture:
    """A capture that is being read: its header, and its entries once.

    ``name`` is what errors call the file.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._name = name
        self._stream = io.BufferedReader(_Decompressed(stream, name))
        self.header = self._read_header()

    @property
    def dialect(self) -> DialectName | None:
        """Return the dialect of the feed, if the header has one that is known."""
        dialect = self.header.get("dialect")
        return _DIALECTS.get(dialect) if isinstance(dialect, str) else None

    def entries(self) -> Iterator[Entry]:
        """Yield the entries; one that the end of the process has cut off is the end."""
        while len(head := self._stream.read(ENTRY_HEAD.size)) == ENTRY_HEAD.size:
            kind, time_us, length = ENTRY_HEAD.unpack(head)
            if kind not in _KINDS or length > MAX_ENTRY_BYTES:
                raise CaptureUnreadable(f"{self._name} is damaged: there is no entry where one should begin.")
            data = self._stream.read(length)
            if len(data) < length:
                return
            yield Entry(_KINDS[kind], time_us, data)

    def _read_header(self) -> dict[str, Any]:
        line = self._stream.readline(MAX_HEADER_BYTES)
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise CaptureUnreadable(f"{self._name} is no capture: it does not begin with the header of one.")
        if found.get("version") != VERSION:
            raise CaptureUnreadable(
                f"{self._name} has version {found.get('version')!r} of the capture format, and this is a bridge for "
                f"version {VERSION}: read it with the bridge that wrote it, or a newer one."
            )
        return found


def is_capture(first_bytes: bytes) -> bool:
    """Return whether a file that begins like this may be a capture."""
    return first_bytes.startswith(ZSTD_MAGIC)


@contextmanager
def open_capture(path: Path) -> Iterator[Capture]:
    """Open a capture file while the block lasts; raise ``CaptureUnreadable``."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise CaptureUnreadable(f"cannot read {str(path)!r} ({error.strerror}).") from None
    with stream:
        yield Capture(stream, repr(str(path)))


class _Decompressed(io.RawIOBase):
    """The bytes of a compressed stream; what is damaged or cannot be read raises ``CaptureUnreadable``.

    Not ``zstandard``'s own reader: at the end of a file that was not closed, it keeps some of what it has.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._name = name
        self._stream = stream
        self._decompressor = ZstdDecompressor().decompressobj()
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Return that this is a stream to read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Decompress into a buffer; return how many bytes, 0 at the end."""
        try:
            while not self._ready and not self._decompressor.eof and (data := self._stream.read(READ_BYTES)):
                self._ready = memoryview(self._decompressor.decompress(data))
        except ZstdError as error:
            raise CaptureUnreadable(f"{self._name} is no capture, or damaged ({error}).") from None
        except OSError as error:
            raise CaptureUnreadable(f"cannot read {self._name} ({error.strerror}).") from None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size
