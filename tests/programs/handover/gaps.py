"""The gaps that hand-overs leave in the topics: from the last record of one session to the first of the next."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: (session, time of reading in µs) of a record.
Seen = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Gaps:
    """The gaps of one kind of hand-over, in seconds."""

    seconds: tuple[float, ...]

    def __str__(self) -> str:
        if not self.seconds:
            return "none"
        p95 = quantiles(self.seconds, n=20)[-1] if len(self.seconds) > 1 else self.seconds[0]
        found = f"{len(self.seconds):>3} gaps: median {median(self.seconds):.2f} s"
        return f"{found}, p95 {min(p95, max(self.seconds)):.2f} s, longest {max(self.seconds):.2f} s"


def between_sessions(records: Iterable[Seen]) -> Gaps:
    """Return the gap before each session but the first, by the times at which records were read from the feed."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for session, ingest_us in records:
        first[session] = min(first.get(session, ingest_us), ingest_us)
        last[session] = max(last.get(session, ingest_us), ingest_us)
    sessions = sorted(first)
    return Gaps(tuple((first[new] - last[old]) / 1e6 for old, new in pairwise(sessions)))


def longest_silence(records: Sequence[Seen]) -> Gaps:
    """Return the longest time between two records that follow each other, whatever their sessions."""
    times = sorted(ingest_us for _, ingest_us in records)
    return Gaps((max(later - earlier for earlier, later in pairwise(times)) / 1e6,))
