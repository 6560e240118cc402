"""The locks of shards, in cases that are too rare for random ones."""

from __future__ import annotations

from bridge.group.marks import Mark, MarkKind
from bridge.group.shard_locks import ShardLocks


def mark(kind: MarkKind, shard: int, owner: str) -> Mark:
    return Mark(kind=kind, shard=shard, shards=2, epoch=1, owner=owner, process=owner)


def test_a_claim_that_compaction_has_removed() -> None:
    """The newest hold of shard 0 tells which number of shards is in force, so that others can be claimed."""
    locks = ShardLocks(process="b", owner="b", shards=2)
    now = 100.0
    locks.note(mark(MarkKind.HOLD, 0, "a"), now)
    locks.note(mark(MarkKind.RELEASE, 1, "a"), now)
    locks.caught_up(now, now)
    locks.want([1])
    assert locks.count_in_force == 2
    assert [(one.kind, one.shard) for one in locks.due(now)] == [(MarkKind.CLAIM, 1)]
