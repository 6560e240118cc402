"""A process that is killed or frozen: what is missing is visible in its successor's records, or its own later ones."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bridge.simulator.server import Simulator
from bridge.topics import MARKET_DATA, Topic
from tests.faults.process.ends import accounted_end, proven, until
from tests.faults.proof import verified
from tests.support.process import process
from tests.support.service import by_symbol, control, environment, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka
    from tests.support.process import Process

KILL, STOP, CONT, TERM = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM
#: Longer than the test's pongs may take, shorter than a person wants to wait.
FROZEN_SECONDS = 3.0


@asynccontextmanager
async def _streaming(simulator: Simulator, servers: str, prefix: str, **more: str) -> AsyncIterator[Process]:
    async with process(environment(simulator, servers, prefix, **more), "run") as bridge:
        await until(bridge, lambda now: now["accounts"]["published"] > 500, "records on Kafka")
        yield bridge


async def test_a_killed_process_leaves_no_silent_hole(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """Killed repeatedly under load: each process starts a session of its own whose records start with ``after_gap``."""
    sessions = []
    async with Simulator(rate=2000, lines_per_frame=10) as simulator:
        for _ in range(3):
            async with _streaming(simulator, kafka.bootstrap_servers, topic_prefix) as bridge:
                sessions.append((await bridge.logged("session started"))["session_id"])
                bridge.signal(KILL)
                assert await bridge.ended() == -KILL
        async with _streaming(simulator, kafka.bootstrap_servers, topic_prefix) as bridge:
            sessions.append((await bridge.logged("session started"))["session_id"])
            bridge.signal(TERM)
            await accounted_end(bridge)
    report = await verified(kafka.bootstrap_servers, topic_prefix)
    assert report.violations == []
    assert report.processes == len(sessions)
    found = await read(kafka.bootstrap_servers, topic_prefix)
    assert sessions == sorted(set(sessions))
    assert sorted({one.record["session_id"] for one in found if one.topic in MARKET_DATA}) == sessions
    for records in by_symbol([one for one in found if one.topic in MARKET_DATA]).values():
        first = [one for one, before in zip(records, [None, *records], strict=False) if _is_first(one, before)]
        assert all(one["seq"] == 0 and one["after_gap"] for one in first)
        assert len(first) == len({one["session_id"] for one in records})


def _is_first(record: dict[str, object], before: dict[str, object] | None) -> bool:
    return before is None or before["session_id"] != record["session_id"]


async def test_a_frozen_process_resumes_with_a_visible_gap(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Stopped for longer than the pong timeout: no storm of reconnects, each gap announced, then data again."""
    async with Simulator(rate=1000, lines_per_frame=10) as simulator:
        timing = {"ARIES_PING_INTERVAL_SECONDS": "0.5", "ARIES_PONG_TIMEOUT_SECONDS": "2"}
        async with _streaming(simulator, broker.bootstrap_servers, topic_prefix, **timing) as bridge:
            bridge.signal(STOP)
            await asyncio.sleep(FROZEN_SECONDS)  # the fault is this time itself
            bridge.signal(CONT)
            thawed = (await until(bridge, lambda now: now["state"] == "streaming", "a session"))["accounts"][
                "published"
            ]
            now = await until(bridge, lambda now: now["accounts"]["published"] > thawed + 500, "more records")
            assert sum(now["aries"]["reconnects"].values()) <= 2
            assert now["kafka"]["rebuilds"] == 0
            assert now["alive"]
            bridge.signal(TERM)
            accounts = await accounted_end(bridge)
    assert accounts["undelivered"] == 0
    await proven(broker.bootstrap_servers, topic_prefix, accounts)
    kinds = [record["kind"] for record in control(await read(broker.bootstrap_servers, topic_prefix, Topic.CONTROL))]
    assert kinds.count("SESSION_STARTED") == kinds.count("GAP") + 1
    assert kinds.count("GAP") == kinds.count("RESUMED")


async def test_a_process_frozen_beyond_the_delivery_timeout_repeats_at_most(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """Acknowledgements that arrived meanwhile cause a producer replacement at most, and lose no record."""
    async with Simulator(rate=2000, lines_per_frame=10) as simulator:
        more = {"KAFKA_DELIVERY_TIMEOUT_SECONDS": "1"}
        async with _streaming(simulator, kafka.bootstrap_servers, topic_prefix, **more) as bridge:
            bridge.signal(STOP)
            await asyncio.sleep(FROZEN_SECONDS)  # the fault is this time itself
            bridge.signal(CONT)
            thawed = (await until(bridge, lambda now: now["ready"], "readiness"))["accounts"]["published"]
            now = await until(bridge, lambda now: now["accounts"]["published"] > thawed + 500, "more records")
            assert now["kafka"]["rebuilds"] <= 1
            bridge.signal(TERM)
            accounts = await accounted_end(bridge)
    assert accounts["undelivered"] == 0
    await proven(kafka.bootstrap_servers, topic_prefix, accounts)
