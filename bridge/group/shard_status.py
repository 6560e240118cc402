"""The shards of a group as one process sees them, to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bridge.group.marks import Progress
from bridge.group.shard_locks import LockState

if TYPE_CHECKING:
    from bridge.group.shard_locks import ShardLocks

#: What is shown of each state of a lock; a suspended one is ours with a lease that has ended.
_SHOWN: Final = {
    LockState.CLAIMING: "claiming",
    LockState.HOLDING: "claiming",
    LockState.OWNED: "owned",
    LockState.SUSPENDED: "owned",
    LockState.RELEASING: "releasing",
}
_OURS: Final = (LockState.OWNED, LockState.SUSPENDED, LockState.RELEASING)


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """A shard: its owner if it has one, and how long the lease of the owner lasts (negative if it has ended).

    ``state`` is ``owned``, ``claiming``, ``releasing``, ``other`` or ``free``.
    """

    shard: int
    owner: str | None
    epoch: int | None
    session_id: int | None
    is_owned: bool
    state: str
    lease_seconds: float | None


def shard_status(locks: ShardLocks, owner: str, shard: int, now: float) -> ShardStatus:
    """Return what a process called ``owner`` knows of a shard at a moment (monotonic seconds)."""
    state = locks.state(shard)
    if state is not None and state in _OURS:
        return ShardStatus(
            shard=shard,
            owner=owner,
            epoch=locks.epoch(shard),
            session_id=locks.progress.get(shard, Progress()).session_id,
            is_owned=True,
            state=_SHOWN[state],
            lease_seconds=locks.lease_seconds(shard, now),
        )
    held = locks.marks.other_holder(shard, now)
    without_claim = "free" if held is None else "other"
    return ShardStatus(
        shard=shard,
        owner=None if held is None else held[0].owner,
        epoch=locks.epoch(shard) if held is None else held[0].epoch,
        session_id=None if held is None else held[0].session_id,
        is_owned=False,
        state=without_claim if state is None else _SHOWN[state],
        lease_seconds=None if held is None else held[1],
    )


def shards_without_owner(locks: ShardLocks, shards: int, now: float) -> int:
    """Return how many shards no process may publish, of the number in force; of ``shards`` if none is."""
    count = locks.marks.count_in_force or shards
    return sum(not _is_published(locks, shard, count, now) for shard in range(count))


def _is_published(locks: ShardLocks, shard: int, count: int, now: float) -> bool:
    if locks.state(shard) in (LockState.OWNED, LockState.RELEASING):
        return True
    held = locks.marks.other_holder(shard, now)
    return held is not None and held[0].shards == count
