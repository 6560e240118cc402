"""What the marks say, as far as one process has read them: who has claimed each shard, and who may hold it.

Shards of another number of shards have other symbols, so they exclude each other, whichever partition they are on. The
newest claim of shard 0 decides which number is in force.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bridge.group.marks import LEASE_SECONDS, Mark, MarkKind

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The shard whose newest claim decides which number of shards is in force.
ARBITER: Final = 0


@dataclass(slots=True)
class _Partition:
    """The marks of one shard's partition."""

    newest_claim: Mark | None = None
    epoch: int = 0
    #: Processes that may hold the shard, by process: their newest mark, and when the lease ends that it says.
    holders: dict[str, tuple[Mark, float]] = field(default_factory=dict)
    #: The newest mark of the last holder, and that of the one before it.
    last: Mark | None = None
    former: Mark | None = None
    newest_session_id: int = 0

    def note(self, mark: Mark, now: float) -> None:
        """Take the next mark, which was read at a monotonic time."""
        if mark.epoch > self.epoch:  # a claim; or it is no longer read, and this mark stands for it
            self.newest_claim = mark
        lease_end = now + mark.lease_ms / 1000
        match mark.kind:
            case MarkKind.CLAIM:
                # Its process may hold the shard by now: compaction may have left no more than its claim.
                if mark.process not in self.holders:
                    self.holders[mark.process] = mark, lease_end
            case MarkKind.HOLD:
                if (mark.session_id or 0) > self.newest_session_id:
                    self._forget_former_holders(mark)
                self.holders[mark.process] = mark, lease_end
                self._note_holder(mark)
            case MarkKind.RELEASE:
                held = self.holders.get(mark.process)
                if held is not None and held[0].epoch <= mark.epoch:
                    del self.holders[mark.process]
                # Not that of a process which had only claimed it: it would look like an owner.
                is_owners = mark.session_id is not None if self.last is None else mark.tenure == self.last.tenure
                if is_owners:
                    self.last = mark
        self.epoch = max(self.epoch, mark.epoch)
        self.newest_session_id = max(self.newest_session_id, mark.session_id or 0)

    def _note_holder(self, mark: Mark) -> None:
        """Take a holder for the last one, unless another has had the shard since: then it has not noticed that yet."""
        if self.last is not None and mark.epoch < self.last.epoch:
            return
        if self.last is not None and mark.tenure != self.last.tenure:
            self.former = self.last
        self.last = mark

    def _forget_former_holders(self, begun: Mark) -> None:
        """Forget those that held the shard before a process that has begun a session since: they have stopped.

        It has waited for them, and they cannot go on, as they find its claim. A process that reads the log only now
        would else wait for the lease of one that was killed long ago.
        """
        claimant = None if self.newest_claim is None else self.newest_claim.process
        for process, (mark, _) in list(self.holders.items()):
            if mark.epoch < begun.epoch and process != claimant:
                del self.holders[process]


class KnownMarks:
    """The marks of all shards that a process has read."""

    def __init__(self, process: str, shards: int) -> None:
        self._process, self._shards = process, shards
        self._partitions: dict[int, _Partition] = {}
        self._caught_up_at: float | None = None
        self._read_until: float | None = None
        #: Whether another process has written a mark since the log was read to its end: it claims shards, or owns some.
        self.others_claim = False

    # -- reading ------------------------------------------------------------------------------------------------

    def note(self, mark: Mark, now: float) -> None:
        """Take a mark that was read at a monotonic time, in the order of its partition."""
        self.others_claim |= self.has_caught_up and mark.process != self._process
        self._partition(mark.shard).note(mark, now)

    def caught_up(self, since: float, now: float) -> None:
        """Note that everything has been read that was in the log at a monotonic time."""
        if self._caught_up_at is None:
            self._caught_up_at = now
        self._read_until = since

    @property
    def has_caught_up(self) -> bool:
        """Return whether the log has been read to its end once."""
        return self._caught_up_at is not None

    def is_fresh(self, now: float) -> bool:
        """Return whether the log has been followed for less than a lease: others seem to end later than they do."""
        return self._caught_up_at is None or now < self._caught_up_at + LEASE_SECONDS

    def has_read_since(self, time: float) -> bool:
        """Return whether everything has been read that was in the log at a monotonic time, and a moment later."""
        return self._read_until is not None and self._read_until > time

    # -- claims -------------------------------------------------------------------------------------------------

    @property
    def count_in_force(self) -> int | None:
        """Return the number of shards that is in force, None if no shard was ever claimed."""
        claim = self._partition(ARBITER).newest_claim
        return None if claim is None else claim.shards

    def epoch(self, shard: int) -> int:
        """Return the newest epoch of a shard, 0 if it was never claimed."""
        return self._partition(shard).epoch

    def may_claim(self, shard: int) -> bool:
        """Return whether a claim can succeed: shards other than the first wait until their number is in force."""
        return shard == ARBITER or self.count_in_force == self._shards

    def is_newest_claim(self, shard: int, epoch: int) -> bool:
        """Return whether a claim of ours is in the log, and no newer one is."""
        claim = self._partition(shard).newest_claim
        return claim is not None and claim.process == self._process and claim.epoch == epoch

    def superseded_by(self, shard: int, epoch: int) -> str | None:
        """Return who has claimed the shard since, or that another number of shards is in force; None if neither."""
        claim = self._partition(shard).newest_claim
        if claim is not None and claim.process != self._process and claim.epoch >= epoch:
            return claim.owner
        arbiter = self._partition(ARBITER).newest_claim
        if shard != ARBITER and arbiter is not None and arbiter.shards != self._shards:
            return arbiter.owner
        return None

    # -- holders ------------------------------------------------------------------------------------------------

    def newest_session_id(self, shard: int) -> int:
        """Return the largest session of all marks, and of those that former owners of our symbols may have begun since.

        A session is named by its owner's clock, which may be ahead of ours, and can begin while the lease lasts.
        """
        partitions = self._partitions.values()
        marks = (mark for one in partitions for mark in (one.last, one.former) if mark is not None)
        held = (mark for mark in marks if mark.kind is MarkKind.HOLD and mark.process != self._process)
        possible = (mark.time_us + mark.lease_ms * 1000 for mark in held if self.excludes(mark, shard))
        return max(*(partition.newest_session_id for partition in partitions), *possible, 0)

    def sessions(self) -> set[int]:
        """Return the latest sessions of the owner of each shard and of the one before it."""
        marks = (mark for partition in self._partitions.values() for mark in (partition.last, partition.former))
        return {mark.session_id for mark in marks if mark is not None and mark.session_id is not None}

    def last(self, shard: int) -> Mark | None:
        """Return the newest mark of the last holder of a shard, None if it had none."""
        return self._partition(shard).last

    def former(self, shard: int) -> Mark | None:
        """Return the last mark of the former owner; of another number of shards the one that ended first."""
        own = self._partition(shard).former
        if own is not None and own.shards == self._shards:
            return own
        last = (one for partition in self._partitions.values() for one in (partition.last, partition.former) if one)
        others = [mark for mark in last if mark.shards != self._shards]
        return min(others, key=lambda mark: mark.last_data_us or 0, default=own)

    def other_holder(self, shard: int, now: float) -> tuple[Mark, float] | None:
        """Return the newest mark of another process that holds a shard, and how long its lease lasts; None if none."""
        holding = [
            (mark, lease_end - now)
            for process, (mark, lease_end) in self._partition(shard).holders.items()
            if process != self._process and mark.kind is MarkKind.HOLD and now < lease_end
        ]
        return max(holding, key=lambda held: held[0].epoch, default=None)

    def held_by(self, shard: int, now: float) -> str | None:
        """Return which other process holds our symbols, whatever its epoch; None if none does."""
        return next((mark.owner for mark in self._others(shard, now) if mark.kind is MarkKind.HOLD), None)

    def may_be_held(self, shard: int, now: float) -> bool:
        """Return whether another process may hold our symbols, or wants them."""
        return any(self._others(shard, now))

    def is_free(self, shard: int, now: float) -> bool:
        """Return whether every other process that may have published our symbols has stopped."""
        if self.count_in_force != self._shards or self.may_be_held(shard, now):
            return False
        # The marks of a holder may have been in a topic that was deleted.
        return self._partition(shard).last is not None or not self.is_fresh(now)

    def ends(self, shard: int) -> Iterator[float]:
        """Yield when those who may hold a shard have stopped, if they write nothing more."""
        for partition in self._partitions.values():
            for process, (_, lease_end) in partition.holders.items():
                if process != self._process:
                    yield lease_end
        if self._caught_up_at is not None and self._partition(shard).last is None:
            yield self._caught_up_at + LEASE_SECONDS

    def excludes(self, mark: Mark, shard: int) -> bool:
        """Return whether the process of a mark publishes symbols of a shard of ours while it holds its own."""
        return mark.shard == shard or mark.shards != self._shards

    def _others(self, shard: int, now: float) -> Iterator[Mark]:
        """Yield the newest marks of other processes that may hold some of our symbols."""
        for partition in self._partitions.values():
            for process, (mark, lease_end) in partition.holders.items():
                if process != self._process and self.excludes(mark, shard) and now < lease_end:
                    yield mark

    def _partition(self, shard: int) -> _Partition:
        return self._partitions.setdefault(shard, _Partition())
