"""A bridge under load between a simulator and Apache Kafka, for faults of Kafka."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.faults.proof import nothing_lost, prove
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, MutableMapping

    from bridge.app import Bridge
    from bridge.verify.report import Report
    from tests.support.brokers import RealKafka
    from tests.support.scripted_broker import ScriptedBroker

GIVEN_UP = "producer replaced, resending"
REBUILT = "new producer ready"
NOT_USABLE = "Kafka unavailable, retrying"
CANNOT = "topic not writable, buffering"
CAN_AGAIN = "topic writable again"
LINES_PER_SECOND = 1_000
QUICK = {"KAFKA_DELIVERY_TIMEOUT_SECONDS": "1", "BRIDGE_DRAIN_SECONDS": "20"}
#: Time in which no fault of a test lasts: the same producer is to go on.
PATIENT = {"KAFKA_DELIVERY_TIMEOUT_SECONDS": "60"}
#: A broker starts in seconds, and backs off for some more.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Load:
    """A bridge, its feed, and its log."""

    kafka: RealKafka | ScriptedBroker
    prefix: str
    simulator: Simulator
    bridge: Bridge
    logs: list[MutableMapping[str, Any]]

    async def flows(self, records: int = 300) -> None:
        """Wait until so many more records are acknowledged."""
        target = self.acknowledged + records
        await eventually(lambda: self.acknowledged >= target, f"{records} more records", PATIENCE_SECONDS)

    async def piles_up(self, lines: int = 300) -> None:
        """Wait until so many more lines are read, whether they are published or not."""
        target = self.bridge.accounts.lines_received + lines
        await eventually(lambda: self.bridge.accounts.lines_received >= target, f"{lines} more lines")

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds."""
        await eventually(holds, "what the test waits for", PATIENCE_SECONDS)

    async def refused(self) -> None:
        """Wait until a topic was found not writable."""
        await self.until(lambda: self.logged(CANNOT))

    async def recovered(self) -> None:
        """Wait until a topic was found writable again."""
        await self.until(lambda: self.logged(CAN_AGAIN))

    async def gives_up(self, times: int = 1) -> None:
        """Wait until so many producers were replaced since the start."""
        await eventually(lambda: self.bridge.publisher.state.rebuilds >= times, "a producer given up", PATIENCE_SECONDS)

    async def comes_to_rest(self) -> None:
        """Stop the market, and wait until every line that was sent is read."""
        self.simulator.rate = 0
        await self.simulator.drained()
        sent = self.simulator.sent
        await eventually(lambda: self.bridge.accounts.lines_received == sent.lines, "all lines read")

    @property
    def acknowledged(self) -> int:
        """Return how many records of market data Kafka has acknowledged."""
        return self.bridge.accounts.published.total()

    def logged(self, event: str) -> list[MutableMapping[str, Any]]:
        """Return the log lines of an event so far."""
        return [line for line in self.logs if line["event"] == event]

    async def proof(self) -> Report:
        """Assert that every line sent is a record on Kafka, in order, and that each rebuild was logged once.

        The bridge has ended.
        """
        nothing_lost(self.bridge, self.simulator)
        assert len(self.logged(GIVEN_UP)) == len(self.logged(REBUILT)) == self.bridge.publisher.state.rebuilds
        return await prove(self.kafka.bootstrap_servers, self.prefix, self.bridge)


@asynccontextmanager
async def under_load(
    kafka: RealKafka | ScriptedBroker,
    prefix: str,
    settings: Mapping[str, str] | None = None,
    *,
    servers: str | None = None,
    flowing: bool = True,
) -> AsyncIterator[Load]:
    """Run a bridge that publishes until the block ends; then wait until everything that was sent has arrived.

    ``servers`` are where it reaches Kafka, by default the plain listeners. The block begins when records flow,
    unless it says not to wait for that.
    """
    async with Simulator(rate=LINES_PER_SECOND, lines_per_frame=5) as simulator:
        environ = environment(simulator, servers or kafka.bootstrap_servers, prefix)
        with structlog.testing.capture_logs() as logs:
            async with running({**environ, **QUICK, **(settings or {})}) as bridge:
                load = Load(kafka, prefix, simulator, bridge, logs)
                if flowing:
                    await load.flows()
                yield load
                await load.comes_to_rest()


def create_topics(
    kafka: RealKafka,
    prefix: str,
    *,
    partitions: int = 4,
    replicas: int = 1,
    config: Mapping[str, str] | None = None,
    limits: Mapping[Topic, Mapping[str, str]] | None = None,
    lone: Collection[Topic] = (),
) -> None:
    """Create the topics of a prefix, all with ``config``, some with ``limits``, ``lone`` ones with a single replica."""
    for topic in Topic:
        own = {**(config or {}), **(limits or {}).get(topic, {})}
        kafka.create_topic(f"{prefix}.{topic}", partitions, 1 if topic in lone else replicas, own)
