"""Faults of the processes of a group; ``place`` is that of a process."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from bridge import log_events
from bridge.group.ownership import PLANS_DIFFER_SECONDS
from bridge.simulator import faults
from tests.faults.group.members import JUMPING_CLOCK
from tests.programs.soak.group_testbed import DISTURBED, GroupTestbed, owned_by
from tests.programs.soak.kafka_kinds import broker_killed
from tests.programs.soak.plan import Family, Kind, between, one_of, whole
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random
    from typing import Any

    from tests.programs.soak.plan import Play
    from tests.programs.soak.testbed import Testbed

#: Kinds of other families that concern a group; those that expect one process are left out.
ALSO_OF_GROUPS = (
    *("broker_killed", "broker_hangs_briefly", "all_brokers_killed", "all_brokers_hang", "kafka_cut"),
    *("kafka_black_hole", "kafka_slow", "leaders_moved", "brokers_restarted_in_turn"),
    *("dropped", "closed", "session_expires", "silence"),
)
#: What a member may take to move its shards once it is told to: it drains for seconds, and machines are busy.
MOVED_SECONDS = 60.0


def group_kinds(count: int, brokers: int) -> tuple[Kind, ...]:
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
        _alone("marks_topic_deleted", marks_topic_deleted, {"seconds": between(0, 8)}),
        _alone("member_clock_jumps", member_clock_jumps, {"place": place, "minutes": one_of(-300, 50)}),
        _alone("member_with_old_plan", member_with_old_plan, {"place": place}),
        _alone("shards_changed", shards_changed, {"shards": whole(1, count + 1)}),
        *((_alone("blind_member_takes_over", blind_member_takes_over, {}),) if count > 1 else ()),
        *((_coordinator_killed(),) if brokers > 1 else ()),
    )


def _alone(name: str, play: Play, draws: Mapping[str, Callable[[Random], Any]]) -> Kind:
    return Kind(name, Family.GROUP, play, draws, alone=True)


def _coordinator_killed() -> Kind:
    # Of the family of Kafka, so that no other fault starts or ends the same broker.
    return Kind("coordinator_killed", Family.KAFKA, coordinator_killed, {"seconds": between(0, 12)})


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
        await group.joined(group.count)
        await group.stop_member(group.count, signal.SIGTERM)
        del group.members[group.count]


async def members_replaced(testbed: Testbed, first: str) -> None:
    """Replace all processes one after the other, with one more or one less meanwhile."""
    group = _group(testbed)
    for place in range(group.count):
        if first == "start":
            former = group.members[place]
            await group.start_member(place)
            await group.joined(place)
            await former.end(signal.SIGTERM, within_seconds=group.exit_seconds)
        else:
            await group.replace_member(place)


async def all_members_killed(testbed: Testbed) -> None:
    """Kill all processes, and start others."""
    await testbed.restart(signal.SIGKILL)


async def coordinator_killed(testbed: Testbed, seconds: float) -> None:
    """Kill the broker that coordinates the group, and start it again."""
    number = await asyncio.to_thread(testbed.kafka.coordinator_of, _group(testbed).marks_topic)
    await broker_killed(testbed, number, seconds)


async def marks_topic_deleted(testbed: Testbed, seconds: float) -> None:
    """Delete the topic in which shards are claimed, and create it again after a delay; no shard moves."""
    group = _group(testbed)
    before = {number: owned_by(bridge) for number, bridge in group.members.items()}
    await asyncio.to_thread(testbed.kafka.delete_topic, group.marks_topic)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(group.create_marks_topic)
    testbed.problems += [
        f"without the marks, process {bridge.number} came to have the shards {owned_by(bridge)}, not {before[place]}"
        for place, bridge in group.members.items()
        if owned_by(bridge) != before[place]
    ]


async def member_clock_jumps(testbed: Testbed, place: int, minutes: int) -> None:
    """Let the wall clock of a process jump and jump back, with a new session at each; no lease ends by that.

    It has its own time again before another process can have its shards: ``verify`` could not tell two owners of a
    shard from clocks that differ.
    """
    group = _group(testbed)
    bridge = await group.replace_member(place, sabotage=JUMPING_CLOCK.format(minutes=minutes))
    problem = await group.recovered()
    ended = len(bridge.process.all(log_events.LEASES_ENDED))
    for _ in range(2):
        sessions = len(bridge.process.all(log_events.SESSION_STARTED))
        bridge.signal(signal.SIGUSR2)
        testbed.simulator.inject_nowait(faults.Drop())
        if owned_by(bridge):
            await bridge.process.logged(log_events.SESSION_STARTED, sessions + 1)
        problem = problem or await group.recovered()
    if problem is not None:
        testbed.problems.append(f"with a clock that jumps: {problem}")
    if len(bridge.process.all(log_events.LEASES_ENDED)) > ended:
        testbed.problems.append("a lease has ended as the wall clock has jumped")
    await group.replace_member(place)


async def member_with_old_plan(testbed: Testbed, place: int) -> None:
    """Replace a process by one with other subscriptions, until all processes have said so; then by a usual one."""
    group = _group(testbed)
    told = {number: len(bridge.process.all(log_events.PLANS_DIFFER)) for number, bridge in group.members.items()}
    old = ",".join(testbed.symbols[::2])
    settings = {"ARIES_SUBSCRIPTIONS_FILE": "", "ARIES_SYMBOLS": old, "ARIES_EVENTS": "quotes,trades"}
    await group.replace_member(place, **settings)
    told[place] = 0
    await asyncio.sleep(PLANS_DIFFER_SECONDS)
    for number, bridge in group.members.items():
        await bridge.process.logged(log_events.PLANS_DIFFER, told[number] + 1)
    await group.replace_member(place)


async def blind_member_takes_over(testbed: Testbed) -> None:
    """Let the only process that is left be one that cannot reach Aries: it says so, and gives all shards to others."""
    group = _group(testbed)
    others = [place for place in range(group.count) if place != DISTURBED]
    testbed.network.turn_away()
    testbed.network.cut()
    try:
        blind = await group.replace_member(DISTURBED)
        for place in others:
            await group.stop_member(place, signal.SIGTERM)
        await eventually(lambda: len(owned_by(blind)) == group.shards, "the last process has all shards", MOVED_SECONDS)
        await blind.process.logged(log_events.ARIES_UNREACHABLE)
        await group.start_bridge()
        await eventually(lambda: not owned_by(blind), "it has given all shards to others", MOVED_SECONDS)
    finally:
        testbed.network.heal()


async def shards_changed(testbed: Testbed, shards: int) -> None:
    """Change the number of shards: start processes with the new one, then stop the others; these wait until then."""
    group = _group(testbed)
    group.shards = shards
    await group.add_partitions()
    former = list(group.members.values())
    try:
        for place in range(group.count):
            await group.start_member(place)
        for place in range(group.count):
            await group.joined(place)
    finally:
        for bridge in former:
            await bridge.end(signal.SIGTERM, within_seconds=group.exit_seconds)


def _group(testbed: Testbed) -> GroupTestbed:
    assert isinstance(testbed, GroupTestbed)
    assert DISTURBED in testbed.members
    return testbed
