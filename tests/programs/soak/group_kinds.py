"""Faults of the processes of a group; ``place`` is that of a process."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.programs.soak.group_testbed import DISTURBED, GroupTestbed
from tests.programs.soak.plan import Family, Kind, between, one_of, whole

if TYPE_CHECKING:
    from tests.programs.soak.testbed import Testbed

#: Kinds of other families that concern a group; those that expect one process are left out.
ALSO_OF_GROUPS = (
    *("broker_killed", "broker_hangs_briefly", "all_brokers_killed", "all_brokers_hang", "kafka_cut"),
    *("kafka_black_hole", "kafka_slow", "leaders_moved", "dropped", "closed", "session_expires", "silence"),
)


def group_kinds(count: int) -> tuple[Kind, ...]:
    """Return the kinds of a group of so many processes."""
    place, seconds = whole(0, count - 1), between(0.5, 15)
    return (
        Kind("member_killed", Family.GROUP, member_killed, {"place": place, "seconds": between(0, 12)}),
        Kind("member_stopped", Family.GROUP, member_stopped, {"place": place, "seconds": between(0, 3)}),
        Kind("member_frozen", Family.GROUP, member_frozen, {"place": place, "seconds": seconds}),
        Kind("member_cut_from_kafka", Family.GROUP, member_cut_from_kafka, {"seconds": seconds}),
        Kind("member_cut_from_aries", Family.GROUP, member_cut_from_aries, {"seconds": between(1, 25)}),
        Kind("members_rebalanced", Family.GROUP, members_rebalanced, {"times": whole(1, 3)}),
        Kind("members_replaced", Family.GROUP, members_replaced, {"first": one_of("start", "stop")}),
        Kind("all_members_killed", Family.GROUP, all_members_killed, {}),
    )


async def member_killed(testbed: Testbed, place: int, seconds: float) -> None:
    """Kill a process (SIGKILL), and start another after a delay."""
    group = _group(testbed)
    await group.stop_member(place, signal.SIGKILL)
    await asyncio.sleep(seconds)
    await group.start_member(place)


async def member_stopped(testbed: Testbed, place: int, seconds: float) -> None:
    """Stop a process (SIGTERM), and start another after a delay."""
    group = _group(testbed)
    await group.stop_member(place, signal.SIGTERM)
    await asyncio.sleep(seconds)
    await group.start_member(place)


async def member_frozen(testbed: Testbed, place: int, seconds: float) -> None:
    """Suspend a process (SIGSTOP), perhaps past its lease and its session, and resume it."""
    bridge = _group(testbed).members[place]
    bridge.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    bridge.signal(signal.SIGCONT)


async def member_cut_from_kafka(testbed: Testbed, seconds: float) -> None:
    """Swallow all bytes between one process and Kafka."""
    for network in testbed.kafka_network.values():
        network.black_hole()
    await asyncio.sleep(seconds)
    for network in testbed.kafka_network.values():
        network.heal()


async def member_cut_from_aries(testbed: Testbed, seconds: float) -> None:
    """Swallow all bytes between one process and Aries."""
    testbed.network.black_hole()
    await asyncio.sleep(seconds)
    testbed.network.heal()


async def members_rebalanced(testbed: Testbed, times: int) -> None:
    """Let a further process join the group and leave it again."""
    group = _group(testbed)
    for _ in range(times):
        await group.start_member(group.count)
        await group.members[group.count].process.logged("joined the group")
        await group.stop_member(group.count, signal.SIGTERM)
        del group.members[group.count]


async def members_replaced(testbed: Testbed, first: str) -> None:
    """Replace all processes one after the other, with one more or one less meanwhile."""
    group = _group(testbed)
    for place in range(group.count):
        if first == "start":
            former = group.members[place]
            await group.start_member(place)
            await group.members[place].process.logged("joined the group")
            await former.end(signal.SIGTERM, within_seconds=group.exit_seconds)
        else:
            await group.stop_member(place, signal.SIGTERM)
            await group.start_member(place)
            await group.members[place].process.logged("joined the group")


async def all_members_killed(testbed: Testbed) -> None:
    """Kill all processes, and start others."""
    await testbed.restart(signal.SIGKILL)


def _group(testbed: Testbed) -> GroupTestbed:
    assert isinstance(testbed, GroupTestbed)
    assert DISTURBED in testbed.members
    return testbed
