"""The owner of a shard ends: stopped, killed, or frozen past its lease. A standby takes over, visibly and alone."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from bridge import log_events
from bridge.topics import Topic
from tests.faults.group.members import group, publishes
from tests.support.service import control, read

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka

KILL, STOP, CONT, TERM = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM
HANG = signal.SIGUSR2


#: SIGUSR2 blocks the event loop for longer than the lease and the session of the group.
HANGS = "import signal, time\nsignal.signal(signal.SIGUSR2, lambda *_: time.sleep(9))\n"


async def test_a_standby_takes_over_from_an_owner_that_stops(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """SIGTERM: the owner drains, releases its shard and leaves; the standby claims it and says what was missed."""
    async with group(kafka, topic_prefix, rate=1000) as running:
        await running.start_owner()
        standby = await running.start_standby()
        assert standby.all(log_events.CONNECTING_TO_ARIES) == []
        await running.stop("bridge 0", TERM)
        await publishes(standby, 500)
        assert len(standby.all(log_events.CONNECTING_TO_ARIES)) == 1
        await running.stop_all(TERM)
    report = await running.proven()
    assert report.processes == 2
    assert running.dropped() == 0
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
    async with group(kafka, topic_prefix, rate=1000) as running:
        await running.start_owner()
        standby = await running.start_standby()
        await running.stop("bridge 0", KILL)
        await publishes(standby, 500)
        await running.stop_all(TERM)
    await running.proven()
    found = control(await read(kafka.bootstrap_servers, topic_prefix, Topic.CONTROL))
    assert ("SHARD_CLAIMED", "lease of bridge 0 expired") in [(one["kind"], one["reason"]) for one in found]


@pytest.mark.parametrize("freezes", ["process", "loop"])
async def test_an_owner_frozen_past_its_lease_publishes_nothing_more(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str, freezes: str
) -> None:
    """SIGSTOP, or a blocked event loop, until the standby has taken over: what was buffered is dropped, visibly."""
    async with group(kafka, topic_prefix, rate=1000) as running:
        owner = await running.start_owner(sabotage=HANGS)
        standby = await running.start_standby()
        owner.signal(STOP if freezes == "process" else HANG)
        await standby.logged(log_events.SHARD_CLAIMED)
        await publishes(standby, 500)
        if freezes == "process":
            owner.signal(CONT)
        await owner.logged(log_events.SHARD_LOST)
        await publishes(standby, 500)
        await running.stop("bridge 0", TERM)
        await running.stop_all(TERM)
    report = await running.proven()
    assert report.handovers.expired == 1
