"""The locks of all shards as one process sees them: pure decisions from marks, acknowledgements and a monotonic clock.

The log of a shard's partition orders its marks, so all processes see the same claims in the same order. A holder owns
the shard until it reads a claim with a larger epoch, or until its lease ends. It counts the lease from before it sends
a mark, a claimant from when it has read one, and from a longer one: the holder has always stopped first.

Shards of another number of shards have other symbols, so they exclude each other, whichever partition they are on. The
newest claim of shard 0 decides which number is in force. A process that has written that it holds a shard reads all
partitions once more before it begins: of two that begin at the same time, one sees the other (Dekker's algorithm).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bridge.clock import wall_us
from bridge.group.marks import HOLD_INTERVAL_SECONDS, LEASE_MARGIN_SECONDS, LEASE_SECONDS, Mark, MarkKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

#: The shard whose newest claim decides which number of shards is in force.
ARBITER: Final = 0
#: After how long without success a shard that is still assigned is claimed again.
CLAIM_AGAIN_SECONDS: Final = 3.0
#: How long after a mark could not be written it is tried again.
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
class _Partition:
    """The marks of one shard's partition."""

    newest_claim: Mark | None = None
    epoch: int = 0
    #: Processes that may hold the shard, by process: their newest mark, and when it was read.
    holders: dict[str, tuple[Mark, float]] = field(default_factory=dict)
    #: The newest mark of the last holder, and that of the one before it.
    last: Mark | None = None
    former: Mark | None = None
    newest_session_id: int = 0

    def note(self, mark: Mark, now: float) -> None:
        """Take the next mark, which was read at a monotonic time."""
        if mark.epoch > self.epoch:  # a claim; or it is no longer read, and this mark stands for it
            self.newest_claim = mark
        match mark.kind:
            case MarkKind.CLAIM:
                # One who may have begun since: what a compacted topic has left may be no more than a claim.
                if mark.process not in self.holders:
                    self.holders[mark.process] = mark, now
            case MarkKind.HOLD:
                if (mark.session_id or 0) > self.newest_session_id:
                    self._forget_former_holders(mark)
                self.holders[mark.process] = mark, now
                self._note_holder(mark)
            case MarkKind.RELEASE:
                held = self.holders.get(mark.process)
                if held is not None and held[0].epoch <= mark.epoch:
                    del self.holders[mark.process]
                # Not of one who had only claimed it: it would not show that there was no owner before.
                is_owners = mark.session_id is not None if self.last is None else _is_of(mark, self.last)
                if is_owners:
                    self.last = mark
        self.epoch = max(self.epoch, mark.epoch)
        self.newest_session_id = max(self.newest_session_id, mark.session_id or 0)

    def _note_holder(self, mark: Mark) -> None:
        """Take a holder for the last one, unless another has had the shard since: then it has not noticed that yet."""
        if self.last is not None and mark.epoch < self.last.epoch:
            return
        if self.last is not None and not _is_of(mark, self.last):
            self.former = self.last
        self.last = mark

    def _forget_former_holders(self, begun: Mark) -> None:
        """Take those for stopped that held the shard before a process that has begun a session since.

        It has waited for them, and they cannot go on, as they find its claim. A process that reads the log only now
        would else wait for the lease of one that was killed long ago.
        """
        claimant = None if self.newest_claim is None else self.newest_claim.process
        for process, (mark, _) in list(self.holders.items()):
            if mark.epoch < begun.epoch and process != claimant:
                del self.holders[process]


@dataclass(slots=True)
class _Lock:
    """A shard that we claim or hold."""

    epoch: int
    state: LockState
    since: float
    #: When the last mark was sent that is not acknowledged, and the last one that was.
    sending_since: float | None = None
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
        self._process, self._owner, self._shards = process, owner, shards
        self._wall_clock = wall_clock
        self._partitions: dict[int, _Partition] = {}
        self._locks: dict[int, _Lock] = {}
        self._wanted: frozenset[int] = frozenset()
        self._claimed_at: dict[int, float] = {}
        #: Those whose claim could not be written and was repeated soon, once.
        self._claimed_again: set[int] = set()
        self._spared_until = 0.0
        self._caught_up_at: float | None = None
        self._read_until: float | None = None
        self._is_suspended = False
        self._events: list[LockEvent] = []
        self._releases: list[Mark] = []
        #: The latest session and data of each shard that we own, for the marks.
        self.facts: dict[int, tuple[int | None, int | None]] = {}

    # -- what is known ------------------------------------------------------------------------------------------

    def note(self, mark: Mark, now: float) -> None:
        """Take a mark that was read at a monotonic time, in the order of its partition."""
        self._partition(mark.shard).note(mark, now)
        if mark.process != self._process:
            self._note_session(mark)

    def _note_session(self, mark: Mark) -> None:
        """Note who has begun a session of our symbols while they were ours: consumers ignore smaller ones since.

        It had an epoch that is no larger than ours, as a process has that starts where marks were deleted.
        """
        for shard in self.owned():
            lock = self._locks[shard]
            latest = max(lock.newest_session_id, self.facts.get(shard, (None, None))[0] or 0)
            if (mark.shard == shard or mark.shards != self._shards) and (mark.session_id or 0) > latest:
                lock.overtaken_by = mark.owner

    def caught_up(self, since: float, now: float) -> None:
        """Note that everything has been read that was in the log at a monotonic time."""
        if self._caught_up_at is None:
            self._caught_up_at = now
        self._read_until = since

    def spare(self, until: float) -> None:
        """Claim no shard before this time that its owner has not released.

        For a process that was cut off: so may the owners have been, and claims would cost them what they have buffered.
        """
        self._spared_until = until

    def want(self, shards: Collection[int]) -> None:
        """Claim these shards, as the group assigns them; a shard that is ours stays so until another claims it."""
        wanted = frozenset(shards)
        for shard in wanted - self._wanted:
            self._claimed_at.pop(shard, None)
            self._claimed_again.discard(shard)
        self._wanted = wanted

    @property
    def has_caught_up(self) -> bool:
        """Return whether the log has been read to its end once."""
        return self._caught_up_at is not None

    @property
    def needs_reading(self) -> bool:
        """Return whether something waits until the log has been read to its end."""
        if self._read_until is None:
            return True
        return any(
            lock.acknowledged_at is not None and lock.acknowledged_at >= self._read_until
            for lock in self._locks.values()
            if lock.state in (LockState.HOLDING, LockState.SUSPENDED)
        )

    @property
    def has_releases_to_write(self) -> bool:
        """Return whether ``due`` will return releases, for which others may wait."""
        return bool(self._releases)

    @property
    def is_claiming(self) -> bool:
        """Return whether a shard is about to become ours, so that what others write is needed at once."""
        return any(lock.state is not LockState.OWNED for lock in self._locks.values())

    @property
    def count_in_force(self) -> int | None:
        """Return the number of shards that is in force, None if no shard was ever claimed."""
        claim = self._partition(ARBITER).newest_claim
        return None if claim is None else claim.shards

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

    def other_holder(self, shard: int, now: float) -> tuple[Mark, float] | None:
        """Return the newest mark of another process that holds a shard, and how long its lease lasts; None if none."""
        holding = [
            (mark, read_at + mark.lease_ms / 1000 - now)
            for process, (mark, read_at) in self._partition(shard).holders.items()
            if process != self._process and mark.kind is MarkKind.HOLD and not self._is_over(mark, read_at, now)
        ]
        return max(holding, key=lambda held: held[0].epoch, default=None)

    def epoch(self, shard: int) -> int | None:
        """Return the epoch of our claim to a shard, else the newest that there is; None if it was never claimed."""
        lock = self._locks.get(shard)
        return (self._partition(shard).epoch or None) if lock is None else lock.epoch

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
        if self._caught_up_at is None:
            return marks
        for shard in self._unclaimed():
            if now >= self._may_claim_at(shard):
                self._claimed_at[shard] = now
                self._locks[shard] = _Lock(self._partition(shard).epoch + 1, LockState.CLAIMING, now)
                marks.append(self._mark(MarkKind.CLAIM, shard))
        for shard, lock in self._locks.items():
            if lock.sending_since is None and lock.not_before <= now and self._is_hold_due(shard, lock, now):
                lock.sending_since = now
                marks.append(self._mark(MarkKind.HOLD, shard))
        return marks

    def next_due(self, now: float) -> float:
        """Return in how many seconds something may be due, if nothing is read or acknowledged meanwhile."""
        times = [now + HOLD_INTERVAL_SECONDS]
        for shard, lock in self._locks.items():
            if lock.state is LockState.CLAIMING:
                times.extend(self._ends(shard))
            else:
                if lock.sending_since is None:
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
        lock.sending_since, lock.sent_at = None, sent_at
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
        lock.sending_since, lock.not_before = None, now + WRITE_AGAIN_SECONDS
        if mark.kind is MarkKind.CLAIM and lock.state is LockState.CLAIMING and not self._is_newest(mark.shard, lock):
            del self._locks[mark.shard]
            if mark.shard not in self._claimed_again:  # a broker may only lead no more; else it would cost other shards
                self._claimed_again.add(mark.shard)
                self._claimed_at[mark.shard] = lock.not_before - CLAIM_AGAIN_SECONDS

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
        self._step_together(now)
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
                state = lock.state
                self._request_release(shard, lock, cause, "")
                if state is LockState.SUSPENDED:
                    lock.state, lock.resumes_as = LockState.SUSPENDED, LockState.RELEASING

    def released(self, shard: int) -> None:
        """Note that everything of a shard has been published that will be: the next owner may begin."""
        if shard in self._locks:
            self._end(shard)

    def _step_claim(self, shard: int, lock: _Lock, now: float) -> None:
        if self._superseded_by(shard, lock) is not None:
            self._give_up_claim(shard, now)
            return
        if lock.state is LockState.CLAIMING:
            if now - lock.since > CLAIM_AGAIN_SECONDS and not self._is_newest(shard, lock):
                del self._locks[shard]  # its claim is not in the log: once more
            return
        if lock.acknowledged_at is None or not self._has_read_since(lock.acknowledged_at):
            return
        if self._is_free(shard, now) and now < lock.lease_end:
            claimed = self._claimed(shard)
            lock.state, lock.acknowledged_at, lock.newest_session_id = LockState.OWNED, None, claimed.newest_session_id
            self._events.append(claimed)

    def _step_owned(self, shard: int, lock: _Lock, now: float) -> None:
        other = self._superseded_by(shard, lock)
        if other is not None and now < lock.lease_end:
            self._claimed_at[shard] = now
            self._request_release(shard, lock, Cause.CLAIMED, other)
        elif lock.lease_end <= now:
            lock.state, lock.since, lock.acknowledged_at = LockState.SUSPENDED, now, None

    def _step_suspended(self, shard: int, lock: _Lock, now: float) -> None:
        other = self._superseded_by(shard, lock) or lock.overtaken_by or self._held_by(shard, now)
        if other is not None:
            if any(self._others(shard, now)):  # else it has released the shard already
                self._claimed_at[shard] = now
            self._lose(shard, other)
        elif lock.acknowledged_at is not None and self._has_read_since(lock.acknowledged_at) and now < lock.lease_end:
            lock.state, lock.acknowledged_at = lock.resumes_as, None
            lock.resumes_as = LockState.OWNED

    def _step_lapsed_release(self, shard: int, lock: _Lock, now: float) -> None:
        """Give up a shard whose lease has ended while it was released, unless no process waits for it."""
        if lock.cause is Cause.CLAIMED or self._superseded_by(shard, lock) is not None:
            self._lose(shard, lock.other)
        else:
            lock.state, lock.since, lock.acknowledged_at = LockState.SUSPENDED, now, None
            lock.resumes_as = LockState.RELEASING

    def _step_together(self, now: float) -> None:
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
        """Return the shards to claim; those other than the first wait until their number is in force."""
        is_in_force = self.count_in_force == self._shards
        return sorted(shard for shard in self._wanted - self._locks.keys() if shard == ARBITER or is_in_force)

    def _may_claim_at(self, shard: int) -> float:
        """Return from when on a shard may be claimed that is not ours."""
        last = self._partition(shard).last
        is_released = last is None or last.kind is MarkKind.RELEASE or last.process == self._process
        again_at = self._claimed_at[shard] + CLAIM_AGAIN_SECONDS if shard in self._claimed_at else 0.0
        return again_at if is_released else max(again_at, self._spared_until)

    def _is_hold_due(self, shard: int, lock: _Lock, now: float) -> bool:
        if lock.state is LockState.CLAIMING:
            if not (self._is_newest(shard, lock) and self._is_free(shard, now)):
                return False
            lock.state = LockState.HOLDING
            return True
        return lock.sent_at is None or now - lock.sent_at >= HOLD_INTERVAL_SECONDS

    def _is_newest(self, shard: int, lock: _Lock) -> bool:
        claim = self._partition(shard).newest_claim
        return claim is not None and claim.process == self._process and claim.epoch == lock.epoch

    def _superseded_by(self, shard: int, lock: _Lock) -> str | None:
        """Return who has claimed the shard since, or that another number of shards is in force; None if neither."""
        claim = self._partition(shard).newest_claim
        if claim is not None and claim.process != self._process and claim.epoch >= lock.epoch:
            return claim.owner
        arbiter = self._partition(ARBITER).newest_claim
        if shard != ARBITER and arbiter is not None and arbiter.shards != self._shards:
            return arbiter.owner
        return None

    def _held_by(self, shard: int, now: float) -> str | None:
        """Return who else holds our symbols, whatever its epoch; None if nobody does."""
        return next((mark.owner for mark in self._others(shard, now) if mark.kind is MarkKind.HOLD), None)

    def _others(self, shard: int, now: float) -> Iterator[Mark]:
        """Yield the newest marks of other processes that may hold some of our symbols."""
        for number, partition in self._partitions.items():
            for process, (mark, read_at) in partition.holders.items():
                excludes = number == shard or mark.shards != self._shards
                if excludes and process != self._process and not self._is_over(mark, read_at, now):
                    yield mark

    def _is_free(self, shard: int, now: float) -> bool:
        """Return whether everybody else who may have published our symbols has stopped."""
        if self.count_in_force != self._shards or any(self._others(shard, now)):
            return False
        # The marks of a holder may have been in a topic that was deleted.
        assert self._caught_up_at is not None
        return self._partition(shard).last is not None or now >= self._caught_up_at + LEASE_SECONDS

    @staticmethod
    def _is_over(mark: Mark, read_at: float, now: float) -> bool:
        return now >= read_at + mark.lease_ms / 1000

    def _ends(self, shard: int) -> Iterator[float]:
        """Yield when those who may hold a shard have stopped, if they write nothing more."""
        for partition in self._partitions.values():
            for process, (mark, read_at) in partition.holders.items():
                if process != self._process:
                    yield read_at + mark.lease_ms / 1000
        if self._caught_up_at is not None and self._partition(shard).last is None:
            yield self._caught_up_at + LEASE_SECONDS

    def _has_read_since(self, time: float) -> bool:
        return self._read_until is not None and self._read_until > time

    def _partition(self, shard: int) -> _Partition:
        return self._partitions.setdefault(shard, _Partition())

    # -- changes ------------------------------------------------------------------------------------------------

    def _claimed(self, shard: int) -> Claimed:
        former, cause = self._former(shard), Cause.FIRST
        if former is not None:
            cause = Cause.RELEASED if former.kind is MarkKind.RELEASE else Cause.EXPIRED
        newest = max(partition.newest_session_id for partition in self._partitions.values())
        return Claimed(shard, cause, former, max(newest, self._last_possible_session(shard)))

    def _last_possible_session(self, shard: int) -> int:
        """Return the latest session that former owners of our symbols may have begun after their last marks, else 0.

        A session is named by its owner's clock, which may be ahead of ours, and can begin while the lease lasts.
        """
        marks = (mark for one in self._partitions.values() for mark in (one.last, one.former) if mark is not None)
        held = (mark for mark in marks if mark.kind is MarkKind.HOLD and mark.process != self._process)
        ours = (mark for mark in held if mark.shard == shard or mark.shards != self._shards)
        return max((mark.time_us + mark.lease_ms * 1000 for mark in ours), default=0)

    def _former(self, shard: int) -> Mark | None:
        """Return the last mark of the former owner; of another number of shards the one that ended first."""
        own = self._partition(shard).former
        if own is not None and own.shards == self._shards:
            return own
        last = (one for partition in self._partitions.values() for one in (partition.last, partition.former) if one)
        others = [mark for mark in last if mark.shards != self._shards]
        return min(others, key=lambda mark: mark.last_data_us or 0, default=own)

    def _request_release(self, shard: int, lock: _Lock, cause: Cause, other: str) -> None:
        lock.state, lock.cause, lock.other = LockState.RELEASING, cause, other
        self._events.append(ReleaseRequested(shard, cause, other))

    def _lose(self, shard: int, other: str) -> None:
        self._end(shard)
        self._events.append(Lost(shard, other))

    def _give_up_claim(self, shard: int, now: float) -> None:
        """Let another process have a shard that we claimed; if it stays ours by assignment, claim it again later."""
        self._claimed_at[shard] = now
        self._end(shard)

    def _end(self, shard: int) -> None:
        """Forget a lock, and say in the log that nothing of its epoch follows."""
        self._releases.append(self._mark(MarkKind.RELEASE, shard))
        del self._locks[shard]
        self.facts.pop(shard, None)

    def _mark(self, kind: MarkKind, shard: int) -> Mark:
        last = self._partition(shard).last  # what a compacted topic keeps must name the last session in any case
        known = (None, None) if last is None else (last.session_id, last.last_data_us)
        facts = self.facts.get(shard, (None, None))
        session_id, last_data_us = facts[0] or known[0], facts[1] or known[1]
        return Mark(
            kind=kind,
            shard=shard,
            shards=self._shards,
            epoch=self._locks[shard].epoch,
            owner=self._owner,
            process=self._process,
            session_id=session_id,
            last_data_us=last_data_us,
            time_us=self._wall_clock(),
        )


def _is_of(mark: Mark, other: Mark) -> bool:
    """Return whether two marks are of the same owner, between its claim and its release."""
    return (mark.process, mark.epoch) == (other.process, other.epoch)
