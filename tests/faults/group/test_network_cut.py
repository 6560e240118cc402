"""The network between a process and Kafka is cut: for longer than the lease, or for a moment."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bridge import log_events
from tests.faults.group.members import Group, group, owned, publishes, reads
from tests.faults.process.ends import until
from tests.faults.proxy import Proxy
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.brokers import RealKafka

TERM = signal.SIGTERM


@asynccontextmanager
async def cut_off(kafka: RealKafka, prefix: str) -> AsyncIterator[tuple[Group, Proxy]]:
    """Run an owner behind a network of its own, and a standby."""
    behind, port = kafka.proxied()
    async with Proxy(behind, port=port) as network, group(kafka, prefix) as running:
        await running.start_owner(servers=f"localhost:{port}")
        await running.start_standby()
        yield running, network


@pytest.mark.parametrize("ends", ["swallowed", "closed"])
async def test_an_owner_cut_off_from_kafka_publishes_nothing_more(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str, ends: str
) -> None:
    """Its lease ends before a standby takes over; what was under way then does not arrive when the network heals."""
    async with cut_off(kafka, topic_prefix) as (running, network):
        owner, standby = running.processes.values()
        network.black_hole()
        if ends == "closed":
            network.turn_away()
            network.cut()
        await owner.logged(log_events.LEASES_ENDED)
        await standby.logged(log_events.SHARD_CLAIMED)
        await publishes(standby, 200)
        network.heal()
        await owner.logged(log_events.SHARD_LOST)
        await publishes(standby, 200)
        assert owned(owner) == set()
        await running.stop_all(TERM)
    await running.proven()


async def test_an_owner_cut_off_for_a_moment_goes_on(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """The lease lasts: no shard moves, no session ends, and what was read meanwhile is published."""
    async with cut_off(kafka, topic_prefix) as (running, network):
        owner, standby = running.processes.values()
        network.black_hole()
        await reads(owner, 300)
        network.heal()
        await publishes(owner, 600)
        assert standby.all(log_events.SHARD_CLAIMED) == owner.all(log_events.LEASES_ENDED) == []
        await running.stop("bridge 1", TERM)
        await running.stop_all(TERM)
    report = await running.proven()
    assert report.handovers.released == report.handovers.expired == 0


async def test_all_processes_are_cut_off_until_the_group_has_removed_them(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """Whoever is back first would be assigned all shards; it spares the owners, which publish what they have read."""
    behind, port = kafka.proxied()
    async with Proxy(behind, port=port) as network, group(kafka, topic_prefix, shards=2) as running:
        for name in ("bridge 0", "bridge 1"):
            await running.start(name, servers=f"localhost:{port}")
        await eventually(lambda: sorted(map(len, running.shards().values())) == [1, 1], "an owner of each", 60)
        owners = list(running.processes.values())
        network.turn_away()
        network.cut()
        for owner in owners:
            await until(owner, lambda now: now["group"]["generation"] is None, "it is no member any more")
        network.heal()
        for owner in owners:
            await publishes(owner, 500)
            assert owner.all(log_events.SHARD_LOST) == owner.all(log_events.SHARD_RELEASED)[1:] == []
        await running.stop_all(TERM)
    await running.proven()
    assert running.dropped() == 0
