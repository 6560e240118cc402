"""Processes of a group under load, and the proof that each symbol had one owner at a time."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge import log_events
from bridge.simulator.server import Simulator
from bridge.topics import MARKET_DATA
from tests.faults.group.ownership_proof import check_announcements, check_sessions
from tests.faults.process.ends import accounted_end, status, until
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
#: SIGUSR2 moves the wall clock of a process with this sabotage, and a second one moves it back.
JUMPING_CLOCK = """
import signal, time
real_seconds, real_ns, offset = time.time, time.time_ns, [0]
time.time = lambda: real_seconds() + offset[0]
time.time_ns = lambda: real_ns() + offset[0] * 10**9
signal.signal(signal.SIGUSR2, lambda *_: offset.__setitem__(0, 0 if offset[0] else {minutes} * 60))
"""


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

    def environment(self, name: str, servers: str | None = None, **more: str) -> dict[str, str]:
        """Return the environment of a process."""
        grouped = {"BRIDGE_SHARD": "group", "BRIDGE_INSTANCE": name, "ARIES_SYMBOLS": SYMBOLS}
        servers = servers or self.kafka.bootstrap_servers
        return environment(self.simulator, servers, self.prefix, **{**grouped, **self.settings, **more})

    async def start(self, name: str, *, servers: str | None = None, sabotage: str = "", **more: str) -> Process:
        """Start a process; ``servers`` is where it reaches Kafka."""
        environ = self.environment(name, servers, **more)
        bridge = await self._stack.enter_async_context(process(environ, "run", sabotage=sabotage))
        bridge.deadline_seconds = PATIENCE_SECONDS
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

    async def stop(self, name: str, number: signal.Signals, *, signalled: bool = False) -> None:
        """End a process by a signal, SIGTERM or SIGKILL, that it may have got already, and check its accounts."""
        bridge = self.processes[name]
        if not signalled:
            bridge.signal(number)
        if number.name == "SIGKILL":
            self.killed.add(name)
            await bridge.ended()
        else:
            self._ended[name] = await accounted_end(bridge)

    async def restart(self, name: str, number: signal.Signals) -> Process:
        """End a process as ``stop`` does, and start another one of its name."""
        await self.stop(name, number)
        count = sum(name in one for one in self._ended)
        self._ended[f"{name}, {count}"] = self._ended.pop(name)
        return await self.start(name)

    async def stop_all(self, number: signal.Signals, *, signalled: bool = False) -> None:
        """End all processes that still run, one after the other."""
        for name in self._running():
            await self.stop(name, number, signalled=signalled)

    async def until_published(self, records: int) -> None:
        """Wait until the group has published so many records more, whoever does."""

        async def published() -> int:
            return sum([(await status(self.processes[name]))["accounts"]["published"] for name in self._running()])

        target, deadline = await published() + records, time.monotonic() + PATIENCE_SECONDS
        while await published() < target:
            assert time.monotonic() < deadline, f"{records} more records"

    def dropped(self) -> int:
        """Return how many records the processes that have ended dropped, or could not deliver."""
        return sum(accounts["dropped"] + accounts["undelivered"] for accounts in self._ended.values())

    def shards(self) -> dict[str, set[int]]:
        """Return the shards of each process that runs, by its log."""
        return {name: owned(self.processes[name]) for name in self._running()}

    def owners(self) -> dict[int, list[str]]:
        """Return which processes own each shard, by their logs."""
        found: dict[int, list[str]] = {}
        for name, shards in self.shards().items():
            for shard in shards:
                found.setdefault(shard, []).append(name)
        return found

    def _running(self) -> list[str]:
        return sorted(self.processes.keys() - self._ended.keys() - self.killed)

    async def proven(self, *, clocks_agree: bool = True, gaps: bool = True) -> Report:
        """Assert one owner at a time and no hole, by ``verify`` and by a reader of the topics; return its report.

        All processes have ended. ``clocks_agree``: no wall clock was changed.
        """
        report = await verified(self.kafka.bootstrap_servers, self.prefix)
        if clocks_agree:
            assert report.violations == []
        else:  # that is all that it can say then
            assert [one for one in report.violations if "the clocks differ" not in one.message] == []
        found = await read(self.kafka.bootstrap_servers, self.prefix)
        market = [one for one in found if one.topic in MARKET_DATA]
        late = check_sessions(market, clocks_agree=clocks_agree)
        assert late == sum(row.late_records for row in report.rows)
        if gaps:
            check_announcements(market, control(found))
        repeats = sum(row.repeats for row in report.rows)
        published = sum(accounts["published"] for accounts in self._ended.values())
        if not self.killed:
            assert published <= report.records - repeats <= published + self.dropped()
        else:
            assert published <= report.records - repeats
        return report


@asynccontextmanager
async def group(
    kafka: RealKafka,
    prefix: str,
    settings: Mapping[str, str] | None = None,
    *,
    shards: int = 1,
    rate: float = 500,
    creates_topic: bool = True,
) -> AsyncIterator[Group]:
    """Return a group without a process, over a feed under load; the processes end with the block."""
    if creates_topic:
        await asyncio.to_thread(create_marks_topic, kafka, prefix, shards)
    async with Simulator(rate=rate, lines_per_frame=5) as simulator, AsyncExitStack() as stack:
        yield Group(kafka, prefix, simulator, {"BRIDGE_SHARDS": str(shards), **(settings or {})}, _stack=stack)


def owned(bridge: Process) -> set[int]:
    """Return the shards that a process owns by its log."""
    shards: set[int] = set()
    for line in bridge.logs:
        if line["event"] == log_events.SHARD_CLAIMED:
            shards.add(line["shard"])
        elif line["event"] in (log_events.SHARD_RELEASED, log_events.SHARD_LOST):
            shards.discard(line["shard"])
    return shards


def create_marks_topic(kafka: RealKafka, prefix: str, shards: int = 1) -> None:
    """Create the topic in which shards are claimed."""
    kafka.create_topic(f"{prefix}.shards", shards, config={"cleanup.policy": "compact"})


async def reads(bridge: Process, lines: int) -> None:
    """Wait until a process has read so many lines more."""
    target = (await status(bridge))["accounts"]["lines_received"] + lines
    await until(bridge, lambda now: now["accounts"]["lines_received"] >= target, f"{lines} more lines")


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
