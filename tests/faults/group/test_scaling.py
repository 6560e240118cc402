"""Processes are started at once, replaced one after the other, or have another number of shards."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from bridge import log_events
from tests.faults.group.members import group, joined
from tests.support.process import process
from tests.support.service import eventually

if TYPE_CHECKING:
    from tests.faults.group.members import Group
    from tests.support.brokers import RealKafka

TERM = signal.SIGTERM


async def all_owned(running: Group, shards: int) -> None:
    """Wait until each shard has an owner, and just one."""
    wanted = list(range(shards))
    await eventually(lambda: sorted(running.owners()) == wanted, f"owners of {shards} shards", 60)


async def test_two_processes_started_at_once(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """One of them owns the shard, the other stands by: it is never claimed twice."""
    async with group(kafka, topic_prefix) as running:
        first, second = await asyncio.gather(running.start("bridge 0"), running.start("bridge 1"))
        await asyncio.gather(joined(first), joined(second))
        await all_owned(running, 1)
        await running.until_published(500)
        assert len(first.all(log_events.SHARD_CLAIMED)) + len(second.all(log_events.SHARD_CLAIMED)) == 1
        [[owner]] = running.owners().values()
        [other] = running.processes.keys() - {owner}
        await running.stop(other, TERM)
        await running.stop_all(TERM)
    report = await running.proven()
    assert report.handovers.released == report.handovers.expired == 0
    assert running.dropped() == 0


async def test_a_rolling_restart_under_load(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """Three pods of a StatefulSet are replaced one after the other: no shard has two owners, nothing is lost."""
    async with group(kafka, topic_prefix, shards=3) as running:
        names = [f"bridge-{number}" for number in range(3)]
        await asyncio.gather(*map(running.start, names))
        await all_owned(running, 3)
        for name in names:
            await running.until_published(300)
            await running.restart(name, TERM)
            await all_owned(running, 3)
        await eventually(lambda: sorted(map(len, running.shards().values())) == [1, 1, 1], "one shard each", 60)
        await running.until_published(500)
        await running.stop_all(TERM)
    report = await running.proven()
    assert report.handovers.expired == 0
    assert running.dropped() == 0


async def test_another_number_of_shards(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """1, 3, 2 shards: new processes are started, then the old ones are stopped; no symbol has two owners meanwhile."""
    async with group(kafka, topic_prefix) as running:
        await running.start_owner("one a")
        for count, names, before in ((3, ("three a", "three b"), ("one a",)), (2, ("two a",), ("three a", "three b"))):
            shards = {"BRIDGE_SHARDS": str(count)}
            async with process(running.environment("topics", **shards), "topics") as command:
                assert await command.ended() == 0, command.output
            started = [await running.start(name, **shards) for name in names]
            await asyncio.gather(*map(joined, started))
            await running.until_published(200)
            assert not any(one.all(log_events.SHARD_CLAIMED) for one in started)
            for name in before:
                await running.stop(name, TERM)
            await all_owned(running, count)
            await running.until_published(500)
        await running.stop_all(TERM)
    report = await running.proven()
    assert report.handovers.expired == 0
    assert running.dropped() == 0
