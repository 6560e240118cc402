"""A process of a group that cannot reach Aries: it says so, and another one takes over, if that helps."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from bridge import log_events
from bridge.topics import Topic
from tests.faults.group.members import group, owned, publishes
from tests.faults.proxy import Proxy
from tests.support.service import control, eventually, read

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka
    from tests.support.process import Process

KILL, TERM = signal.SIGKILL, signal.SIGTERM
#: A member is without a session for so long before others are preferred; the default is longer than a test.
IMPATIENT = "from bridge.group import fitness\nfitness.UNREACHABLE_SECONDS = 2.0\n"
QUICK = {
    "ARIES_PING_INTERVAL_SECONDS": "1",
    "ARIES_PONG_TIMEOUT_SECONDS": "1",
    "ARIES_STALE_AFTER_SECONDS": "2",
    "ARIES_BACKOFF_MAX_SECONDS": "1",
}


def has_joined_since(bridge: Process, event: str) -> bool:
    """Return whether a process has joined its group once more since it has logged an event."""
    events = [line["event"] for line in bridge.logs]
    return log_events.GROUP_JOINED in events[events.index(event) :]


async def test_an_owner_that_cannot_reach_aries_gives_its_shard_away(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """The network between it and Aries is cut: it says so after a while; another takes over, and keeps the shard."""
    async with group(kafka, topic_prefix, QUICK) as running, Proxy(running.simulator.port) as network:
        url = network.instead_of(running.simulator.url)
        owner = await running.start_owner(sabotage=IMPATIENT, ARIES_WS_URL=url)
        standby = await running.start_standby(sabotage=IMPATIENT)
        network.black_hole()
        assert (await owner.logged(log_events.ARIES_UNREACHABLE))["level"] == "error"
        await standby.logged(log_events.SHARD_CLAIMED)
        await publishes(standby, 200)
        network.heal()
        await publishes(standby, 200)
        assert len(owner.all(log_events.SHARD_CLAIMED)) == 1
        await running.stop("bridge 0", TERM)
        await running.stop_all(TERM)
    await running.proven()
    found = control(await read(kafka.bootstrap_servers, topic_prefix, Topic.CONTROL))
    released = [one["reason"] for one in found if one["kind"] == "SHARD_RELEASED" and one["instance"] == "bridge 0"]
    assert released == ["Aries cannot be reached"]


async def test_while_aries_is_away_a_shard_moves_once_at_most(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """The second process finds out that it cannot reach Aries either, and keeps the shard until Aries is back."""
    async with group(kafka, topic_prefix, QUICK) as running, Proxy(running.simulator.port) as network:
        url = network.instead_of(running.simulator.url)
        owner = await running.start_owner(sabotage=IMPATIENT, ARIES_WS_URL=url)
        standby = await running.start_standby(sabotage=IMPATIENT, ARIES_WS_URL=url)
        network.turn_away()
        network.cut()
        for bridge in (owner, standby):
            await bridge.logged(log_events.ARIES_UNREACHABLE)
        await eventually(lambda: has_joined_since(standby, log_events.ARIES_UNREACHABLE), "all know of both", 60)
        network.heal()
        await publishes(standby, 300)
        assert [len(one.all(log_events.SHARD_CLAIMED)) for one in (owner, standby)] == [1, 1]
        await running.stop("bridge 0", TERM)
        await running.stop_all(TERM)
    await running.proven()


async def test_a_standby_that_cannot_reach_aries_says_so_and_gives_the_shard_to_another(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """It takes over, finds that it cannot reach Aries, and does not sit on the shard while another process can."""
    async with group(kafka, topic_prefix, QUICK) as running, Proxy(running.simulator.port) as network:
        await running.start_owner("bridge 0", sabotage=IMPATIENT)
        url = network.instead_of(running.simulator.url)
        blind = await running.start_standby("bridge 1", sabotage=IMPATIENT, ARIES_WS_URL=url)
        other = await running.start_standby("bridge 2", sabotage=IMPATIENT)
        network.turn_away()
        await running.stop("bridge 0", TERM)
        await blind.logged(log_events.SHARD_CLAIMED)
        assert (await blind.logged(log_events.ARIES_UNREACHABLE))["shards"] == [0]
        await other.logged(log_events.SHARD_CLAIMED)
        await publishes(other, 200)
        await eventually(lambda: owned(blind) == set(), "it has let the shard go")
        await running.stop("bridge 1", TERM)
        await running.stop_all(TERM)
    report = await running.proven()
    assert report.handovers.released == 2


async def test_the_last_process_keeps_a_shard_that_it_cannot_serve(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """There is no process to give it to: it says so, and publishes as soon as it reaches Aries."""
    async with group(kafka, topic_prefix, QUICK) as running, Proxy(running.simulator.port) as network:
        await running.start_owner("bridge 0")
        url = network.instead_of(running.simulator.url)
        network.turn_away()
        blind = await running.start_standby("bridge 1", sabotage=IMPATIENT, ARIES_WS_URL=url)
        await running.stop("bridge 0", KILL)
        await blind.logged(log_events.ARIES_UNREACHABLE)
        network.heal()
        await publishes(blind, 200)
        await running.stop_all(TERM)
    await running.proven()
