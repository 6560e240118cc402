"""Properties of the locks of shards: whatever happens, at most one process publishes a symbol."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.group.shard_locks import Cause, LockState
from tests.group.simulated_group import SimulatedGroup

if TYPE_CHECKING:
    from tests.group.simulated_group import Process


def _assert_exclusive(group: SimulatedGroup) -> None:
    publishing = group.publishing()
    for process, shard in publishing:
        for other, other_shard in publishing:
            if other is not process:
                assert process.shards == other.shards, f"{process.name} and {other.name} publish other shards"
                assert shard != other_shard, f"{process.name} and {other.name} publish shard {shard}"


def _disturb(group: SimulatedGroup, random: Random, counts: list[int]) -> None:
    """Let something happen: most often another assignment, which need not make sense."""
    process = random.choice(group.processes)
    match random.choice(["assign"] * 6 + ["pause", "cut", "kill", "stop", "start"]):
        case "assign":
            wanted = [shard for shard in range(process.shards) if random.random() < 0.5]
            process.locks.want(wanted)
        case "pause":
            process.paused_until = group.now + random.uniform(0.1, 15)
        case "cut":
            process.cut_until = group.now + random.uniform(0.1, 15)
        case "kill" if len(group.processes) > 1:
            group.kill(process)
        case "stop":
            process.locks.want(())
            process.locks.give_back(range(process.shards), Cause.STOPPED)
        case "start" if len(group.processes) < 5:
            group.start(random.choice(counts)).locks.want(range(max(counts)))
        case _:
            pass


@given(seed=st.integers(0, 2**32), counts=st.sampled_from([[1], [3], [1, 3], [2, 3]]))
@settings(max_examples=100, deadline=None)
def test_no_two_processes_publish_a_symbol(seed: int, counts: list[int]) -> None:
    """Pauses, cuts, kills, late and lost messages, and contradictory assignments never give a symbol two owners."""
    random = Random(seed)
    group = SimulatedGroup(random, partitions=max(counts))
    for _ in range(3):
        group.start(random.choice(counts))
    for _ in range(1200):
        if random.random() < 0.05:
            _disturb(group, random, counts)
        group.step()
        _assert_exclusive(group)


@given(seed=st.integers(0, 2**32), counts=st.sampled_from([[1, 1], [3, 3], [1, 3], [3, 2]]))
@settings(max_examples=30, deadline=None)
def test_each_shard_has_an_owner_in_the_end(seed: int, counts: list[int]) -> None:
    """Once the assignment is stable and nothing fails any more, each shard of the number in force has an owner."""
    random = Random(seed)
    before, after = counts
    group = SimulatedGroup(random, partitions=max(counts))
    for _ in range(2):
        group.start(before).locks.want(range(before))
    for _ in range(400):
        if random.random() < 0.05:
            _disturb(group, random, [before])
        group.step()
    for process in list(group.processes):
        group.kill(process)
    group.is_calm = True
    processes = [group.start(after), group.start(after)]
    for shard in range(after):
        _assign(processes, shard, random)
    for _ in range(800):
        group.step()
        _assert_exclusive(group)
    owned = [shard for process in processes for shard in process.locks.owned()]
    assert sorted(owned) == list(range(after))
    assert all(
        process.locks.state(shard) is LockState.OWNED for process in processes for shard in process.locks.owned()
    )


def _assign(processes: list[Process], shard: int, random: Random) -> None:
    """Assign one more shard to one of the processes."""
    process = random.choice(processes)
    process.locks.want({*process.locks._wanted, shard})
