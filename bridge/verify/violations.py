"""Violations of what consumers are promised, each with its place and its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bridge.topics import Topic

#: Violations of one kind on one topic that are kept in full; the others are only counted.
MAX_KEPT: Final = 100


class ViolationKind(StrEnum):
    """The kind of a broken promise, as the command's output names it."""

    HOLE = "hole"  # seq jumps without an explanation
    OUT_OF_ORDER = "out_of_order"  # a record comes after a later one of its symbol
    OVERLAP = "overlap"  # two sessions publish the same symbols at the same time
    REPEAT = "repeat"  # a record comes again, and no replaced producer explains it
    AFTER_GAP = "after_gap"  # the first record of a symbol in a session is not marked after_gap
    KEY = "key"
    PARTITION = "partition"
    PARTITION_COUNTS = "partition_counts"
    TIMESTAMP = "timestamp"
    UNDECODABLE = "undecodable"
    SESSION = "session"  # records of a session that control does not know
    ACCOUNTS = "accounts"  # the accounts on control do not add up, or do not match the topics


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a record; ``topic`` is Kafka's name of it."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic} partition {self.partition} offset {self.offset}"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: what, where and why."""

    kind: ViolationKind
    topic: Topic
    place: Place | None
    message: str
    symbol: str | None = None
    session_id: int | None = None

    def __str__(self) -> str:
        where = [str(self.place or self.topic)]
        if self.symbol is not None:
            where.append(f"symbol {self.symbol!r}")
        if self.session_id is not None:
            where.append(f"session {self.session_id}")
        return f"{self.kind}: {', '.join(where)}: {self.message}"

    def to_json(self) -> dict[str, Any]:
        """Return the violation as a JSON object."""
        return asdict(self)


class Violations:
    """All violations counted, and the first of each kind and topic in full."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Topic, ViolationKind]] = Counter()
        self.kept: list[Violation] = []
        self._reported = 0

    def add(self, violation: Violation) -> None:
        """Count a violation, and keep it if few of its kind are kept."""
        kind = violation.topic, violation.kind
        self.counts[kind] += 1
        if self.counts[kind] <= MAX_KEPT:
            self.kept.append(violation)

    def take_new(self) -> list[Violation]:
        """Return the violations kept since the last call."""
        new = self.kept[self._reported :]
        self._reported = len(self.kept)
        return new

    def __len__(self) -> int:
        return self.counts.total()
