"""Exact counts of lines, for comparison with the bridge's accounts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.simulator.data_kinds import DataKind

#: The types of lines that hold no data of a symbol.
_NO_MARKET_DATA: Final = ("auth", "ack", "pong", "error", "marketStatus", "raw")


class LineLabel(msgspec.Struct, frozen=True, gc=False):
    """What a line is counted as: its type, and each record that it holds as ``(kind, symbol)``.

    A line of the action dialect can hold a quote and a trade.
    """

    line_type: str
    records: tuple[tuple[DataKind, str], ...] = ()


@dataclass
class LineCounts:
    """Counts of frames, bytes, lines and records.

    ``lines_by_type`` counts each line once: ``quote``, ``trade`` … by the kind of its data, ``composite`` for
    several kinds in one line, and ``auth``, ``ack``, ``pong``, ``error``, ``marketStatus``, ``raw`` for the rest.
    ``records`` counts the data in the lines by ``(kind, symbol)``.
    """

    frames: int = 0
    lines: int = 0
    bytes: int = 0
    lines_by_type: Counter[str] = field(default_factory=Counter)
    records: Counter[tuple[DataKind, str]] = field(default_factory=Counter)

    def add_frame(self, size_bytes: int, labels: Iterable[LineLabel]) -> None:
        """Count one frame and the lines in it."""
        self.frames += 1
        self.bytes += size_bytes
        for label in labels:
            self.lines += 1
            self.lines_by_type[label.line_type] += 1
            for record in label.records:
                self.records[record] += 1

    @property
    def market_data(self) -> int:
        """Return the number of lines with data of a symbol."""
        return self.lines - sum(self.lines_by_type[line_type] for line_type in _NO_MARKET_DATA)
