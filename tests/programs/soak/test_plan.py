"""The plan of a soak."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from tests.programs.soak.kinds import NoSuchKind, kinds
from tests.programs.soak.plan import STEADY_SECONDS, instance_settings, process_settings, steps

if TYPE_CHECKING:
    from tests.programs.soak.plan import Fault


def plan(seed: int, count: int = 60) -> list[str]:
    """Return a plan's first steps as they are told."""
    return [str(step) for step in islice(steps(seed, kinds(3)), count)]


def test_a_plan_is_a_function_of_its_seed() -> None:
    """The same seed brings the same faults in the same order, and another seed others."""
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)
    assert [process_settings(7, number) for number in range(9)] == [process_settings(7, number) for number in range(9)]


def test_a_plan_is_the_same_in_another_process() -> None:
    """What a failing run has told can be replayed."""
    command = [sys.executable, "-m", "tests.programs.soak", "--plan", "--seed", "7"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout.splitlines()

    assert told == plan(7, len(told))


def test_a_name_conflates_always_or_never() -> None:
    """What a process does that was killed before it could announce it is known from the others of its name."""
    assert "BRIDGE_CONFLATE_MS" not in process_settings(7, 1)
    assert instance_settings(7, "a") == instance_settings(7, "a")
    assert {instance_settings(seed, "a")["BRIDGE_CONFLATE_MS"] for seed in range(20)} == {"0", "100"}


def test_every_kind_comes_before_any_comes_again() -> None:
    """As many faults as there are kinds are all kinds."""
    all_kinds = kinds(3)
    drawn = [fault.kind.name for step in islice(steps(1, all_kinds), len(all_kinds)) for fault in step.faults]

    assert sorted(drawn[: len(all_kinds)]) == sorted(kind.name for kind in all_kinds)


def test_two_faults_at_once_are_of_different_families() -> None:
    """Some steps hold two faults, which do not undo each other."""
    pairs = [step.faults for step in islice(steps(3, kinds(3)), 100) if len(step.faults) > 1]

    assert pairs
    assert all(one.kind.family is not other.kind.family for one, other in pairs)


def test_a_kind_that_must_be_alone_is_alone() -> None:
    """What is expected while one topic is blocked does not hold if anything else fails, too."""
    alone = [step for step in islice(steps(3, kinds(1)), 200) if any(fault.kind.alone for fault in step.faults)]

    assert len(alone) > 10
    assert all(len(step.faults) == 1 for step in alone)


def test_there_is_calm_between_steps() -> None:
    """Each step waits for a while first."""
    assert all(STEADY_SECONDS[0] <= step.steady_seconds <= STEADY_SECONDS[1] for step in islice(steps(3, kinds(1)), 50))


def test_kinds_are_chosen_by_name_or_family() -> None:
    """``--only`` takes both; a name that is none is an error."""
    assert {kind.name for kind in kinds(1, ["process", "dropped"])} >= {"killed", "restarted", "dropped"}
    assert {kind.family for kind in kinds(3, ["kafka"])} == {"kafka"}
    with pytest.raises(NoSuchKind, match="dropt"):
        kinds(1, ["dropt"])


def test_a_single_broker_is_not_asked_to_hand_over() -> None:
    """Kinds that need several brokers come with three of them."""
    assert {kind.name for kind in kinds(3)} - {kind.name for kind in kinds(1)} == {
        "leaders_moved",
        "brokers_restarted_in_turn",
        "partition_without_leader",
        "topic_below_min_isr",
        "too_few_in_sync",
    }


def test_the_kinds_of_a_group() -> None:
    """Its processes have faults of their own, and those of others that do not expect one process."""
    names = {kind.name for kind in kinds(1, group=3)}
    assert names >= {"member_killed", "member_stopped", "member_frozen", "member_cut_from_kafka", "members_rebalanced"}
    assert names >= {"marks_topic_deleted", "member_clock_jumps", "member_with_old_plan", "shards_changed"}
    assert names >= {"broker_killed", "dropped"}
    assert {kind.name for kind in kinds(3, group=3)} - names == {
        "brokers_restarted_in_turn",
        "coordinator_killed",
        "leaders_moved",
    }
    assert not names & {"killed", "subscriptions"}
    assert {fault.parameters["place"] for fault in _drawn("member_frozen")} == {0, 1, 2}


def _drawn(name: str) -> list[Fault]:
    return [fault for step in islice(steps(3, kinds(1, [name], group=3)), 50) for fault in step.faults]
