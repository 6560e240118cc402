"""From bridges with a shard of their own to a group, and back: whoever starts later waits, and no symbol has two."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from bridge import log_events
from tests.faults.group.members import group, publishes
from tests.faults.group.test_scaling import all_owned
from tests.faults.process.ends import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tests.faults.group.members import Group
    from tests.support.brokers import RealKafka
    from tests.support.process import Process

TERM, KILL = signal.SIGTERM, signal.SIGKILL
#: A bridge that announced no end is taken for dead after so long; the default is longer than a test.
IMPATIENT = "from bridge.kafka import shard_handover\nshard_handover.SILENCE_SECONDS = 1.0\n"


async def start_plain(running: Group, number: int = 0, count: int = 1) -> Process:
    """Start a bridge with a shard of its own."""
    name = f"plain {number}"
    return await running.start(name, BRIDGE_SHARD=str(number), BRIDGE_SHARDS=str(count))


async def waits_for(bridge: Process, *names: str) -> Mapping[str, Any]:
    """Wait until a process waits for just these; return its status."""
    return await until(bridge, lambda now: now["waiting_for"] == [*names], f"waits for {names}")


async def test_a_rolling_update_to_a_group(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """The new pods are ready as standbys beside two old ones, and claim three shards when both have ended."""
    async with group(kafka, topic_prefix, shards=3) as running:
        plain = await asyncio.gather(*(start_plain(running, number, 2) for number in range(2)))
        await asyncio.gather(*(publishes(bridge, 100) for bridge in plain))
        standbys = await asyncio.gather(*(running.start_standby(f"bridge {number}") for number in range(2)))
        for standby in standbys:
            now = await waits_for(standby, "plain 0", "plain 1")
            assert (now["ready"], now["group"]["role"]) == (True, "standby")
            assert "waits for the end of plain 0, plain 1" in now["checks"]["standby"]["detail"]
        await running.stop("plain 0", TERM)
        await publishes(plain[1], 300)
        assert not any(standby.all(log_events.SHARD_CLAIMED) for standby in standbys)
        await running.stop("plain 1", TERM)
        await all_owned(running, 3)
        await running.until_published(500)
        for standby in standbys:
            assert (await waits_for(standby))["ready"]
        await running.stop_all(TERM)
    report = await running.proven()
    assert report.handovers.expired == 0
    assert running.dropped() == 0


async def test_back_from_a_group(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """A bridge with a shard of its own waits for the last member, also while a standby takes over."""
    async with group(kafka, topic_prefix) as running:
        await running.start_owner()
        standby = await running.start_standby()
        plain = await start_plain(running)
        now = await waits_for(plain, "bridge 0", "bridge 1")
        assert (now["ready"], now["alive"], now["phase"]) == (False, True, "starting")
        await running.stop("bridge 0", TERM)
        await publishes(standby, 300)
        await waits_for(plain, "bridge 1")
        await running.stop("bridge 1", TERM)
        await publishes(plain, 500)
        assert (await waits_for(plain))["ready"]
        await running.stop_all(TERM)
    await running.proven()
    assert running.dropped() == 0


async def test_a_killed_bridge_is_waited_for_until_it_is_silent(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """It announced no end. A second process of the group need not wait for it, as the first one has."""
    async with group(kafka, topic_prefix) as running:
        await publishes(await start_plain(running), 100)
        await running.stop("plain 0", KILL)
        owner = await running.start("bridge 0", sabotage=IMPATIENT)
        await owner.logged(log_events.OTHER_BRIDGES_ENDED)
        await publishes(owner, 300)
        standby = await running.start_standby()
        await running.stop("bridge 0", TERM)
        await publishes(standby, 300)
        await running.stop_all(TERM)
    await running.proven()


async def test_a_bridge_of_another_group_is_not_waited_for(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """It has other symbols; both wait for none, whoever starts first."""
    async with group(kafka, topic_prefix) as running:
        await running.start_owner()
        other = {"BRIDGE_SHARD": "0", "BRIDGE_GROUP": "other", "ARIES_SYMBOLS": "GOOG"}
        await running.start_owner("other", **other)
        await running.restart("bridge 0", TERM)
        await publishes(running.processes["bridge 0"], 100)
        assert not any(bridge.all(log_events.OTHER_BRIDGES_ALIVE) for bridge in running.processes.values())
        await running.stop_all(TERM)
