"""The load of one size: processes of a group on Apache Kafka, over a simulator in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from bridge.topics import Topic
from tests.faults.group.members import create_marks_topic
from tests.faults.process.ends import status
from tests.support.process import process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.brokers import RealKafka
    from tests.support.process import Process

WARM_UP_SECONDS: Final = 3.0
PARTITIONS: Final = 12
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_BATCHES: Final = "aries_bridge_produce_ack_seconds"


@dataclass(frozen=True, slots=True)
class Size:
    """How many symbols, events a second over all of them, and processes with a shard each."""

    symbols: int
    rate: int
    shards: int


@dataclass(frozen=True, slots=True)
class Load:
    """What a size took: CPU in percent of a core, memory of the largest process, and what reached Kafka."""

    size: Size
    records_per_second: float
    bridges_cpu: tuple[float, ...]
    largest_rss_mb: float
    broker_cpu: float
    simulator_cpu: float
    batches_per_second: float

    @property
    def cpu_us(self) -> float:
        """Return the CPU time of all processes for a record, in µs."""
        return sum(self.bridges_cpu) / 100 / self.records_per_second * 1e6

    def __str__(self) -> str:
        size, each = self.size, " ".join(f"{cpu:.0f}" for cpu in self.bridges_cpu)
        taken = self.cpu_us, self.largest_rss_mb, self.broker_cpu, self.batches_per_second
        cells = (size.symbols, size.rate, size.shards, self.records_per_second, each, *taken)
        return "| " + " | ".join(cell if isinstance(cell, str) else f"{cell:,.0f}" for cell in cells) + " |"


async def measure(size: Size, kafka: RealKafka, prefix: str, seconds: float) -> Load:
    """Run a group of this size for some seconds, and return what it took."""
    await asyncio.to_thread(_create_topics, kafka, prefix, size.shards)
    symbols = [f"S{number}" for number in range(size.symbols)]
    async with AsyncExitStack() as stack:
        simulator, url = await stack.enter_async_context(_simulating(size.rate))
        bridges = []
        for number in range(size.shards):
            settings = {
                "ARIES_WS_URL": url,
                "ARIES_ACCESS_TOKEN": "a-good-token",
                "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                "KAFKA_TOPIC_PREFIX": prefix,
                "BRIDGE_HTTP_HOST": "127.0.0.1",
                "BRIDGE_HTTP_PORT": "0",
                "BRIDGE_SHARD": "group",
                "BRIDGE_SHARDS": str(size.shards),
                "BRIDGE_INSTANCE": f"bridge {number}",
                "ARIES_SYMBOLS": ",".join(symbols),
                "ARIES_EVENTS": "quotes,trades",
            }
            bridges.append(await stack.enter_async_context(process(settings, "run")))
        for bridge in bridges:
            await bridge.logged("subscribed")
        await asyncio.sleep(WARM_UP_SECONDS)
        return await _measured(size, kafka, simulator, bridges, seconds)


@asynccontextmanager
async def _simulating(rate: int) -> AsyncIterator[tuple[int, str]]:
    """Run the simulator in a process of its own; yield its process id and its address."""
    program = ("-m", "tests.programs.bench.simulated", str(rate))
    simulator = await asyncio.create_subprocess_exec(sys.executable, *program, stdout=asyncio.subprocess.PIPE)
    assert simulator.stdout is not None
    try:
        yield simulator.pid, json.loads(await simulator.stdout.readline())["url"]
    finally:
        simulator.kill()
        await simulator.wait()


async def _measured(size: Size, kafka: RealKafka, simulator: int, bridges: list[Process], seconds: float) -> Load:
    pids = [bridge.pid for bridge in bridges]
    brokers = kafka.pids()
    before = [_cpu_seconds(pid) for pid in (*pids, simulator, *brokers)]
    records, batches = await _counts(bridges)
    started = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    lasted = asyncio.get_running_loop().time() - started
    after = [_cpu_seconds(pid) for pid in (*pids, simulator, *brokers)]
    records_after, batches_after = await _counts(bridges)
    cpu = [100 * (late - early) / lasted for early, late in zip(before, after, strict=True)]
    return Load(
        size,
        (records_after - records) / lasted,
        tuple(cpu[: len(pids)]),
        max(map(_rss_mb, pids)),
        sum(cpu[len(pids) + 1 :]),
        cpu[len(pids)],
        (batches_after - batches) / lasted,
    )


def _create_topics(kafka: RealKafka, prefix: str, shards: int) -> None:
    for topic in Topic:
        kafka.create_topic(f"{prefix}.{topic}", partitions=PARTITIONS)
    create_marks_topic(kafka, prefix, shards)


async def _counts(bridges: list[Process]) -> tuple[int, float]:
    """Return how many records and batches the processes have published."""
    records, batches = 0, 0.0
    for bridge in bridges:
        records += (await status(bridge))["accounts"]["published"]
        port = (await bridge.logged("HTTP server listening"))["port"]
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        samples = [sample for family in families if family.name == _BATCHES for sample in family.samples]
        batches += sum(sample.value for sample in samples if sample.name == f"{_BATCHES}_count")
    return records, batches


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def _rss_mb(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
