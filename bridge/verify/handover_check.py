"""The check of symbols that go from one session to another, by a hand-over, a restart, or as two bridges have them.

Of every pair of sessions, the order of their records is checked: none of the older one may come after one of the newer.
Where processes claim shards it is also checked that the older one had stopped reading when the newer one claimed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.verify.partition_check import MAX_HISTORY
from bridge.verify.shard_owners import CLOCK_TOLERANCE_US, ClaimCause, ShardOwners
from bridge.verify.violations import Violation, ViolationKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.topics import Topic
    from bridge.verify.observations import Observations, Transition
    from bridge.verify.overlap import Overlap
    from bridge.verify.process_history import ProcessHistories, ProcessHistory
    from bridge.verify.shard_owners import Ending

#: Late records of a former owner in one partition: as many as are compared for repeats, more than fit into a batch.
MAX_LATE_RECORDS: Final = MAX_HISTORY
_TWO_BRIDGES: Final = (
    "Two bridges had these symbols at once: a RollingUpdate, a second release, or another number of shards"
)


class Handovers(NamedTuple):
    """How many shards were claimed from another process, by cause, and the longest time without a record of one."""

    released: int
    expired: int
    longest_gap_seconds: float | None

    def __str__(self) -> str:
        text = f"{self.released:,} after a release, {self.expired:,} after a lease expired"
        return text if self.longest_gap_seconds is None else f"{text}; longest gap {self.longest_gap_seconds:.1f} s"


class HandoverCheck:
    """The check of pairs of sessions that had the same symbols."""

    def __init__(self, observations: Observations, histories: ProcessHistories, *, strict: bool) -> None:
        self._observations = observations
        self._histories = histories
        self._strict = strict
        self._owners = ShardOwners()

    def note(self, process: ProcessHistory, record: Mapping[str, Any]) -> None:
        """Take a control record of a process."""
        self._owners.note(process, record)

    def settle(self, is_new: Callable[[int], bool], *, final: bool) -> int:
        """Report what no hand-over explains of the overlaps that have ended (``final``: of all), and two owners.

        Return how many records await what control says of a session that ``is_new``.
        """
        awaiting = 0
        for overlap in self._observations.ended_overlaps(final=final):
            if self._histories.of_session(overlap.newer) is None and is_new(overlap.newer):
                awaiting += overlap.records
                continue
            why = self._objection(overlap)
            overlap.is_explained = not why
            if why:
                message = overlap.text(self._bridge_of(overlap.older), self._bridge_of(overlap.newer), why)
                violation = Violation(ViolationKind.OVERLAP, overlap.topic, overlap.place, message)
                self._observations.violations.add(violation)
                del self._observations.overlaps[overlap.older, overlap.newer]
        for (older, newer), seen in self._observations.transitions.items():
            if not seen.is_reported:
                self._check_owners(older, newer, seen)
        return awaiting

    def late_records(self, topic: Topic) -> int:
        """Return how many records of a topic are the last ones of former owners, and came late."""
        return sum(one.records_of(topic) for one in self._observations.overlaps.values() if one.is_explained)

    def summary(self) -> Handovers:
        """Return the hand-overs so far; a gap lasts from the former owner's last record to the new one's first."""
        claims = [claim for claim in self._owners.claims if claim.cause is not ClaimCause.FIRST]
        causes = Counter(claim.cause for claim in claims)
        begun = {claim.session_id for claim in claims}
        gaps: dict[int, tuple[int, int]] = {}  # by session: the last record before it, and its first
        for (older, newer), seen in self._observations.transitions.items():
            if newer in begun and self._histories.of_session(older) is not self._histories.of_session(newer):
                last_us, first_us = gaps.get(newer, (seen.last_us, seen.first_us))
                gaps[newer] = max(last_us, seen.last_us), min(first_us, seen.first_us)
        longest = max((max(0, first_us - last_us) / 1e6 for last_us, first_us in gaps.values()), default=None)
        return Handovers(causes[ClaimCause.RELEASED], causes[ClaimCause.EXPIRED], longest)

    def _objection(self, overlap: Overlap) -> str:
        """Return why an overlap is a violation; nothing if it is the last batch of an owner whose lease has expired.

        That batch was on its way when the owner stopped. A bridge has one batch in flight for each partition, so what
        comes late stands together there, and it was read while the bridge still was the owner.
        """
        ending = self._ending(overlap.older, overlap.newer)
        if ending is None:
            return _TWO_BRIDGES
        after_us = overlap.to_us - ending.time_us
        match ending.cause:
            case ClaimCause.RELEASED:
                return "The older one had announced before that it released the shard"
            case ClaimCause.FIRST:
                return "The newer one claimed the shard, but the older one had not released it, nor its lease expired"
            case _ if after_us > CLOCK_TOLERANCE_US:
                return f"The last of them was read {after_us / 1e6:.1f} s after its expired lease was claimed"
            case _ if overlap.most_batches > 1:
                return f"They came in {overlap.most_batches} batches of a partition, and only one can be late"
            case _ if overlap.most_records > MAX_LATE_RECORDS:
                return f"{overlap.most_records} of them are in one partition, and only one batch can be late"
        return "No late record of a former owner is accepted (--strict)" if self._strict else ""

    def _check_owners(self, older: int, newer: int, seen: Transition) -> None:
        """Report a session that read on, and published that, after another owner had its shard."""
        ending = self._ending(older, newer)
        if ending is None or seen.last_us <= ending.time_us + CLOCK_TOLERANCE_US:
            return
        seen.is_reported = True
        is_release = ending.cause is ClaimCause.RELEASED
        what = "it had released the shard" if is_release else f"{self._bridge_of(newer)} had claimed it"
        message = (
            f"two owners of one shard: session {older} of {self._bridge_of(older)} published a record of this symbol "
            f"that it read {(seen.last_us - ending.time_us) / 1e6:.1f} s after {what}. Or the clocks differ"
        )
        where = seen.topic, seen.place, message, seen.symbol, newer
        self._observations.violations.add(Violation(ViolationKind.OVERLAP, *where))

    def _ending(self, older: int, newer: int) -> Ending | None:
        former, owner = self._histories.of_session(older), self._histories.of_session(newer)
        if former is None or owner is None or former is owner:
            return None
        return self._owners.ending(former, older, newer)

    def _bridge_of(self, session_id: int) -> str:
        return str(self._histories.of_session(session_id) or "an unknown bridge").rstrip(",")
