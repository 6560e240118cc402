"""Who owned a shard when, by what the processes that hand shards to each other say on control."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.pipeline.control_events import LEASE_EXPIRED, LEASE_OF_EXPIRED, RELEASED_BY, ControlKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.verify.process_history import ProcessHistory

#: By how much the clocks of two nodes may differ: milliseconds where they are synchronized, so this is ample. It hides
#: little: two owners that publish the same symbols for less are still seen by the order of their records.
CLOCK_TOLERANCE_US: Final = 2_000_000
#: A shard: the group, the number of its shards, and which of them.
Shard = tuple[str | None, int, int]


class ClaimCause(StrEnum):
    """The reason for which a shard could be claimed."""

    FIRST = "first"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(slots=True, eq=False)
class Claim:
    """A shard that a process has taken; ``former`` is the instance that had it."""

    process: ProcessHistory
    shard: Shard
    time_us: int
    cause: ClaimCause
    former: str | None
    #: The first session of the shard after it.
    session_id: int | None = None


@dataclass(slots=True)
class Tenure:
    """The time for which a session has a shard, by the clock of its process."""

    started_us: int
    claim: Claim | None = None
    #: None: it has not released it, or only after its lease had expired.
    released_us: int | None = None


class Ending(NamedTuple):
    """What ended the tenure of a session: its release, or the claim of another process."""

    cause: ClaimCause
    time_us: int


class ShardOwners:
    """The owners of all shards, from control records in the order in which each process wrote them."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        #: By session.
        self._tenures: defaultdict[int, dict[Shard, Tenure]] = defaultdict(dict)
        self._held: dict[tuple[ProcessHistory, Shard], Claim] = {}
        self._expiries: defaultdict[tuple[str | None, str | None, int], list[Claim]] = defaultdict(list)

    def note(self, process: ProcessHistory, record: Mapping[str, Any]) -> None:
        """Take a control record of a process, once."""
        shard = record.get("group"), record.get("shards", 1), record["shard"]
        session_id, time_us = record["session_id"], record["time_us"]
        match record["kind"]:
            case ControlKind.SHARD_CLAIMED:
                self._note_claim(Claim(process, shard, time_us, *_cause(record["reason"] or "")))
            case ControlKind.SESSION_STARTED | ControlKind.HEARTBEAT if session_id is not None:
                claim = self._held.get((process, shard))
                self._tenures[session_id].setdefault(shard, Tenure(time_us, claim))
                if claim is not None and claim.session_id is None:
                    claim.session_id = session_id
            case ControlKind.SHARD_RELEASED:
                self._held.pop((process, shard), None)
                if session_id is not None and record["reason"] != LEASE_EXPIRED:
                    self._tenures[session_id].setdefault(shard, Tenure(time_us)).released_us = time_us

    def ending(self, process: ProcessHistory, older: int, newer: int) -> Ending | None:
        """Return what ended the older session, one of this process, before the newer one had its symbols.

        None if the newer one has no claim. A session may have several shards: what counts are those that both have,
        or if the number of shards has changed, all of the older one.
        """
        mine, others = self._tenures.get(older, {}), self._tenures.get(newer, {})
        claims = [tenure.claim for tenure in others.values() if tenure.claim is not None]
        if not mine or not claims:
            return None
        endings = [
            ending for shard in (mine.keys() & others.keys() or mine) for ending in self._endings(process, older, shard)
        ]
        started_us = min(tenure.started_us for tenure in others.values())
        endings = [one for one in endings if started_us >= one.time_us - CLOCK_TOLERANCE_US]
        # Without either, the newer one knew of no owner from whom it took the shard.
        return max(endings, default=Ending(ClaimCause.FIRST, max(claim.time_us for claim in claims)), key=_latest)

    def _note_claim(self, claim: Claim) -> None:
        group, _, number = claim.shard
        self.claims.append(claim)
        self._held[claim.process, claim.shard] = claim
        if claim.cause is ClaimCause.EXPIRED:
            self._expiries[group, claim.former, number].append(claim)

    def _endings(self, process: ProcessHistory, session_id: int, shard: Shard) -> Iterator[Ending]:
        """Yield what ended a session's tenure of a shard; the claim, if it released it when that had been claimed."""
        tenure = self._tenures[session_id][shard]
        group, _, number = shard
        claims = [
            claim.time_us
            for claim in self._expiries[group, process.instance, number]
            if claim.process is not process and _may_end(claim, session_id, tenure)
        ]
        if claims:
            yield Ending(ClaimCause.EXPIRED, min(claims))
        elif tenure.released_us is not None:
            yield Ending(ClaimCause.RELEASED, tenure.released_us)


def _may_end(claim: Claim, session_id: int, tenure: Tenure) -> bool:
    """Return whether a claim of an expired lease was at the end of this tenure, and not of another one."""
    if claim.session_id is not None and claim.session_id < session_id:
        return False
    until_us = math.inf if tenure.released_us is None else tenure.released_us
    return tenure.started_us - CLOCK_TOLERANCE_US <= claim.time_us <= until_us + CLOCK_TOLERANCE_US


def _latest(ending: Ending) -> tuple[bool, int]:
    return ending.cause is ClaimCause.EXPIRED, ending.time_us


def _cause(reason: str) -> tuple[ClaimCause, str | None]:
    """Return the cause and the former owner that the reason of a claim names."""
    for cause, wording in ((ClaimCause.RELEASED, RELEASED_BY), (ClaimCause.EXPIRED, LEASE_OF_EXPIRED)):
        before, after = wording.split("{}")
        if reason.startswith(before) and reason.endswith(after):
            return cause, reason.removeprefix(before).removesuffix(after)
    return ClaimCause.FIRST, None
