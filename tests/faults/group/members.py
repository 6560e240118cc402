"""Processes of a group under load, and the proof that each symbol had one owner at a time."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from tests.faults.process.ends import until
from tests.faults.proof import verified
from tests.support.process import process
from tests.support.service import environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Any

    from bridge.simulator.server import Simulator
    from bridge.verify.report import Report
    from tests.support.brokers import RealKafka
    from tests.support.process import Process

SYMBOLS = "AAPL,MSFT,SPX,NVDA,TSLA,AMD"


@asynccontextmanager
async def member(
    simulator: Simulator, servers: str, prefix: str, name: str, *, shards: int = 1, **more: str
) -> AsyncIterator[Process]:
    """Run one process of a group."""
    grouped = {"BRIDGE_SHARD": "group", "BRIDGE_SHARDS": str(shards), "BRIDGE_INSTANCE": name}
    async with process(environment(simulator, servers, prefix, **grouped, **more), "run") as bridge:
        yield bridge


@asynccontextmanager
async def members(
    simulator: Simulator, kafka: RealKafka, prefix: str, count: int, *, shards: int = 1, **more: str
) -> AsyncIterator[list[Process]]:
    """Run processes of a group, the first of which owns all shards before the others start."""
    kafka.create_topic(f"{prefix}.shards", partitions=shards)
    async with AsyncExitStack() as stack:
        started: list[Process] = []
        for number in range(count):
            bridge = member(simulator, kafka.bootstrap_servers, prefix, f"bridge {number}", shards=shards, **more)
            started.append(await stack.enter_async_context(bridge))
            await (publishes(started[0], 100) if number == 0 else joined(started[number]))
        yield started


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
