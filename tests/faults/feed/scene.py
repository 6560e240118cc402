"""One bridge and one fault of its feed: what happens, what is logged and announced, and what consumers find."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from bridge.topics import Topic
from tests.faults.proof import prove
from tests.support.service import control, environment, eventually, read, running
from tests.test_backoff import Highest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    from bridge.app import Bridge
    from bridge.errors import DisconnectCause
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from bridge.simulator.server import Simulator

#: The topics with market data about symbols.
DATA = (Topic.QUOTES, Topic.TRADES, Topic.TIMESALES, Topic.L2, Topic.GREEKS)
#: Waits short enough for a test; each as many times shorter than its default as a test is than a day.
PING_SOON = {"ARIES_PING_INTERVAL_SECONDS": "0.2", "ARIES_PONG_TIMEOUT_SECONDS": "0.2"}


@dataclass(frozen=True)
class Stage:
    """The topics of one test."""

    bootstrap_servers: str
    prefix: str

    @classmethod
    def of(cls, broker: EmbeddedBroker, prefix: str) -> Stage:
        """Create the topics of a prefix, and return them."""
        broker.create_topics(f"{prefix}.{topic}" for topic in Topic)
        return cls(broker.bootstrap_servers, prefix)

    @asynccontextmanager
    async def bridge(self, simulator: Simulator, url: str | None = None, **settings: str) -> AsyncIterator[Scene]:
        """Run a bridge until the block ends, connected to ``url`` or else to the simulator."""
        environ = environment(simulator, self.bootstrap_servers, self.prefix, **settings)
        if url is not None:
            environ["ARIES_WS_URL"] = url
        with structlog.testing.capture_logs() as logs:
            async with running(environ) as bridge:
                yield Scene(self, simulator, bridge, logs)


@dataclass
class Scene:
    """A bridge, its feed, and its log."""

    stage: Stage
    simulator: Simulator
    bridge: Bridge
    logs: list[MutableMapping[str, Any]] = field(repr=False)

    # What happens

    async def flows(self, symbol: str = "AAPL", *, sessions: int = 0) -> None:
        """Wait until a quote of this symbol arrives on Kafka, after so many sessions were started."""
        await eventually(lambda: len(self.logged("session started")) >= sessions, f"session {sessions}")
        await self.simulator.subscribed(symbol)
        await eventually(lambda: self.bridge.client.state == "streaming", "streaming")
        published = self.bridge.accounts.published
        before = published[Topic.QUOTES]
        assert await self.simulator.quote(symbol, bidPrice="1.25") >= 1
        await eventually(lambda: published[Topic.QUOTES] > before, "the quote on Kafka")
        await eventually(lambda: self.bridge.accounts.pending == 0, "all on Kafka")

    async def takes(self, lines: int) -> None:
        """Wait until so many lines were read since the start, and all are accounted for."""
        accounts = self.bridge.accounts
        await eventually(lambda: accounts.lines_received >= lines and accounts.pending == 0, f"{lines} lines")

    async def loses(self, times: int = 1) -> None:
        """Wait until so many connections were lost, or failed to open, since the start."""
        await eventually(lambda: len(self.losses) >= times, f"loss {times}")

    # What is logged and announced

    def logged(self, event: str) -> list[MutableMapping[str, Any]]:
        """Return the log lines of an event so far."""
        return [line for line in self.logs if line["event"] == event]

    @property
    def losses(self) -> list[MutableMapping[str, Any]]:
        """Return the log lines of lost connections so far."""
        return self.logged("Aries connection lost")

    @property
    def causes(self) -> list[DisconnectCause]:
        """Return the causes of lost connections so far."""
        return [line["cause"] for line in self.losses]

    # What consumers find

    async def proof(self, *gaps: DisconnectCause) -> list[dict[str, Any]]:
        """Assert what must hold after every fault, and that exactly these gaps were announced; return control records.

        The bridge has ended.
        """
        await prove(self.stage.bootstrap_servers, self.stage.prefix, self.bridge)
        assert Counter(self.causes) == self.bridge.client.reconnects
        announced = control(await read(self.stage.bootstrap_servers, self.stage.prefix, Topic.CONTROL))
        words = [record["kind"] for record in announced if record["kind"] in ("GAP", "RESUMED")]
        assert words == ["GAP", "RESUMED"] * len(gaps)
        begun = [record for record in announced if record["kind"] == "GAP"]
        ended = [record for record in announced if record["kind"] == "RESUMED"]
        assert [record["reason"].partition(":")[0] for record in begun] == [gap.value for gap in gaps]
        found = await read(self.stage.bootstrap_servers, self.stage.prefix, *DATA)
        for begin, end in zip(begun, ended, strict=True):
            assert begin["gap_from_us"] == end["gap_from_us"] <= end["gap_to_us"]
            data = [one.record["ingest_time_us"] for one in found if one.record["session_id"] == begin["session_id"]]
            assert not data or begin["gap_from_us"] == max(data), "the gap begins with the session's last data"
        return announced


def take_away_jitter(bridge: Bridge) -> None:
    """Let the reconnect policy always wait as long as it may."""
    for backoff in (bridge.client._reconnect_policy._fast, bridge.client._reconnect_policy._slow):
        backoff._rng = Highest()
