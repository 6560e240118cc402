"""The accounts: where every line that was read has gone.

At any moment, and exactly::

    lines_received + split = published + conflated + filtered + dead_lettered + dropped + undelivered + pending

``split`` counts the records beyond the first that one line became (a composite line holds a quote and a trade);
``pending`` are the records read and not yet acknowledged by Kafka. Records of our own (``aries.control``) are no
lines and stay outside.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.topics import LatestTopic, Topic

#: Why a dead letter is dropped that is beyond the rate limit.
RATE_LIMIT: Final = "rate_limit"
#: Reasons of dropped records in a group: another process may publish the shard, or one that waits for it would wait too
#: long until they are published.
LEASE_LOST: Final = "lease_lost"
HANDED_OVER: Final = "handed_over"


@dataclass(slots=True)
class Accounts:
    """Count lines by their end; every counter only grows, but for ``pending``."""

    lines_received: int = 0
    split: int = 0
    pending: int = 0
    published: Counter[Topic] = field(default_factory=Counter)
    conflated: Counter[Topic] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)
    dead_lettered: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[Topic, str]] = field(default_factory=Counter)
    undelivered: Counter[Topic] = field(default_factory=Counter)
    #: Records of our own, on ``aries.control``: acknowledged, and rejected by Kafka.
    announced: int = 0
    control_rejected: int = 0
    #: Latest states: acknowledged, and rejected by Kafka or too large. They are copies.
    latest_published: Counter[LatestTopic] = field(default_factory=Counter)
    latest_rejected: int = 0

    def note_lost(self, topic: Topic, reason: str | None, records: int) -> None:
        """Count records as dropped for a reason; without one as undelivered: the process ends."""
        if reason is None:
            self.undelivered[topic] += records
        else:
            self.dropped[topic, reason] += records

    def totals(self) -> dict[str, int]:
        """Return each account's total, by the names that ``aries.control`` carries."""
        return {
            "lines_received": self.lines_received,
            "split": self.split,
            "published": self.published.total(),
            "conflated": self.conflated.total(),
            "filtered": self.filtered.total(),
            "dead_lettered": self.dead_lettered.total(),
            "dropped": self.dropped.total(),
            "undelivered": self.undelivered.total(),
            "pending": self.pending,
        }

    @property
    def balance(self) -> int:
        """Return what is missing (above 0) or counted twice (below 0): always 0."""
        totals = self.totals()
        read = totals.pop("lines_received") + totals.pop("split")
        return read - sum(totals.values())
