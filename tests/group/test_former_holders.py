"""Who had a shard long ago: a process that reads the log only now waits for no owner that others have outlasted."""

from __future__ import annotations

from bridge.group.marks import Mark, MarkKind
from bridge.group.shard_locks import Claimed, ShardLocks


def write_all(locks: ShardLocks, now: float) -> None:
    """Let the log take what is due."""
    for one in locks.due(now):
        locks.note(one, now)
        locks.written(one, now, now)


def of(owner: str, kind: MarkKind, epoch: int, session_id: int) -> Mark:
    """Return a mark of the only shard."""
    return Mark(kind=kind, shard=0, shards=1, epoch=epoch, owner=owner, process=owner, session_id=session_id)


def test_a_process_that_was_killed_long_ago_is_not_waited_for() -> None:
    """Another process has begun a session since: a process that starts now takes over as soon as that one releases."""
    locks = ShardLocks(process="c", owner="c", shards=1)
    locks.note(of("killed", MarkKind.HOLD, 1, 5), 100.0)
    locks.note(of("owner", MarkKind.CLAIM, 2, 5), 100.0)
    locks.note(of("owner", MarkKind.HOLD, 2, 5), 100.0)
    locks.note(of("owner", MarkKind.HOLD, 2, 6), 100.0)
    locks.marks.caught_up(100.0, 100.0)
    locks.want([0])
    write_all(locks, 100.0)
    locks.note(of("owner", MarkKind.RELEASE, 2, 6), 100.1)
    write_all(locks, 100.1)
    locks.marks.caught_up(100.2, 100.2)
    assert [type(one) for one in locks.step(100.2)] == [Claimed]


def test_a_process_that_has_claimed_only_does_not_end_the_lease_of_the_owner() -> None:
    """It names the last session that it knows of; until it has one of its own, the owner may still publish."""
    locks = ShardLocks(process="c", owner="c", shards=1)
    locks.note(of("owner", MarkKind.HOLD, 1, 5), 100.0)
    locks.note(of("claimant", MarkKind.CLAIM, 2, 5), 100.0)
    locks.note(of("claimant", MarkKind.HOLD, 2, 5), 100.0)
    locks.note(of("claimant", MarkKind.RELEASE, 2, 5), 100.0)
    locks.marks.caught_up(100.0, 100.0)
    locks.want([0])
    write_all(locks, 100.0)
    assert locks.due(100.1) == []
    write_all(locks, 105.0)
    locks.marks.caught_up(105.1, 105.1)
    assert [type(one) for one in locks.step(105.1)] == [Claimed]
