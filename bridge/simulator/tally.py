"""Exact counts of lines, so that others' accounts can be compared with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.simulator.fields import Kind


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Say what a line is, for the accounts: its word, and each kind of data that it holds for a symbol.

    A line of the action dialect can hold a quote and a trade at once.
    """

    word: str
    records: tuple[tuple[Kind, str], ...] = ()


@dataclass
class Tally:
    """Count lines by what they are.

    ``words`` counts each line once: ``quote``, ``trade`` … under the names of the simulator's kinds,
    ``composite`` for several kinds in one line, and ``auth``, ``ack``, ``pong``, ``error``, ``marketStatus``,
    ``raw`` for the rest. ``records`` counts each kind of data in a line by ``(kind, symbol)``.
    """

    frames: int = 0
    lines: int = 0
    bytes: int = 0
    words: Counter[str] = field(default_factory=Counter)
    records: Counter[tuple[Kind, str]] = field(default_factory=Counter)

    def add(self, size_bytes: int, marks: Iterable[Mark]) -> None:
        """Count one frame and the lines in it."""
        self.frames += 1
        self.bytes += size_bytes
        for mark in marks:
            self.lines += 1
            self.words[mark.word] += 1
            for record in mark.records:
                self.records[record] += 1

    @property
    def market_data(self) -> int:
        """Return how many lines held data of some symbol."""
        return self.lines - sum(n for word, n in self.words.items() if word in _NOT_OF_A_SYMBOL)

    def by_kind(self) -> Counter[Kind]:
        """Return how many records of each kind there were, over all symbols."""
        counts: Counter[Kind] = Counter()
        for (kind, _), count in self.records.items():
            counts[kind] += count
        return counts


_NOT_OF_A_SYMBOL = frozenset({"auth", "ack", "pong", "error", "marketStatus", "raw"})
