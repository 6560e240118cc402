"""The owner of a shard ends: stopped, killed, or frozen past its lease. A standby takes over, visibly and alone."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.group.members import SYMBOLS, members, proven_handovers, publishes
from tests.support.service import control, read

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka

KILL, STOP, CONT, TERM = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM


async def test_a_standby_takes_over_from_an_owner_that_stops(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """SIGTERM: the owner drains, releases its shard and leaves; the standby claims it and says what was missed."""
    async with Simulator(rate=1000, lines_per_frame=5) as simulator:
        async with members(simulator, kafka, topic_prefix, 2, ARIES_SYMBOLS=SYMBOLS) as (owner, standby):
            owner.signal(TERM)
            assert await owner.ended() == 0
            await publishes(standby, 500)
            standby.signal(TERM)
            assert await standby.ended() == 0
    report = await proven_handovers(kafka, topic_prefix)
    assert report.processes == 2
    found = control(await read(kafka.bootstrap_servers, topic_prefix, Topic.CONTROL))
    kinds = [(record["instance"], record["kind"], record["reason"]) for record in found]
    assert ("bridge 0", "SHARD_RELEASED", "stopped") in kinds
    assert ("bridge 1", "SHARD_CLAIMED", "released by bridge 0") in kinds
    [resumed] = [one for one in found if one["kind"] == "RESUMED" and one["instance"] == "bridge 1"]
    assert resumed["gap_from_us"] < resumed["gap_to_us"]


async def test_a_standby_takes_over_from_an_owner_that_is_killed(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """SIGKILL: once the session has timed out and the lease has ended, the standby claims the shard."""
    async with Simulator(rate=1000, lines_per_frame=5) as simulator:
        async with members(simulator, kafka, topic_prefix, 2, ARIES_SYMBOLS=SYMBOLS) as (owner, standby):
            owner.signal(KILL)
            await owner.ended()
            await publishes(standby, 500)
            standby.signal(TERM)
            assert await standby.ended() == 0
    await proven_handovers(kafka, topic_prefix)
    found = control(await read(kafka.bootstrap_servers, topic_prefix, Topic.CONTROL))
    assert ("SHARD_CLAIMED", "lease of bridge 0 expired") in [(one["kind"], one["reason"]) for one in found]


async def test_an_owner_frozen_past_its_lease_publishes_nothing_more(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """SIGSTOP, and SIGCONT after the standby has taken over: what was buffered and received is dropped, visibly."""
    async with Simulator(rate=1000, lines_per_frame=5) as simulator:
        async with members(simulator, kafka, topic_prefix, 2, ARIES_SYMBOLS=SYMBOLS) as (owner, standby):
            owner.signal(STOP)
            await publishes(standby, 500)
            owner.signal(CONT)
            await owner.logged("shard lost, its buffered records are dropped")
            await publishes(standby, 500)
            for bridge in (owner, standby):
                bridge.signal(TERM)
                assert await bridge.ended() == 0
    await proven_handovers(kafka, topic_prefix)
