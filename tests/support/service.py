"""Run the real service in a test: environment in, a bridge that runs until the block ends."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge import settings
from bridge.app import Bridge, Service
from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.topics import Topic
from tests.support import consumer
from tests.support.background import in_background

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from bridge.serialization.schema_registry import Registry
    from bridge.simulator.replay import Replay
    from bridge.simulator.server import Simulator

#: Time for anything that should happen; only a failing test waits so long.
DEADLINE_SECONDS = 20.0
#: Times short enough to wait for.
QUICK = {
    "ARIES_BACKOFF_MIN_SECONDS": "0.02",
    "ARIES_BACKOFF_MAX_SECONDS": "0.2",
    "BRIDGE_HTTP_HOST": "127.0.0.1",
    "BRIDGE_HTTP_PORT": "0",
    "BRIDGE_INSTANCE": "test-bridge",
    "BRIDGE_DRAIN_SECONDS": "10",
    "BRIDGE_ENCODER": os.environ.get("TESTS_ENCODER", "auto"),
}


@dataclass(frozen=True, slots=True)
class Published:
    """One record as a consumer reads it."""

    topic: Topic
    key: str | None
    partition: int
    offset: int
    timestamp_ms: int
    name: str
    record: dict[str, Any]


def environment(simulator: Simulator | Replay, bootstrap_servers: str, prefix: str, **more: str) -> dict[str, str]:
    """Return the environment of a bridge between a simulator and a broker."""
    return {
        **QUICK,
        "ARIES_WS_URL": simulator.url,
        "ARIES_ACCESS_TOKEN": "a-good-token",
        "ARIES_SYMBOLS": "AAPL,MSFT",
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": prefix,
        **more,
    }


@asynccontextmanager
async def running(environ: Mapping[str, str]) -> AsyncIterator[Bridge]:
    """Run a service until the block ends, then stop it as a signal would and let it drain; yield its bridge."""
    async with serving(environ) as service:
        yield service.bridge


@asynccontextmanager
async def serving(environ: Mapping[str, str]) -> AsyncIterator[Service]:
    """Run a service until the block ends, then stop it as a signal would and let it drain."""
    service = Service(settings.load(environ))
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        yield service
    finally:
        stop.set()
        await task


@asynccontextmanager
async def publishing(bootstrap_servers: str, prefix: str, **more: str) -> AsyncIterator[Bridge]:
    """Run only the publisher of a bridge, without a feed; raise its error if it failed."""
    environ = {
        "ARIES_ACCESS_TOKEN": "a-good-token",
        "ARIES_SYMBOLS": "AAPL",
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": prefix,
        **more,
    }
    bridge = Bridge(settings.load(environ))
    await bridge.publisher.connect()
    try:
        async with in_background(bridge.publisher.run()):
            yield bridge
    finally:
        await bridge.publisher.close()


async def eventually(holds: Callable[[], object], what: str, deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until a condition holds; raise ``AssertionError`` that says what was waited for if it never does."""
    deadline = asyncio.get_running_loop().time() + deadline_seconds
    while not holds():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {deadline_seconds:g} s: {what}")
        await asyncio.sleep(0.005)


def left_open() -> int:
    """Return how many files and asyncio tasks this process has open."""
    return len(list(Path("/proc/self/fd").iterdir())) + len(asyncio.all_tasks())


async def read(
    bootstrap_servers: str, prefix: str, *topics: Topic, registry: Registry | None = None
) -> list[Published]:
    """Return all records of the topics (by default all) so far, decoded, as another client reads them."""
    names = {f"{prefix}.{topic}": topic for topic in topics or Topic}
    messages = await asyncio.to_thread(consumer.read_all, bootstrap_servers, names)
    decoder = Deserializer(schemas.load(), registry)
    found = []
    for message in messages:
        decoded = await decoder.decode(message.value)
        found.append(
            Published(
                topic=names[message.topic],
                key=None if message.key is None else message.key.decode(),
                partition=message.partition,
                offset=message.offset,
                timestamp_ms=message.timestamp_ms,
                name=decoded.name,
                record=decoded.record,
            )
        )
    return sorted(found, key=lambda one: (one.topic, one.partition, one.offset))


def by_symbol(found: list[Published]) -> dict[tuple[Topic, str | None], list[dict[str, Any]]]:
    """Return the records of each topic and symbol in the order of the topic."""
    grouped: dict[tuple[Topic, str | None], list[dict[str, Any]]] = defaultdict(list)
    for one in found:
        grouped[one.topic, one.key].append(one.record)
    return grouped


def control(found: list[Published]) -> list[dict[str, Any]]:
    """Return the control records, oldest first."""
    return [one.record for one in found if one.topic is Topic.CONTROL]
