"""Two sessions that publish the same symbols at the same time, as one finding."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.topics import Topic
    from bridge.verify.violations import Place

#: Symbols that are named; the others are counted.
NAMED_SYMBOLS: Final = 5


@dataclass(slots=True)
class _Stretches:
    """The records of one partition that belong to an overlap, in stretches without a record of another session."""

    count: int = 0
    records: int = 0
    latest: int = -1

    def take(self, stretch: int) -> None:
        self.records += 1
        if stretch != self.latest:
            self.count, self.latest = self.count + 1, stretch


@dataclass(slots=True)
class Overlap:
    """The records of a session that come after those of a newer one; ``topic`` and ``place`` are of the first."""

    topic: Topic
    place: Place
    older: int
    newer: int
    from_us: float = math.inf
    to_us: float = -math.inf
    records: int = 0
    symbols: set[str] = field(default_factory=set)
    #: Whether these are the last records of a former owner.
    is_explained: bool = False
    #: How many records there were when it was last looked at: one that still grows is not reported yet.
    settled_records: int = 0
    _partitions: defaultdict[tuple[Topic, int], _Stretches] = field(default_factory=lambda: defaultdict(_Stretches))

    def take(self, symbol: str, ingest_us: int, partition: tuple[Topic, int], stretch: int) -> None:
        """Take a record of the older session; ``stretch`` numbers those of its partition."""
        self.records += 1
        self.symbols.add(symbol)
        self.from_us, self.to_us = min(self.from_us, ingest_us), max(self.to_us, ingest_us)
        self._partitions[partition].take(stretch)

    def has_ended(self) -> bool:
        """Return whether no record was taken since the last call."""
        ended = self.records == self.settled_records
        self.settled_records = self.records
        return ended

    @property
    def most_batches(self) -> int:
        """Return in how many batches they came at least, in the partition with most of them."""
        return max(one.count for one in self._partitions.values())

    @property
    def most_records(self) -> int:
        """Return how many came in the partition with most of them."""
        return max(one.records for one in self._partitions.values())

    def records_of(self, topic: Topic) -> int:
        """Return how many are on a topic."""
        return sum(one.records for (name, _), one in self._partitions.items() if name is topic)

    def text(self, older: str, newer: str, why: str) -> str:
        """Return the finding; ``older`` and ``newer`` are the bridges, as control names them."""
        records = f"{self.records} records come" if self.records > 1 else "1 record comes"
        return (
            f"session {self.older} of {older} and session {self.newer} of {newer} publish the same symbols at the same "
            f"time, {_clock(self.from_us)} to {_clock(self.to_us)} ({(self.to_us - self.from_us) / 1e6:.1f} s): "
            f"{records} after newer ones, of {self._symbols()}. {why}"
        )

    def _symbols(self) -> str:
        named = sorted(self.symbols)[:NAMED_SYMBOLS]
        more = ", ..." if len(self.symbols) > len(named) else ""
        return f"{len(self.symbols)} symbol{'s' if len(self.symbols) > 1 else ''} ({', '.join(named)}{more})"


def _clock(time_us: float) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
