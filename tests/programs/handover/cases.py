"""The ways in which an owner ends, each with a group of its own under load."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.group.members import joined, publishes
from tests.faults.proof import verified
from tests.programs.handover.gaps import Gaps, between_sessions, longest_silence
from tests.support.process import process as started
from tests.support.service import environment, eventually, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.brokers import RealKafka
    from tests.support.process import Process

RATE = 1000
SYMBOLS = "AAPL,MSFT,NVDA,TSLA,AMD"
KILL, STOP, CONT, TERM = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM


@dataclass(slots=True)
class Group:
    """The processes of one case: an owner and a standby, and those that are started later."""

    simulator: Simulator
    kafka: RealKafka
    prefix: str
    stack: AsyncExitStack
    started: int = 0

    async def start(self) -> Process:
        """Start one more process, and wait until it is a member."""
        name = f"bridge {self.started}"
        self.started += 1
        wanted = {"ARIES_SYMBOLS": SYMBOLS, "ARIES_EVENTS": "quotes"}
        grouped = {"BRIDGE_SHARD": "group", "BRIDGE_INSTANCE": name, **wanted}
        environ = environment(self.simulator, self.kafka.bootstrap_servers, self.prefix, **grouped)
        process = await self.stack.enter_async_context(started(environ, "run"))
        await joined(process)
        return process

    def coordinator(self) -> int:
        """Return the number of the broker that coordinates the group."""
        return self.kafka.coordinator_of(f"{self.prefix}.shards")


async def stopped(group: Group, repeats: int) -> None:
    """SIGTERM: the owner releases its shard."""
    await _ended_by(group, repeats, TERM)


async def killed(group: Group, repeats: int) -> None:
    """SIGKILL: the others wait for the session timeout and the lease."""
    await _ended_by(group, repeats, KILL)


async def frozen(group: Group, repeats: int) -> None:
    """SIGSTOP, and SIGCONT once another process has taken over."""
    owner, standby = await group.start(), await group.start()
    for _ in range(repeats):
        await publishes(owner, RATE)
        owner.signal(STOP)
        await publishes(standby, RATE)
        lost = len(owner.all("shard lost, its buffered records are dropped"))
        owner.signal(CONT)
        await owner.logged("shard lost, its buffered records are dropped", lost + 1)
        owner, standby = standby, owner


async def upgraded(group: Group, repeats: int) -> None:
    """Three processes are replaced, one at a time: a new one starts, then an old one is stopped."""
    processes = [await group.start() for _ in range(3)]
    for _ in range(repeats):
        for _ in range(3):
            processes.append(await group.start())
            oldest = processes.pop(0)
            oldest.signal(TERM)
            await oldest.ended()
            await _any_publishes(processes)


async def without_coordinator(group: Group, repeats: int) -> None:
    """Kill the broker that coordinates the group, and start it again."""
    owner, _ = await group.start(), await group.start()
    for _ in range(repeats):
        await publishes(owner, RATE)
        number = await asyncio.to_thread(group.coordinator)
        group.kafka.kill(number)
        await publishes(owner, 10 * RATE)
        group.kafka.launch(number)
        await asyncio.to_thread(group.kafka.wait_until_ready)  # the simulator runs in this process


async def killed_without_coordinator(group: Group, repeats: int) -> None:
    """Kill the owner together with the broker that coordinates the group."""
    owner, standby = await group.start(), await group.start()
    for _ in range(repeats):
        await publishes(owner, RATE)
        number = await asyncio.to_thread(group.coordinator)
        group.kafka.kill(number)
        owner.signal(KILL)
        await owner.ended()
        await publishes(standby, RATE)
        group.kafka.launch(number)
        await asyncio.to_thread(group.kafka.wait_until_ready)  # the simulator runs in this process
        owner, standby = standby, await group.start()


@dataclass(frozen=True, slots=True)
class Case:
    """One way, how often it is repeated, and how many brokers it needs."""

    name: str
    run: Callable[[Group, int], Awaitable[None]]
    repeats: int
    gaps: Callable[[list[tuple[int, int]]], Gaps] = between_sessions
    brokers: int = 1


CASES = (
    Case("owner stopped (SIGTERM)", stopped, 20),
    Case("owner killed (SIGKILL)", killed, 5),
    Case("owner frozen (SIGSTOP)", frozen, 5),
    Case("three processes upgraded", upgraded, 3),
    Case("coordinator's broker killed, owner alive", without_coordinator, 3, longest_silence, brokers=3),
    Case("owner and coordinator's broker killed", killed_without_coordinator, 3, brokers=3),
)


async def measure(case: Case, kafka: RealKafka, prefix: str) -> Gaps:
    """Run a case, prove that its topics are whole, and return its gaps."""
    for topic in Topic:
        kafka.create_topic(f"{prefix}.{topic}", partitions=2, replicas=case.brokers)
    kafka.create_topic(f"{prefix}.shards", partitions=1, replicas=case.brokers)
    async with Simulator(rate=RATE, lines_per_frame=2) as simulator, AsyncExitStack() as stack:
        group = Group(simulator, kafka, prefix, stack)
        await case.run(group, case.repeats)
    assert (await verified(kafka.bootstrap_servers, prefix)).violations == []
    found = await read(kafka.bootstrap_servers, prefix, Topic.QUOTES)
    return case.gaps([(one.record["session_id"], one.record["ingest_time_us"]) for one in found])


async def _ended_by(group: Group, repeats: int, number: signal.Signals) -> None:
    owner, standby = await group.start(), await group.start()
    for _ in range(repeats):
        await publishes(owner, RATE)
        owner.signal(number)
        await owner.ended()
        await publishes(standby, RATE // 10)
        owner, standby = standby, await group.start()


async def _any_publishes(processes: list[Process]) -> None:
    """Wait until whichever of them owns the shard publishes."""
    await eventually(lambda: any(process.all("shard claimed") for process in processes), "an owner")
    [owner] = [process for process in processes if process.all("shard claimed")]
    await publishes(owner, RATE // 10)
