"""What breaks a promise: each finding with its place, what is there, and what was expected."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bridge.topics import Topic

#: So many findings of one kind on one topic are kept in full; the others are counted.
MOST_KEPT: Final = 100


class Kind(StrEnum):
    """Name what is wrong."""

    HOLE = "hole"  # seq jumps, and nothing explains it
    OVERTAKING = "overtaking"  # a record comes after a younger one of its symbol
    REPEAT = "repeat"  # a record comes again, and no rebuilt producer explains it
    AFTER_GAP = "after_gap"  # a session's first record of a symbol does not say so
    KEY = "key"
    PARTITION = "partition"
    PARTITION_COUNTS = "partition_counts"
    TIMESTAMP = "timestamp"
    UNDECODABLE = "undecodable"
    SESSION = "session"  # records of a session that control does not know
    ACCOUNTS = "accounts"  # the accounts on control do not add up, or do not fit the topics


@dataclass(frozen=True, slots=True)
class Place:
    """Say where a record stands; a topic's name is Kafka's."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic} partition {self.partition} offset {self.offset}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Tell one broken promise."""

    kind: Kind
    topic: Topic
    place: Place | None
    said: str
    symbol: str | None = None
    session_id: int | None = None

    def __str__(self) -> str:
        where = [str(self.place) if self.place else str(self.topic)]
        if self.symbol is not None:
            where.append(f"symbol {self.symbol!r}")
        if self.session_id is not None:
            where.append(f"session {self.session_id}")
        return f"{self.kind}: {', '.join(where)}: {self.said}"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON knows it."""
        return asdict(self)


class Findings:
    """Count all findings, keep the first of each kind, and hand over the new ones."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Topic, Kind]] = Counter()
        self.kept: list[Finding] = []
        self._new: deque[Finding] = deque()

    def add(self, finding: Finding) -> None:
        """Take a finding."""
        place = finding.topic, finding.kind
        self.counts[place] += 1
        if self.counts[place] <= MOST_KEPT:
            self.kept.append(finding)
            self._new.append(finding)

    def take_new(self) -> list[Finding]:
        """Return what was added (and kept) since this was last asked."""
        new, self._new = list(self._new), deque()
        return new

    def __len__(self) -> int:
        return self.counts.total()
