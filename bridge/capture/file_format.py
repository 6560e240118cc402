"""The format of capture files: a header, and entries with the time of their receipt. README.md describes it."""

from __future__ import annotations

import json
import struct
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = "aries-capture"
VERSION: Final = 1
SUFFIX: Final = ".capture.zst"
#: The first bytes of a file that is compressed with Zstandard (RFC 8878 section 3.1.1).
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
#: Kind, time of receipt (µs since the epoch) and length of an entry, big-endian.
ENTRY_HEAD: Final = struct.Struct(">cqI")


class EntryKind(Enum):
    """What an entry holds."""

    FRAME = b"F"
    #: A frame in which a secret was replaced, so that it is not what was received.
    REDACTED_FRAME = b"R"
    #: What happened between two frames, as JSON.
    MARKER = b"M"


class Entry(NamedTuple):
    """A frame or a marker, and when it was received or happened (µs since the epoch)."""

    kind: EntryKind
    time_us: int
    data: bytes

    @property
    def is_frame(self) -> bool:
        """Return whether this is a frame of the feed, redacted or not."""
        return self.kind is not EntryKind.MARKER

    def encode(self) -> bytes:
        """Return the entry as it is in a file, before compression."""
        return ENTRY_HEAD.pack(self.kind.value, self.time_us, len(self.data)) + self.data


def marker(event: str, time_us: int, details: Mapping[str, object]) -> Entry:
    """Return the entry of an event."""
    return Entry(EntryKind.MARKER, time_us, _json({"event": event, **details}))


def header(about: Mapping[str, Any]) -> bytes:
    """Return the first line of a file."""
    return _json({"format": FORMAT, "version": VERSION, **about}) + b"\n"


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
