"""Captures in tests: entries, written and read back."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bridge.capture.directory import CaptureDirectory
from bridge.capture.file_format import SUFFIX, Entry, EntryKind
from bridge.capture.reader import open_capture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ABOUT = {"dialect": "envelope", "instance": "test-bridge"}


def frame(data: bytes, time_us: int = 1) -> Entry:
    return Entry(EntryKind.FRAME, time_us, data)


def directory(path: Path, max_bytes: int = 1 << 30) -> CaptureDirectory:
    return CaptureDirectory(path, max_bytes, "test-bridge")


def files(path: Path, cause: str = "") -> list[Path]:
    """Return the captures in a directory, oldest first."""
    return sorted(path.glob(f"aries-*{cause}{SUFFIX}"))


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Let writes beyond this size of a file fail, as on a full disk, while the block lasts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def entries(path: Path) -> list[Entry]:
    with open_capture(path) as capture:
        return list(capture.entries())


def frames(*paths: Path) -> list[bytes]:
    return [entry.data for path in paths for entry in entries(path) if entry.is_frame]
