"""Several capture files as one capture, such as those that a rotation made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.capture.reader import open_capture
from bridge.errors import CaptureUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bridge.capture.file_format import Entry


def common_dialect(paths: Sequence[Path]) -> str:
    """Return the dialect of these captures; raise ``CaptureUnreadable`` if one is none, or they differ."""
    dialects = {}
    for path in paths:
        with open_capture(path) as capture:
            if capture.dialect is None:
                raise CaptureUnreadable(f"the header of {str(path)!r} has no dialect that is known.")
            dialects[capture.dialect] = path
    if len(dialects) > 1:
        (one, first), (other, second) = dialects.items()
        raise CaptureUnreadable(
            f"{str(first)!r} is of the dialect {one}, and {str(second)!r} of {other}: one server speaks one dialect."
        )
    return next(iter(dialects))


def all_entries(paths: Sequence[Path]) -> Iterator[Entry]:
    """Yield the entries of all files, in this order; raise ``CaptureUnreadable``."""
    for path in paths:
        with open_capture(path) as capture:
            yield from capture.entries()
