"""Two sessions that publish the same symbols at the same time, as one finding."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.topics import Topic
    from bridge.verify.violations import Place

#: Symbols that are named; the others are counted.
NAMED_SYMBOLS: Final = 5


@dataclass(slots=True)
class Overlap:
    """The records of a session that come after those of a newer one; ``topic`` and ``place`` are of the first."""

    topic: Topic
    place: Place
    older: int
    newer: int
    from_us: int
    to_us: int
    records: int = 0
    symbols: set[str] = field(default_factory=set)
    #: How many records there were when it was last looked at: one that still grows is not reported yet.
    settled_records: int = 0

    def take(self, symbol: str, ingest_us: int) -> None:
        """Take a record of the older session."""
        self.records += 1
        self.symbols.add(symbol)
        self.from_us, self.to_us = min(self.from_us, ingest_us), max(self.to_us, ingest_us)

    def has_ended(self) -> bool:
        """Return whether no record was taken since the last call."""
        ended = self.records == self.settled_records
        self.settled_records = self.records
        return ended

    def text(self, older: str, newer: str) -> str:
        """Return the finding; ``older`` and ``newer`` are the bridges, as control names them."""
        records = f"{self.records} records come" if self.records > 1 else "1 record comes"
        return (
            f"session {self.older} of {older} and session {self.newer} of {newer} publish the same symbols at the same "
            f"time, {_clock(self.from_us)} to {_clock(self.to_us)} ({(self.to_us - self.from_us) / 1e6:.1f} s): "
            f"{records} after newer ones, of {self._symbols()}. Two bridges had these symbols at once: a "
            "RollingUpdate, a second release, or another number of shards"
        )

    def _symbols(self) -> str:
        named = sorted(self.symbols)[:NAMED_SYMBOLS]
        more = ", ..." if len(self.symbols) > len(named) else ""
        return f"{len(self.symbols)} symbol{'s' if len(self.symbols) > 1 else ''} ({', '.join(named)}{more})"


def _clock(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
