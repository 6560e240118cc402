"""The directory of capture files: their names, and the limit on what they take together."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from bridge.capture.file_format import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PREFIX: Final = "aries-"
_MAX_INSTANCE_CHARACTERS: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CaptureDirectory:
    """The capture files in one directory, of this process and of those before it."""

    def __init__(self, path: Path, max_bytes: int, instance: str) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._instance = re.sub(r"[^A-Za-z0-9._-]", "_", instance)[:_MAX_INSTANCE_CHARACTERS]

    def new_path(self, time_us: int, cause: str) -> Path:
        """Return the path of a file that does not exist yet; names sort by time."""
        while True:
            time = (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y%m%dT%H%M%S.%fZ")
            path = self.path / f"{_PREFIX}{time}-{self._instance}-{cause}{SUFFIX}"
            if not path.exists():
                return path
            time_us += 1

    def make_room(self, wanted_bytes: int, *, keep: Path | None = None) -> None:
        """Delete the oldest files until so many bytes more would be within the limit; ``keep`` is being written."""
        files = sorted(self._files())
        total = sum(size for _, _, size in files)
        for _, path, size in files:
            if total + wanted_bytes <= self.max_bytes:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size

    def _files(self) -> Iterator[tuple[int, Path, int]]:
        """Yield when each file was written last, its path and its size."""
        for path in self.path.glob(f"{_PREFIX}*{SUFFIX}"):
            with suppress(FileNotFoundError):  # another bridge with the same directory has deleted it
                found = path.stat()
                yield found.st_mtime_ns, path, found.st_size
