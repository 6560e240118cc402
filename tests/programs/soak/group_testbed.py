"""The testbed of a soak of several processes that share shards; a network of its own can cut one of them off."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

from bridge import log_events
from tests.programs.soak.bridge_process import BridgeProcess
from tests.programs.soak.plan import instance_settings, process_settings
from tests.programs.soak.testbed import (
    DRAIN_SECONDS,
    EXIT_SECONDS,
    POLL_SECONDS,
    RECOVERED_RECORDS,
    RECOVERY_SECONDS,
    UNCHANGED_POLLS,
    Testbed,
)
from tests.support.process import process

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.brokers import RealKafka

#: The process whose connections to Kafka and Aries all go through networks that faults disturb.
DISTURBED = 0
_UNOWNED = {log_events.SHARD_RELEASED, log_events.SHARD_LOST}


class GroupTestbed(Testbed):
    """A testbed of a group; ``members`` are its present processes, each in a place of its own."""

    def __init__(
        self, kafka: RealKafka, prefix: str, *, seed: int, rate: float, symbol_count: int, brokers: int, count: int
    ) -> None:
        # All processes have the same refresh token.
        super().__init__(
            kafka, prefix, seed=seed, rate=rate, symbol_count=symbol_count, brokers=brokers, rotating_tokens=False
        )
        self.count = self.shards = count
        self.members: dict[int, BridgeProcess] = {}
        #: What the end of a process may take.
        self.exit_seconds = DRAIN_SECONDS + EXIT_SECONDS

    def _create_topics(self) -> None:
        super()._create_topics()
        self.create_marks_topic()

    def create_marks_topic(self) -> None:
        """Create the topic in which shards are claimed."""
        replicas = min(3, self.brokers)
        config = {"cleanup.policy": "compact"}
        self.kafka.create_topic(self.marks_topic, self.shards, replicas, config)

    @property
    def marks_topic(self) -> str:
        """Return the name of the topic in which shards are claimed, and of the consumer group."""
        return f"{self.prefix}.shards"

    @property
    def bridge(self) -> BridgeProcess:
        """Return the process whose networks are disturbed."""
        return self.members[DISTURBED]

    @property
    def running(self) -> Iterable[BridgeProcess]:
        """Return all processes that run."""
        return self.members.values()

    async def start_bridge(self, **settings: str) -> None:
        """Start a process in each place that has none."""
        for place in range(self.count):
            if place not in self.members or self.members[place].ended:
                await self.start_member(place, **settings)

    async def start_member(self, place: int, *, sabotage: str = "", **settings: str) -> None:
        """Start a process in a place, instead of one that has ended or that the caller ends."""
        number = len(self.processes) + 1
        own = process_settings(self._seed, number)
        url = self.simulator.url_for(own.pop("ARIES_DIALECT"))
        environ = self._environment(self.network.instead_of(url) if place == DISTURBED else url)
        if place != DISTURBED:
            environ["KAFKA_BOOTSTRAP_SERVERS"] = self.kafka.bootstrap_servers
        grouped = {**self._grouped, **instance_settings(self._seed, f"soaked {place}")}
        started = BridgeProcess(number, environ | own | grouped | settings, sabotage)
        self.members[place] = started
        self.processes.append(started)
        await started.begin()

    @property
    def _grouped(self) -> dict[str, str]:
        return {"BRIDGE_SHARD": "group", "BRIDGE_SHARDS": str(self.shards)}

    async def joined(self, place: int) -> None:
        """Wait until a process is a member."""
        await self.members[place].process.logged(log_events.GROUP_JOINED)

    async def replace_member(self, place: int, *, sabotage: str = "", **settings: str) -> BridgeProcess:
        """Stop a process, start another in its place, wait until that is a member, and return it."""
        await self.stop_member(place, signal.SIGTERM)
        await self.start_member(place, sabotage=sabotage, **settings)
        await self.joined(place)
        return self.members[place]

    async def add_partitions(self) -> None:
        """Give each shard a partition for its marks, as it is done before their number is changed."""
        topic_side = {"KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers, "KAFKA_TOPIC_PREFIX": self.prefix}
        async with process({**topic_side, **self._grouped}, "topics") as command:
            code = await command.ended()
        if code != 0:
            self.problems.append(f"aries-bridge topics exited with code {code}: {command.output}{command.text}")

    async def stop_member(self, place: int, *signals: signal.Signals) -> None:
        """Send signals to a process, and wait for its end."""
        await self.members[place].end(*signals, within_seconds=self.exit_seconds)

    async def stop_bridge(self, *signals: signal.Signals) -> None:
        """Send signals to all processes, and wait for their ends."""
        running = [place for place, bridge in self.members.items() if not bridge.ended]
        await asyncio.gather(*(self.stop_member(place, *signals) for place in running))

    async def recovered(self) -> str | None:
        """Wait until each shard has one owner, all processes are members, and records are acknowledged.

        Return what is wrong if that takes too long.
        """
        deadline = time.monotonic() + RECOVERY_SECONDS
        before: int | None = None
        while True:
            ended = [bridge for bridge in self.running if bridge.ended]
            if ended:
                return f"process {ended[0].number} has exited by itself, with code {ended[0].returned}"
            statuses = [await bridge.status() for bridge in self.running]
            wrong = self._wrong(statuses)
            if wrong is None:
                published = sum(status["accounts"]["published"] for status in statuses if status is not None)
                before = published if before is None else before
                if published >= before + RECOVERED_RECORDS * self.shards:
                    return None
                wrong = "too few records are acknowledged"
            if time.monotonic() > deadline:
                return wrong
            await asyncio.sleep(POLL_SECONDS)

    def _wrong(self, statuses: list[dict[str, Any] | None]) -> str | None:
        owned = sorted(shard for bridge in self.running for shard in owned_by(bridge))
        if owned != list(range(self.shards)):
            return f"the owned shards are {owned}"
        for bridge, status in zip(self.running, statuses, strict=True):
            if status is None:
                return f"/status of process {bridge.number} does not answer"
            if status["group"]["role"] == "joining":
                return f"process {bridge.number} is no member of the group: {status['group']['problem']}"
            if status["buffer"]["overloaded"]:
                return f"process {bridge.number} is overloaded: {status['buffer']}"
            if owned_by(bridge) and status["state"] != "streaming":
                return f"process {bridge.number} is {status['state']}: {status['checks']}"
        return None

    async def all_read(self) -> bool:
        """Stop the market, wait until all processes have read everything, and return whether they have."""
        self.simulator.rate = 0
        await self.simulator.drained()
        counts: list[int] = []
        deadline = time.monotonic() + RECOVERY_SECONDS
        while time.monotonic() < deadline:
            statuses = [await bridge.status() for bridge in self.running]
            counts.append(sum(-len(counts) if one is None else one["accounts"]["lines_received"] for one in statuses))
            if len(counts) >= UNCHANGED_POLLS and len(set(counts[-UNCHANGED_POLLS:])) == 1:
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False


def owned_by(bridge: BridgeProcess) -> set[int]:
    """Return the shards that a process owns by its log."""
    shards: set[int] = set()
    for line in bridge.process.logs:
        if line["event"] == log_events.SHARD_CLAIMED:
            shards.add(line["shard"])
        elif line["event"] in _UNOWNED:
            shards.discard(line["shard"])
    return shards
