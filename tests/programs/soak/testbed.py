"""The testbed of a soak: a real Kafka and the simulator, each behind a network that can fail, and the bridge."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
from contextlib import AsyncExitStack
from enum import StrEnum
from itertools import product
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined] # public all the same

from bridge.simulator.data_kinds import DataKind
from bridge.simulator.server import Simulator
from bridge.simulator.token_endpoint import TokenEndpointServer
from bridge.topics import Topic
from tests.faults.proxy import Proxy
from tests.programs.soak.bridge_process import BridgeProcess
from tests.programs.soak.connection_log import ConnectionLog
from tests.programs.soak.plan import instance_settings, process_settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from tests.support.brokers import RealKafka

PARTITIONS = 4
INSTANCE = "soaked"
DRAIN_SECONDS = 10.0
#: What an exit may take beyond ``BRIDGE_DRAIN_SECONDS``.
EXIT_SECONDS = 8.0
DELIVERY_TIMEOUT_SECONDS = 5.0
#: The longest time until data flows again after a fault is removed.
RECOVERY_SECONDS = 90.0
POLL_SECONDS = 0.25
#: Polls without a new line after which the bridge is taken to have read everything.
UNCHANGED_POLLS = 4
#: Records that must be acknowledged before the bridge counts as recovered.
RECOVERED_RECORDS = 100
#: Sessions expire so soon that they are renewed many times.
SESSION_SECONDS, WARNING_SECONDS = 75, 4
LINES_PER_FRAME = 8


#: An hour at 3,000 records a second is about 2 GB: all of it stays for ``verify``. Of a longer soak, the topics lose
#: what ``verify --follow`` has read long ago, so that the disk does not fill.
RETENTION = {"retention.ms": "-1", "retention.bytes": str(1 << 30), "segment.bytes": str(64 << 20)}
#: How long a change of the subscriptions file may take until the server knows it, with Kafka and Aries well.
RESUBSCRIBE_SECONDS = 30.0
EVENTS = ("quotes", "trades", "l2", "timesales", "greeks")
#: The topic of one replica, in a cluster of several brokers: its partitions have no leader while their broker is down.
SINGLE_REPLICA_TOPIC = Topic.TIMESALES


class SubscriptionChange(StrEnum):
    """A change of the subscriptions file."""

    FEWER_SYMBOLS = "fewer_symbols"
    FEWER_EVENTS = "fewer_events"  # the topic of the missing event is opened again by the next change


def symbols(count: int) -> list[str]:
    """Return an index, options (a fifth), and equities."""
    roots = [first + second for first, second in product(ascii_uppercase, repeat=2)][:count]
    options = [f"{root}270115C00100000" for root in roots[: count // 5]]
    return ["SPX", *options, *roots[: count - 1 - len(options)]]


class Testbed:
    """The running parts of a soak while the context is open; faults can replace the bridge's process."""

    def __init__(
        self,
        kafka: RealKafka,
        prefix: str,
        *,
        seed: int,
        rate: float,
        symbol_count: int,
        brokers: int,
        rotating_tokens: bool = True,
    ) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.brokers = brokers
        self.connection_log = ConnectionLog()
        self.tokens = TokenEndpointServer(rotating=rotating_tokens)
        self.simulator = Simulator(
            symbols=symbols(symbol_count),
            seed=seed,
            rate=rate,
            lines_per_frame=LINES_PER_FRAME,
            tokens=self.tokens.tokens,
            expires_in_seconds=SESSION_SECONDS,
            warning_seconds=WARNING_SECONDS,
            on_event=self.connection_log.watch,
        )
        self.connection_log.observe(self.simulator)
        #: The networks before the feed and before each broker.
        self.network: Proxy
        self.kafka_network: dict[int, Proxy] = {}
        self.processes: list[BridgeProcess] = []
        #: Violated expectations of the present fault, and its remarks.
        self.problems: list[str] = []
        self.notes: list[str] = []
        #: Symbols that were unsubscribed at times, by the number of the process.
        self.changed_symbols: dict[int, set[str]] = {}
        self._seed = seed
        self.symbols = symbols(symbol_count)
        #: The wanted symbols, and whether time and sales are wanted of each.
        self._wanted: dict[str, bool] = {}
        self._subscriptions_file: Path
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._create_topics)
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-subscriptions-"))
        self._subscriptions_file = Path(directory) / "subscriptions.json"
        self.change_subscriptions(None)
        await self._stack.enter_async_context(self.tokens)
        await self._stack.enter_async_context(self.simulator)
        self.network = await self._stack.enter_async_context(Proxy(self.simulator.port))
        for broker in self.broker_numbers:
            own_port, advertised_port = self.kafka.proxied(broker)
            proxy = Proxy(own_port, server_host="localhost", port=advertised_port)
            self.kafka_network[broker] = await self._stack.enter_async_context(proxy)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bridge in self.processes:
            await bridge.close()
        await self._stack.aclose()

    def topic(self, topic: Topic) -> str:
        """Return the full name of a topic."""
        return f"{self.prefix}.{topic}"

    def min_insync_replicas(self, topic: Topic) -> str:
        """Return the topic's own ``min.insync.replicas``."""
        return str(1 if topic is SINGLE_REPLICA_TOPIC else min(2, self.brokers))

    def _create_topics(self) -> None:
        admin = self.kafka.admin()  # it answers only while it is referenced
        topics = [
            NewTopic(
                self.topic(topic),
                PARTITIONS,
                replica_assignment=[self._replicas(topic, number) for number in self.partitions],
                config={"min.insync.replicas": self.min_insync_replicas(topic), **RETENTION},
            )
            for topic in Topic
        ]
        for created in admin.create_topics(topics, operation_timeout=20).values():
            created.result(timeout=30)

    def has_leader_without(self, broker: int, topic: Topic, partition: int) -> bool:
        """Return whether another broker can lead a partition."""
        return self._replicas(topic, partition) != [broker]

    def _replicas(self, topic: Topic, partition: int) -> list[int]:
        count = 1 if topic is SINGLE_REPLICA_TOPIC else self.brokers
        return [1 + (partition + number) % self.brokers for number in range(count)]

    @property
    def partitions(self) -> range:
        """Return the numbers of each topic's partitions."""
        return range(PARTITIONS)

    @property
    def broker_numbers(self) -> range:
        """Return the numbers of the brokers."""
        return range(1, self.brokers + 1)

    # The bridge

    @property
    def bridge(self) -> BridgeProcess:
        """Return the present process of the bridge."""
        return self.processes[-1]

    @property
    def running(self) -> Iterable[BridgeProcess]:
        """Return the processes of the bridge that run."""
        return (self.bridge,)

    async def start_bridge(self, **settings: str) -> None:
        """Start a bridge, with these settings instead of drawn ones."""
        number = len(self.processes) + 1
        own = process_settings(self._seed, number)
        url = self.network.instead_of(self.simulator.url_for(own.pop("ARIES_DIALECT")))
        of_instance = instance_settings(self._seed, INSTANCE)
        self.processes.append(BridgeProcess(number, self._environment(url) | own | of_instance | settings))
        await self.bridge.begin()

    async def stop_bridge(self, *signals: signal.Signals) -> None:
        """Send signals to the bridge, and wait for its end."""
        await self.bridge.end(*signals, within_seconds=DRAIN_SECONDS + EXIT_SECONDS)

    async def restart(self, *signals: signal.Signals) -> None:
        """Stop the bridge and start another."""
        await self.stop_bridge(*signals)
        await self.start_bridge()

    async def restart_with(self, **settings: str) -> None:
        """End the bridge, start another with these settings, and wait until it delivers."""
        await self.stop_bridge(signal.SIGTERM)
        await self.start_bridge(**settings)
        problem = await self.recovered()
        if problem is not None:
            self.problems.append(f"after a restart: {problem}")

    # The subscriptions

    def change_subscriptions(self, change: SubscriptionChange | None) -> None:
        """Replace the subscriptions file; None: all symbols and events again."""
        wanted = self.symbols[::2] if change is SubscriptionChange.FEWER_SYMBOLS else self.symbols
        without = "timesales" if change is SubscriptionChange.FEWER_EVENTS else None
        if change is not None and self.processes:
            left = set(self.symbols) - set(wanted) if without is None else set(self.symbols)
            self.changed_symbols.setdefault(self.bridge.number, set()).update(left)
        subscriptions = {symbol: _events(symbol, without) for symbol in wanted}
        self._wanted = {symbol: "timesales" in events for symbol, events in subscriptions.items()}
        written = self._subscriptions_file.with_suffix(".new")
        written.write_text(json.dumps([{"symbol": name, "events": events} for name, events in subscriptions.items()]))
        written.rename(self._subscriptions_file)

    async def check_subscriptions(self) -> None:
        """Wait until the server has just the wanted symbols subscribed; report if that takes too long."""
        try:
            await self.simulator.wait_for(self._is_subscribed_as_wanted, timeout_seconds=RESUBSCRIBE_SECONDS)
        except TimeoutError:
            self.problems.append(
                f"the subscriptions file names {_counts(self._wanted)}, but after {RESUBSCRIBE_SECONDS:g} s the server "
                f"has subscriptions of {_counts(self._subscribed())}"
            )

    def _is_subscribed_as_wanted(self) -> bool:
        return self._subscribed() == self._wanted

    def _subscribed(self) -> dict[str, bool]:
        for session in reversed(self.simulator.sessions):
            if session.authenticated:
                subscriptions = session.stream.subscriptions
                return {symbol: DataKind.TIME_AND_SALES in kinds for symbol, kinds in subscriptions.items()}
        return {}

    def _environment(self, url: str) -> dict[str, str]:
        return {
            "ARIES_WS_URL": url,
            "ARIES_SUBSCRIPTIONS_FILE": str(self._subscriptions_file),
            "ARIES_EVENTS": ",".join(EVENTS),
            "ARIES_CLIENT_ID": self.tokens.client_id,
            "ARIES_CLIENT_SECRET": self.tokens.client_secret,
            "ARIES_REFRESH_TOKEN": self.tokens.refresh_token,
            "ARIES_TOKEN_URL": self.tokens.url,
            "ARIES_PING_INTERVAL_SECONDS": "2",
            "ARIES_PONG_TIMEOUT_SECONDS": "2",
            "ARIES_STALE_AFTER_SECONDS": "4",
            "ARIES_BACKOFF_MIN_SECONDS": "0.1",
            "ARIES_BACKOFF_MAX_SECONDS": "1",
            "KAFKA_BOOTSTRAP_SERVERS": ",".join(f"localhost:{proxy.port}" for proxy in self.kafka_network.values()),
            "KAFKA_TOPIC_PREFIX": self.prefix,
            "KAFKA_DELIVERY_TIMEOUT_SECONDS": f"{DELIVERY_TIMEOUT_SECONDS:g}",
            "BRIDGE_HTTP_HOST": "127.0.0.1",
            "BRIDGE_HTTP_PORT": "0",
            "BRIDGE_DRAIN_SECONDS": f"{DRAIN_SECONDS:g}",
        }

    async def recovered(self) -> str | None:
        """Wait until data flows and is acknowledged again; return what is still wrong where that takes too long."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        before: int | None = None
        while True:
            status = await self.bridge.status()
            if status is not None:
                before = status["accounts"]["published"] if before is None else before
                wrong = _wrong(status, before)
                if wrong is None:
                    return None
            if self.bridge.ended:
                return f"the bridge has exited by itself, with code {self.bridge.returned}"
            if time.monotonic() > deadline:
                return "/status does not answer" if status is None else wrong
            await asyncio.sleep(POLL_SECONDS)

    async def all_read(self) -> bool:
        """Stop the market, wait until the bridge has read everything, and return whether it has."""
        self.simulator.rate = 0
        await self.simulator.drained()
        counts: list[int] = []
        deadline = time.monotonic() + RECOVERY_SECONDS
        while time.monotonic() < deadline:
            status = await self.bridge.status()
            counts.append(-len(counts) if status is None else status["accounts"]["lines_received"])
            if len(counts) >= UNCHANGED_POLLS and len(set(counts[-UNCHANGED_POLLS:])) == 1:
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False


def _events(symbol: str, without: str | None) -> list[str]:
    if symbol == "SPX":
        return ["trades"]
    is_option = len(symbol) > 6
    return [event for event in EVENTS if event != without and (is_option or event != "greeks")]


def _counts(subscriptions: dict[str, bool]) -> str:
    return f"{len(subscriptions)} symbols, {sum(subscriptions.values())} with time and sales"


def _wrong(status: dict[str, Any], before: int) -> str | None:
    if status["state"] != "streaming":
        return f"it is {status['state']}: {status['checks']}"
    if not status["kafka"]["acking"] or status["accounts"]["published"] < before + RECOVERED_RECORDS:
        return f"Kafka acknowledges too few records: {status['kafka']}"
    if status["buffer"]["overloaded"]:
        return f"it is overloaded: {status['buffer']}"
    return None
