"""The locks of shards while Kafka is away, and marks that are late or missing."""

from __future__ import annotations

import pytest

from bridge.group.marks import LEASE_SECONDS, Mark, MarkKind
from bridge.group.shard_locks import (
    WRITE_AGAIN_SECONDS,
    Cause,
    Claimed,
    LockState,
    Lost,
    ReleaseRequested,
    Resumed,
    ShardLocks,
    Suspended,
)


def mark(kind: MarkKind, shard: int, owner: str, epoch: int = 1) -> Mark:
    return Mark(kind=kind, shard=shard, shards=2, epoch=epoch, owner=owner, process=owner, session_id=1)


def owner_of_shard_0(now: float) -> ShardLocks:
    """Return the locks of a process that owns shard 0."""
    locks = ShardLocks(process="a", owner="a", shards=2, wall_clock=lambda: 0)
    locks.note(mark(MarkKind.RELEASE, 0, "z", 0), now)
    locks.marks.caught_up(now, now)
    locks.want([0])
    write_all(locks, now)
    locks.step(now)
    write_all(locks, now)
    locks.marks.caught_up(now + 0.1, now + 0.1)
    locks.step(now + 0.1)
    assert locks.state(0) is LockState.OWNED
    return locks


def write_all(locks: ShardLocks, now: float) -> None:
    """Let the log take what is due."""
    for one in locks.due(now):
        locks.note(one, now)
        locks.written(one, now, now)


@pytest.mark.parametrize("lapses_first", [True, False])
def test_a_process_that_stops_while_kafka_is_away_waits_for_it(lapses_first: bool) -> None:  # noqa: FBT001 - parametrised
    """Once its lease is renewed it releases the shard in order; reading ends when it stops, whenever that is."""
    locks = owner_of_shard_0(100.0)
    locks.want(())
    if not lapses_first:
        locks.give_back([0], Cause.STOPPED)
        assert locks.step(101.0) == [ReleaseRequested(0, Cause.STOPPED, "")]
    assert Suspended() in locks.step(100.0 + LEASE_SECONDS)
    if lapses_first:
        locks.give_back([0], Cause.STOPPED)
        assert locks.step(106.0) == [ReleaseRequested(0, Cause.STOPPED, "")]
    locks.give_back([0], Cause.STOPPED)
    assert locks.state(0) is LockState.SUSPENDED
    assert not locks.may_publish(106.0)
    write_all(locks, 110.0)
    locks.marks.caught_up(110.1, 110.1)
    assert locks.step(110.1) == [Resumed()]
    assert locks.state(0) is LockState.RELEASING
    assert locks.may_publish(110.1)
    locks.released(0)
    assert [one.kind for one in locks.due(110.2)] == [MarkKind.RELEASE]


def test_a_process_that_stops_while_kafka_is_away_loses_what_another_claims() -> None:
    """It gives up the shard, and need not wait any more."""
    locks = owner_of_shard_0(100.0)
    locks.step(106.0)
    locks.give_back([0], Cause.STOPPED)
    locks.note(mark(MarkKind.CLAIM, 0, "b", epoch=9), 107.0)
    assert Lost(0, "b") in locks.step(107.0)
    assert locks.owned() == []


def test_a_shard_that_another_claims_is_lost_if_it_is_not_released_in_time() -> None:
    """What could not be published before the lease has ended is given up."""
    locks = owner_of_shard_0(100.0)
    locks.note(mark(MarkKind.CLAIM, 0, "b", epoch=9), 101.0)
    assert locks.step(101.0) == [ReleaseRequested(0, Cause.CLAIMED, "b")]
    assert Lost(0, "b") in locks.step(106.0)


def test_a_claim_that_compaction_has_removed() -> None:
    """The newest hold of shard 0 tells which number of shards is in force, so that others can be claimed."""
    locks = ShardLocks(process="b", owner="b", shards=2)
    now = 100.0
    locks.note(mark(MarkKind.HOLD, 0, "a"), now)
    locks.note(mark(MarkKind.RELEASE, 1, "a"), now)
    locks.marks.caught_up(now, now)
    locks.want([1])
    assert locks.marks.count_in_force == 2
    assert [(one.kind, one.shard) for one in locks.due(now)] == [(MarkKind.CLAIM, 1)]


def test_a_process_that_had_only_claimed_a_shard_is_no_former_owner() -> None:
    """Of two that claim a new shard at the same time one gives way; the other one is its first owner all the same."""
    locks = ShardLocks(process="b", owner="b", shards=1)
    given_up = Mark(kind=MarkKind.RELEASE, shard=0, shards=1, epoch=1, owner="a", process="a")
    locks.note(given_up, 100.0)
    locks.marks.caught_up(100.0, 100.0)
    locks.want([0])
    write_all(locks, 100.0)
    write_all(locks, 100.0 + LEASE_SECONDS)  # an owner whose marks were deleted with their topic would have stopped
    locks.marks.caught_up(105.1, 105.1)
    assert locks.step(105.1) == [Claimed(0, Cause.FIRST, None, 0)]


def test_a_mark_that_cannot_be_written_is_tried_again_after_a_pause() -> None:
    """Kafka that refuses at once is not asked without a pause."""
    locks = owner_of_shard_0(100.0)
    [hold] = locks.due(101.0)
    locks.failed(hold, 101.0)
    assert locks.due(101.0) == []
    assert 0 < locks.next_due(101.0) <= WRITE_AGAIN_SECONDS
    assert locks.due(101.0 + WRITE_AGAIN_SECONDS) == [hold]
