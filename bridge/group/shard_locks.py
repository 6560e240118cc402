"""The locks of all shards as one process sees them: pure decisions from marks, acknowledgements and a monotonic clock.

The log of a shard's partition orders its marks, so all processes see the same claims in the same order. A holder owns
the shard until it reads a claim with a larger epoch, or until its lease ends. It counts the lease from before it sends
a mark, a claimant from when it has read one, and from a longer one: the holder has always stopped first.

A process that has written that it holds a shard reads all partitions once more before it begins: of two that begin at
the same time, one sees the other (Dekker's algorithm).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bridge.clock import wall_us
from bridge.group.known_marks import KnownMarks
from bridge.group.marks import HOLD_INTERVAL_SECONDS, LEASE_MARGIN_SECONDS, LEASE_SECONDS, Mark, MarkKind, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

#: How long to wait before a shard is claimed again that is still assigned.
CLAIM_AGAIN_SECONDS: Final = 3.0
#: How long to wait before a mark is written again that could not be written.
WRITE_AGAIN_SECONDS: Final = 0.25
#: For how long the lease of one shard may have ended while others hold theirs, until the shard is given up.
PARTIAL_LAPSE_SECONDS: Final = 1.0


class LockState(StrEnum):
    """What a process does with a shard."""

    CLAIMING = "claiming"  # waits until the former holders have released it, or their leases have ended
    HOLDING = "holding"  # has written that it holds the shard, and reads the log once more
    OWNED = "owned"
    SUSPENDED = "suspended"  # the lease has ended, and no process is known to have claimed the shard
    RELEASING = "releasing"  # another process has claimed it, or it is given back: what was read drains


class Cause(StrEnum):
    """Why a shard was claimed or released."""

    FIRST = "first"
    RELEASED = "released"
    EXPIRED = "expired"
    CLAIMED = "claimed"
    STOPPED = "stopped"
    UNREACHABLE = "unreachable"
    LEASE_EXPIRED = "lease_expired"


@dataclass(frozen=True, slots=True)
class Claimed:
    """The shard is ours from now on; ``former`` is the last mark of its former owner."""

    shard: int
    cause: Cause
    former: Mark | None
    #: The largest session of all marks: the next one must be larger.
    newest_session_id: int


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """The shard must be released: what was read of it may drain while the lease lasts. ``other`` has claimed it."""

    shard: int
    cause: Cause
    other: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease has ended and the shard is not ours any more: nothing of it may be published."""

    shard: int
    other: str


@dataclass(frozen=True, slots=True)
class Suspended:
    """The leases of all shards that are ours have ended: nothing may be published for now."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The leases are renewed, and no other process has claimed the shards meanwhile."""


LockEvent = Claimed | ReleaseRequested | Lost | Suspended | Resumed


@dataclass(slots=True)
class _Lock:
    """A shard that we claim or hold."""

    epoch: int
    state: LockState
    since: float
    #: Whether a hold is on its way, and when the last one was sent that was acknowledged.
    is_sending: bool = False
    sent_at: float | None = None
    #: When the next hold is due after one that could not be written.
    not_before: float = 0.0
    #: When the lease ends, and when the hold was acknowledged that must be read back.
    lease_end: float = 0.0
    acknowledged_at: float | None = None
    #: What it becomes once a lease that has ended is renewed.
    resumes_as: LockState = LockState.OWNED
    cause: Cause = Cause.CLAIMED
    other: str = ""
    #: The largest session of all marks when it became ours, and who has had a larger one than that and ours since.
    newest_session_id: int = 0
    overtaken_by: str | None = None


class ShardLocks:
    """The locks of a process."""

    def __init__(self, *, process: str, owner: str, shards: int, wall_clock: Callable[[], int] = wall_us) -> None:
        self.marks = KnownMarks(process, shards)
        self._process, self._owner, self._shards = process, owner, shards
        self._wall_clock = wall_clock
        self._locks: dict[int, _Lock] = {}
        self._wanted: frozenset[int] = frozenset()
        #: When a shard that is assigned may be claimed again.
        self._claim_not_before: dict[int, float] = {}
        #: Those whose claim could not be written and was repeated soon, once.
        self._claimed_again: set[int] = set()
        #: Before this time only shards are claimed that their owners have released.
        self._spared_until = 0.0
        self._is_suspended = False
        self._events: list[LockEvent] = []
        self._releases: list[Mark] = []
        #: How far each shard that we own is published, for the marks.
        self.progress: dict[int, Progress] = {}

    # -- what is known ------------------------------------------------------------------------------------------

    def note(self, mark: Mark, now: float) -> None:
        """Take a mark that was read at a monotonic time, in the order of its partition."""
        self.marks.note(mark, now)
        if mark.process != self._process:
            self._note_session(mark)

    def _note_session(self, mark: Mark) -> None:
        """Note who has begun a session of our symbols while they were ours: consumers ignore smaller ones since.

        It had an epoch that is no larger than ours, as a process has that starts where marks were deleted.
        """
        for shard in self.owned():
            lock = self._locks[shard]
            latest = max(lock.newest_session_id, self.progress.get(shard, Progress()).session_id or 0)
            if self.marks.excludes(mark, shard) and (mark.session_id or 0) > latest:
                lock.overtaken_by = mark.owner

    def spare(self, until: float) -> None:
        """Claim no shard before this time that its owner has not released.

        For a process that was cut off: so may the owners have been, and claims would cost them what they have buffered.
        """
        self._spared_until = until

    def want(self, shards: Collection[int]) -> None:
        """Claim these shards, as the group assigns them; a shard that is ours stays so until another claims it."""
        wanted = frozenset(shards)
        for shard in wanted - self._wanted:
            self._claim_not_before.pop(shard, None)
            self._claimed_again.discard(shard)
        self._wanted = wanted

    @property
    def needs_reading(self) -> bool:
        """Return whether something waits until the log has been read to its end."""
        return not self.marks.has_caught_up or any(
            lock.acknowledged_at is not None and not self.marks.has_read_since(lock.acknowledged_at)
            for lock in self._locks.values()
            if lock.state in (LockState.HOLDING, LockState.SUSPENDED)
        )

    @property
    def has_releases_to_write(self) -> bool:
        """Return whether ``due`` will return releases, for which others may wait."""
        return bool(self._releases)

    @property
    def is_changing(self) -> bool:
        """Return whether a shard is about to be ours, or no longer, so that what others write is needed at once."""
        return any(lock.state is not LockState.OWNED for lock in self._locks.values())

    def owned(self) -> list[int]:
        """Return the shards that are ours, also those that are being released."""
        ours = (LockState.OWNED, LockState.SUSPENDED, LockState.RELEASING)
        return sorted(shard for shard, lock in self._locks.items() if lock.state in ours)

    def held(self) -> list[int]:
        """Return the shards that are ours and stay so: their leases last, and no other process has claimed them."""
        return sorted(shard for shard, lock in self._locks.items() if lock.state is LockState.OWNED)

    def suspended(self) -> list[int]:
        """Return the shards that are ours if no other process has claimed them: their leases have ended."""
        return sorted(
            shard
            for shard, lock in self._locks.items()
            if lock.state is LockState.SUSPENDED and lock.resumes_as is LockState.OWNED
        )

    def state(self, shard: int) -> LockState | None:
        """Return what we do with a shard, None if nothing."""
        lock = self._locks.get(shard)
        return None if lock is None else lock.state

    def lease_seconds(self, shard: int, now: float) -> float | None:
        """Return how long the lease of a shard that is ours lasts; negative if it has ended."""
        lock = self._locks.get(shard)
        return None if lock is None or not lock.lease_end else lock.lease_end - now

    def epoch(self, shard: int) -> int | None:
        """Return the epoch of our claim to a shard, else the newest that there is; None if it was never claimed."""
        lock = self._locks.get(shard)
        return (self.marks.epoch(shard) or None) if lock is None else lock.epoch

    @property
    def is_suspended(self) -> bool:
        """Return whether nothing may be published, as leases have ended."""
        return self._is_suspended

    def may_publish(self, now: float) -> bool:
        """Return whether the leases of all shards that are ours last; it is asked before each write."""
        if self._is_suspended:
            return False
        for lock in self._locks.values():
            if lock.lease_end and lock.lease_end <= now and lock.state in (LockState.OWNED, LockState.RELEASING):
                return False
        return True

    # -- what we write ------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[Mark]:
        """Return the marks to write now, at most one for each shard that has none on its way."""
        marks, self._releases = self._releases, []
        if not self.marks.has_caught_up:
            return marks
        for shard in self._unclaimed():
            if now >= self._may_claim_at(shard):
                self._claim_later(shard, now)
                self._locks[shard] = _Lock(self.marks.epoch(shard) + 1, LockState.CLAIMING, now)
                marks.append(self._mark(MarkKind.CLAIM, shard))
        for shard, lock in self._locks.items():
            if not lock.is_sending and lock.not_before <= now and self._is_hold_due(shard, lock, now):
                if lock.state is LockState.CLAIMING:
                    lock.state = LockState.HOLDING
                lock.is_sending = True
                marks.append(self._mark(MarkKind.HOLD, shard))
        return marks

    def next_due(self, now: float) -> float:
        """Return in how many seconds something may be due, if nothing is read or acknowledged meanwhile."""
        times = [now + HOLD_INTERVAL_SECONDS]
        for shard, lock in self._locks.items():
            if lock.state is LockState.CLAIMING:
                times.extend(self.marks.ends(shard))
            else:
                if not lock.is_sending:
                    times.append(max((lock.sent_at or now) + HOLD_INTERVAL_SECONDS, lock.not_before))
                if lock.lease_end > now:
                    times.append(lock.lease_end)
        times.extend(map(self._may_claim_at, self._unclaimed()))
        return max(0.01, min(times) - now)

    def written(self, mark: Mark, sent_at: float, now: float) -> None:
        """Note that a mark was acknowledged that was sent at a monotonic time."""
        lock = self._locks.get(mark.shard)
        if lock is None or mark.kind is not MarkKind.HOLD or lock.epoch != mark.epoch:
            return
        lock.is_sending, lock.sent_at = False, sent_at
        end = sent_at + LEASE_SECONDS - LEASE_MARGIN_SECONDS
        if lock.state in (LockState.OWNED, LockState.RELEASING):
            # A lease that has ended is not renewed by a late answer: others may have begun.
            if now < lock.lease_end:
                lock.lease_end = max(lock.lease_end, end)
        else:
            lock.lease_end, lock.acknowledged_at = end, now

    def failed(self, mark: Mark, now: float) -> None:
        """Note that a mark could not be written, or that this is not known."""
        lock = self._locks.get(mark.shard)
        if lock is None or lock.epoch != mark.epoch:
            return
        lock.is_sending, lock.not_before = False, now + WRITE_AGAIN_SECONDS
        is_claiming = mark.kind is MarkKind.CLAIM and lock.state is LockState.CLAIMING
        if is_claiming and not self.marks.is_newest_claim(mark.shard, lock.epoch):
            del self._locks[mark.shard]
            if mark.shard not in self._claimed_again:  # a broker may only lead no more; else it would cost other shards
                self._claimed_again.add(mark.shard)
                self._claim_not_before[mark.shard] = lock.not_before

    # -- what changes -------------------------------------------------------------------------------------------

    def step(self, now: float) -> list[LockEvent]:
        """Return what has changed by what was read, acknowledged, or by time."""
        for shard, lock in list(self._locks.items()):
            match lock.state:
                case LockState.CLAIMING | LockState.HOLDING:
                    self._step_claim(shard, lock, now)
                case LockState.OWNED:
                    self._step_owned(shard, lock, now)
                case LockState.SUSPENDED:
                    self._step_suspended(shard, lock, now)
                case LockState.RELEASING if lock.lease_end <= now:
                    self._step_lapsed_release(shard, lock, now)
        self._step_suspension(now)
        events, self._events = self._events, []
        return events

    def give_back(self, shards: Iterable[int], cause: Cause) -> None:
        """Release shards of our own will, as at a stop; shards that are only claimed are given up.

        A shard whose lease has ended is released once it is renewed: what was read of it may still be published then.
        """
        for shard in shards:
            lock = self._locks.get(shard)
            if lock is None or LockState.RELEASING in (lock.state, lock.resumes_as):
                continue
            if lock.state in (LockState.CLAIMING, LockState.HOLDING):
                self._end(shard)
            else:
                was_suspended = lock.state is LockState.SUSPENDED
                self._request_release(shard, lock, cause, "")
                if was_suspended:
                    lock.state, lock.resumes_as = LockState.SUSPENDED, LockState.RELEASING

    def released(self, shard: int) -> None:
        """Note that everything of a shard has been published that will be: the next owner may begin."""
        if shard in self._locks:
            self._end(shard)

    def _step_claim(self, shard: int, lock: _Lock, now: float) -> None:
        if self.marks.superseded_by(shard, lock.epoch) is not None:
            self._claim_later(shard, now)
            self._end(shard)
            return
        if lock.state is LockState.CLAIMING:
            if now - lock.since > CLAIM_AGAIN_SECONDS and not self.marks.is_newest_claim(shard, lock.epoch):
                del self._locks[shard]  # its claim is not in the log: once more
            return
        if self._is_read_back(lock) and self.marks.is_free(shard, now) and now < lock.lease_end:
            claimed = self._claimed(shard)
            lock.state, lock.acknowledged_at, lock.newest_session_id = LockState.OWNED, None, claimed.newest_session_id
            self._events.append(claimed)

    def _step_owned(self, shard: int, lock: _Lock, now: float) -> None:
        other = self.marks.superseded_by(shard, lock.epoch)
        if other is not None and now < lock.lease_end:
            self._claim_later(shard, now)
            self._request_release(shard, lock, Cause.CLAIMED, other)
        elif lock.lease_end <= now:
            self._suspend(lock, now)

    def _step_suspended(self, shard: int, lock: _Lock, now: float) -> None:
        other = self.marks.superseded_by(shard, lock.epoch) or lock.overtaken_by or self.marks.held_by(shard, now)
        if other is not None:
            if self.marks.may_be_held(shard, now):  # else it has released the shard already
                self._claim_later(shard, now)
            self._lose(shard, other)
        elif self._is_read_back(lock) and now < lock.lease_end:
            lock.state, lock.acknowledged_at = lock.resumes_as, None
            lock.resumes_as = LockState.OWNED

    def _step_lapsed_release(self, shard: int, lock: _Lock, now: float) -> None:
        """Give up a shard whose lease has ended while it was released, unless no process waits for it."""
        if lock.cause is Cause.CLAIMED or self.marks.superseded_by(shard, lock.epoch) is not None:
            self._lose(shard, lock.other)
        else:
            self._suspend(lock, now)

    def _step_suspension(self, now: float) -> None:
        """Suspend while all leases have ended; if only some have, their shards are given up, and the others go on."""
        suspended = [shard for shard, lock in self._locks.items() if lock.state is LockState.SUSPENDED]
        others = any(lock.state in (LockState.OWNED, LockState.RELEASING) for lock in self._locks.values())
        if suspended and not self._is_suspended:
            self._is_suspended = True
            self._events.append(Suspended())
        if suspended and others:
            for shard in suspended:
                if now - self._locks[shard].since >= PARTIAL_LAPSE_SECONDS:
                    self._lose(shard, "")
            suspended = [shard for shard in suspended if shard in self._locks]
        if not suspended and self._is_suspended:
            self._is_suspended = False
            self._events.append(Resumed())

    # -- rules --------------------------------------------------------------------------------------------------

    def _unclaimed(self) -> list[int]:
        """Return the shards to claim as soon as they may be claimed again."""
        return sorted(shard for shard in self._wanted - self._locks.keys() if self.marks.may_claim(shard))

    def _may_claim_at(self, shard: int) -> float:
        """Return from when on a shard may be claimed that is not ours."""
        last = self.marks.last(shard)
        is_released = last is None or last.kind is MarkKind.RELEASE or last.process == self._process
        again_at = self._claim_not_before.get(shard, 0.0)
        return again_at if is_released else max(again_at, self._spared_until)

    def _is_hold_due(self, shard: int, lock: _Lock, now: float) -> bool:
        if lock.state is LockState.CLAIMING:
            return self.marks.is_newest_claim(shard, lock.epoch) and self.marks.is_free(shard, now)
        return lock.sent_at is None or now - lock.sent_at >= HOLD_INTERVAL_SECONDS

    def _is_read_back(self, lock: _Lock) -> bool:
        """Return whether everything has been read that was in the log when a hold was acknowledged."""
        return lock.acknowledged_at is not None and self.marks.has_read_since(lock.acknowledged_at)

    # -- changes ------------------------------------------------------------------------------------------------

    def _claimed(self, shard: int) -> Claimed:
        former, cause = self.marks.former(shard), Cause.FIRST
        if former is not None:
            cause = Cause.RELEASED if former.kind is MarkKind.RELEASE else Cause.EXPIRED
        return Claimed(shard, cause, former, self.marks.newest_session_id(shard))

    def _claim_later(self, shard: int, now: float) -> None:
        """Let another process have a shard for a while; if it stays assigned to us, it is claimed again."""
        self._claim_not_before[shard] = now + CLAIM_AGAIN_SECONDS

    def _request_release(self, shard: int, lock: _Lock, cause: Cause, other: str) -> None:
        lock.state, lock.cause, lock.other = LockState.RELEASING, cause, other
        self._events.append(ReleaseRequested(shard, cause, other))

    @staticmethod
    def _suspend(lock: _Lock, now: float) -> None:
        """Note that a lease has ended, and that its lock goes on as it was if the lease is renewed."""
        lock.resumes_as = lock.state
        lock.state, lock.since, lock.acknowledged_at = LockState.SUSPENDED, now, None

    def _lose(self, shard: int, other: str) -> None:
        self._end(shard)
        self._events.append(Lost(shard, other))

    def _end(self, shard: int) -> None:
        """Forget a lock, and say in the log that nothing of its epoch follows."""
        self._releases.append(self._mark(MarkKind.RELEASE, shard))
        del self._locks[shard]
        self.progress.pop(shard, None)

    def _mark(self, kind: MarkKind, shard: int) -> Mark:
        last = self.marks.last(shard)  # what a compacted topic keeps must name the last session in any case
        known = Progress() if last is None else Progress(last.session_id, last.last_data_us)
        own = self.progress.get(shard, Progress())
        return Mark(
            kind=kind,
            shard=shard,
            shards=self._shards,
            epoch=self._locks[shard].epoch,
            owner=self._owner,
            process=self._process,
            session_id=own.session_id or known.session_id,
            last_data_us=own.last_data_us or known.last_data_us,
            time_us=self._wall_clock(),
        )
