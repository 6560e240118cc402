"""Processes of a group under load, and the proof that each symbol had one owner at a time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge import log_events
from bridge.simulator.server import Simulator
from bridge.topics import MARKET_DATA
from tests.faults.group.ownership_proof import check_announcements, check_sessions
from tests.faults.process.ends import accounted_end, until
from tests.faults.proof import verified
from tests.support.process import process
from tests.support.service import control, environment, read

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Mapping
    from typing import Any

    from bridge.verify.report import Report
    from tests.support.brokers import RealKafka
    from tests.support.process import Process

SYMBOLS = "AAPL,MSFT,SPX,NVDA,TSLA,AMD"
#: A take-over after a lease has expired takes some seconds, and machines are busy.
PATIENCE_SECONDS = 60.0


@dataclass
class Group:
    """The processes of one group, over one feed."""

    kafka: RealKafka
    prefix: str
    simulator: Simulator
    settings: Mapping[str, str]
    processes: dict[str, Process] = field(default_factory=dict)
    #: Names of processes that could not say what became of their records.
    killed: set[str] = field(default_factory=set)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _ended: dict[str, dict[str, int]] = field(default_factory=dict)

    async def start(self, name: str, *, servers: str | None = None, sabotage: str = "", **more: str) -> Process:
        """Start a process; ``servers`` is where it reaches Kafka."""
        grouped = {"BRIDGE_SHARD": "group", "BRIDGE_INSTANCE": name, "ARIES_SYMBOLS": SYMBOLS}
        environ = environment(
            self.simulator, servers or self.kafka.bootstrap_servers, self.prefix, **grouped, **self.settings, **more
        )
        bridge = await self._stack.enter_async_context(process(environ, "run", sabotage=sabotage))
        self.processes[name] = bridge
        return bridge

    async def start_owner(self, name: str = "bridge 0", *, servers: str | None = None, **more: str) -> Process:
        """Start a process, and wait until it publishes."""
        bridge = await self.start(name, servers=servers, **more)
        await publishes(bridge, 100)
        return bridge

    async def start_standby(self, name: str = "bridge 1", *, servers: str | None = None, **more: str) -> Process:
        """Start a process, and wait until it is a member."""
        bridge = await self.start(name, servers=servers, **more)
        await joined(bridge)
        return bridge

    async def stop(self, name: str, number: signal.Signals) -> None:
        """End a process by a signal, SIGTERM or SIGKILL, and check its accounts."""
        bridge = self.processes[name]
        bridge.signal(number)
        if number.name == "SIGKILL":
            self.killed.add(name)
            await bridge.ended()
        else:
            self._ended[name] = await accounted_end(bridge)

    async def stop_all(self, number: signal.Signals) -> None:
        """End all processes that still run, one after the other."""
        for name in self.processes.keys() - self._ended.keys() - self.killed:
            await self.stop(name, number)

    def owners(self) -> dict[int, list[str]]:
        """Return which processes have logged that they own each shard, and not yet that they do no longer."""
        found: dict[int, list[str]] = {}
        for name, bridge in self.processes.items():
            if name not in self._ended and name not in self.killed:
                for shard in owned(bridge):
                    found.setdefault(shard, []).append(name)
        return found

    async def proven(self, *, clocks_agree: bool = True, gaps: bool = True) -> Report:
        """Assert one owner at a time and no hole, by ``verify`` and by a reader of the topics; return its report.

        All processes have ended. ``clocks_agree``: no wall clock was changed.
        """
        report = await verified(self.kafka.bootstrap_servers, self.prefix)
        assert report.violations == []
        found = await read(self.kafka.bootstrap_servers, self.prefix)
        market = [one for one in found if one.topic in MARKET_DATA]
        late = check_sessions(market, clocks_agree=clocks_agree)
        assert late == sum(row.late_records for row in report.rows)
        if gaps:
            check_announcements(market, control(found))
        repeats = sum(row.repeats for row in report.rows)
        published = sum(accounts["published"] for accounts in self._ended.values())
        if not self.killed:
            lost = sum(accounts["dropped"] + accounts["undelivered"] for accounts in self._ended.values())
            assert published <= report.records - repeats <= published + lost
        else:
            assert published <= report.records - repeats
        return report


@asynccontextmanager
async def group(
    kafka: RealKafka, prefix: str, *, shards: int = 1, partitions: int | None = None, rate: float = 500, **settings: str
) -> AsyncIterator[Group]:
    """Return a group without a process, over a feed under load; the processes end with the block."""
    replicas = len(kafka.bootstrap_servers.split(","))
    await asyncio.to_thread(
        kafka.create_topic, f"{prefix}.shards", partitions or shards, replicas, {"cleanup.policy": "compact"}
    )
    async with Simulator(rate=rate, lines_per_frame=5) as simulator, AsyncExitStack() as stack:
        yield Group(kafka, prefix, simulator, {"BRIDGE_SHARDS": str(shards), **settings}, _stack=stack)


@asynccontextmanager
async def members(
    simulator: Simulator, kafka: RealKafka, prefix: str, count: int, *, shards: int = 1, **more: str
) -> AsyncIterator[list[Process]]:
    """Run processes of a group, the first of which owns all shards before the others start."""
    kafka.create_topic(f"{prefix}.shards", partitions=shards)
    async with AsyncExitStack() as stack:
        started: list[Process] = []
        for number in range(count):
            grouped = {"BRIDGE_SHARD": "group", "BRIDGE_SHARDS": str(shards), "BRIDGE_INSTANCE": f"bridge {number}"}
            environ = environment(simulator, kafka.bootstrap_servers, prefix, **grouped, **more)
            started.append(await stack.enter_async_context(process(environ, "run")))
            await (publishes(started[0], 100) if number == 0 else joined(started[number]))
        yield started


def owned(bridge: Process) -> set[int]:
    """Return the shards that a process owns by its log."""
    shards: set[int] = set()
    for line in bridge.logs:
        if line["event"] == log_events.SHARD_CLAIMED:
            shards.add(line["shard"])
        elif line["event"] in (log_events.SHARD_RELEASED, log_events.SHARD_LOST):
            shards.discard(line["shard"])
    return shards


async def joined(bridge: Process) -> None:
    """Wait until a process has been a member of a whole generation."""
    await bridge.logged("joined the group")


async def publishes(bridge: Process, records: int) -> Mapping[str, Any]:
    """Wait until a process has published so many records more; return its status."""
    before: dict[str, Any] = {}

    def more(now: Mapping[str, Any]) -> bool:
        before.setdefault("published", now["accounts"]["published"])
        return bool(now["accounts"]["published"] >= before["published"] + records)

    return await until(bridge, more, f"{records} more records")


async def proven_handovers(kafka: RealKafka, prefix: str) -> Report:
    """Assert that an independent reader finds one owner at a time, and no hole; return its report."""
    report = await verified(kafka.bootstrap_servers, prefix)
    assert report.violations == []
    return report
