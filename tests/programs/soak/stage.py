"""All that takes part in a soak: a real Kafka, the simulator behind a network that can fail, and the bridge."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from itertools import product
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Self

from bridge.simulator.server import Simulator
from bridge.simulator.token_endpoint import TokenEndpointServer
from bridge.topics import Topic
from tests.faults.proxy import Proxy
from tests.programs.soak.connections import Onlooker
from tests.programs.soak.life import Life
from tests.programs.soak.plan import life_settings

if TYPE_CHECKING:
    import signal
    from types import TracebackType

    from tests.support.brokers import RealKafka

PARTITIONS = 4
INSTANCE = "soaked"
DRAIN_SECONDS = 10.0
#: What an exit may take beyond ``BRIDGE_DRAIN_SECONDS``.
EXIT_SECONDS = 8.0
DELIVERY_TIMEOUT_SECONDS = 5.0
#: So long all may take until data flows again after everything was made good.
RECOVERY_SECONDS = 90.0
LOOK_AGAIN_SECONDS = 0.25
#: So many looks without a new line make a rest.
LOOKS_AT_REST = 4
#: So many records more must be acknowledged before it counts as recovered.
RECOVERED_RECORDS = 100
#: A session lapses so soon that it is renewed again and again.
TERM_SECONDS, WARNING_SECONDS = 75, 4
LINES_PER_FRAME = 8


def symbols(count: int) -> list[str]:
    """Return an index, a fifth of options, and equities."""
    roots = [first + second for first, second in product(ascii_uppercase, repeat=2)][:count]
    options = [f"{root}270115C00100000" for root in roots[: count // 5]]
    return ["SPX", *options, *roots[: count - 1 - len(options)]]


class Stage:
    """Hold everything while the context is open; the bridge's process may be another from fault to fault."""

    def __init__(
        self, kafka: RealKafka, prefix: str, *, seed: int, rate: float, symbol_count: int, brokers: int
    ) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.brokers = brokers
        self.onlooker = Onlooker()
        self.tokens = TokenEndpointServer(rotating=True)
        self.simulator = Simulator(
            symbols=symbols(symbol_count),
            seed=seed,
            rate=rate,
            lines_per_frame=LINES_PER_FRAME,
            tokens=self.tokens.tokens,
            expires_in_seconds=TERM_SECONDS,
            warning_seconds=WARNING_SECONDS,
            on_event=self.onlooker.watch,
        )
        self.onlooker.look_at(self.simulator)
        #: The networks before the feed and before each broker.
        self.network: Proxy
        self.kafka_network: dict[int, Proxy] = {}
        self.lives: list[Life] = []
        self._seed = seed
        self._symbols = symbols(symbol_count)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        replicas = min(3, self.brokers)
        config = {"min.insync.replicas": str(min(2, self.brokers))}
        for topic in Topic:
            await asyncio.to_thread(self.kafka.create_topic, self.topic(topic), PARTITIONS, replicas, config)
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
        for life in self.lives:
            await life.close()
        await self._stack.aclose()

    def topic(self, topic: Topic) -> str:
        """Return a topic's name."""
        return f"{self.prefix}.{topic}"

    @property
    def broker_numbers(self) -> range:
        """Return the numbers of the brokers."""
        return range(1, self.brokers + 1)

    # The bridge

    @property
    def life(self) -> Life:
        """Return the present process of the bridge."""
        return self.lives[-1]

    async def begin_life(self) -> None:
        """Start a bridge."""
        number = len(self.lives) + 1
        own = life_settings(self._seed, number)
        url = self.network.instead_of(self.simulator.url_for(own.pop("ARIES_DIALECT")))
        self.lives.append(Life(number, self._environment(url) | own))
        await self.life.begin()

    async def end_life(self, *signals: signal.Signals) -> None:
        """End the bridge by signals, and wait for its end."""
        await self.life.end(*signals, within_seconds=DRAIN_SECONDS + EXIT_SECONDS)

    async def restart(self, *signals: signal.Signals) -> None:
        """End the bridge and start another."""
        await self.end_life(*signals)
        await self.begin_life()

    def _environment(self, url: str) -> dict[str, str]:
        return {
            "ARIES_WS_URL": url,
            "ARIES_SYMBOLS": ",".join(self._symbols),
            "ARIES_EVENTS": "quotes,trades,l2,timesales,greeks",
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
            "BRIDGE_INSTANCE": INSTANCE,
            "BRIDGE_HTTP_HOST": "127.0.0.1",
            "BRIDGE_HTTP_PORT": "0",
            "BRIDGE_DRAIN_SECONDS": f"{DRAIN_SECONDS:g}",
        }

    async def recovered(self) -> str | None:
        """Wait until data flows and is acknowledged again; return what is still wrong where that takes too long."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        before: int | None = None
        while True:
            said = await self.life.status()
            if said is not None:
                before = said["accounts"]["published"] if before is None else before
                wrong = _wrong(said, before)
                if wrong is None:
                    return None
            if self.life.ended:
                return f"the bridge has ended by itself, with code {self.life.returned}"
            if time.monotonic() > deadline:
                return "its /status is not answered" if said is None else wrong
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def all_read(self) -> bool:
        """Stop the market, and wait until the bridge has read all there is; return whether that came about."""
        self.simulator.rate = 0
        await self.simulator.drained()
        looks: list[int] = []
        deadline = time.monotonic() + RECOVERY_SECONDS
        while time.monotonic() < deadline:
            said = await self.life.status()
            looks.append(-len(looks) if said is None else said["accounts"]["lines_received"])
            if len(looks) >= LOOKS_AT_REST and len(set(looks[-LOOKS_AT_REST:])) == 1:
                return True
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return False


def _wrong(status: dict[str, Any], before: int) -> str | None:
    if status["state"] != "streaming":
        return f"it is {status['state']}: {status['checks']}"
    if not status["kafka"]["acking"] or status["accounts"]["published"] < before + RECOVERED_RECORDS:
        return f"Kafka acknowledges nothing, or too little: {status['kafka']}"
    if status["buffer"]["overloaded"]:
        return f"it is overloaded: {status['buffer']}"
    return None
