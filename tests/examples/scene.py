"""What the examples read: a feed with a gap, published once without a registry and once with one."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from queue import Queue
from typing import TYPE_CHECKING, Final

from bridge.clock import wall_us
from bridge.simulator.data_kinds import DataKind
from bridge.simulator.faults import Drop
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support import consumer
from tests.support.fake_registry import FakeRegistry
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bridge.app import Bridge
    from bridge.simulator.instrument import Instrument

Row = list[str | int | None]

#: The topic prefixes of the two bridges.
PLAIN: Final = "examples-plain"
REGISTRY: Final = "examples-registry"
#: The topics of both, to be created beforehand.
TOPICS: Final = tuple(f"{prefix}.{topic}" for prefix in (PLAIN, REGISTRY) for topic in Topic)
#: What the examples read; the other topics have no rules of their own.
READ: Final = (Topic.QUOTES, Topic.TRADES, Topic.TIMESALES, Topic.L2, Topic.CONTROL)
_TOPICS: Final = {
    DataKind.QUOTE: Topic.QUOTES,
    DataKind.TRADE: Topic.TRADES,
    DataKind.TIME_AND_SALES: Topic.TIMESALES,
    DataKind.LEVEL2: Topic.L2,
}
_GENERATED_EVENTS: Final = 60


@dataclass
class Scene:
    """Topics that hold all that was published, and what an example must make of them."""

    bootstrap_servers: str
    registry_url: str = ""
    #: The number of records in each topic, by prefix.
    records: dict[str, dict[Topic, int]] = field(default_factory=dict)
    #: The rows of MSFT in the simulated market at the end, by price and by exchange.
    book: dict[str, Row] = field(default_factory=dict)
    exchanges: dict[str, Row] = field(default_factory=dict)

    def count(self, prefix: str, *topics: Topic) -> int:
        """Return how many records these topics have; by default all that the examples read."""
        return sum(self.records[prefix][topic] for topic in topics or READ)


@contextmanager
def in_thread(bootstrap_servers: str) -> Iterator[Scene]:
    """Publish the scene; a thread serves the registry until the block ends."""
    ready: Queue[Scene | Exception] = Queue()
    ended = threading.Event()

    async def serve() -> None:
        async with published(bootstrap_servers) as scene:
            ready.put(scene)
            await asyncio.to_thread(ended.wait)

    def run() -> None:
        try:
            asyncio.run(serve())
        except Exception as error:  # noqa: BLE001 - raised below
            ready.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        scene = ready.get()
        if isinstance(scene, Exception):
            raise scene
        yield scene
    finally:
        ended.set()
        thread.join()


@asynccontextmanager
async def published(bootstrap_servers: str) -> AsyncIterator[Scene]:
    """Publish the scene; the registry serves until the block ends."""
    scene = Scene(bootstrap_servers)
    async with FakeRegistry().serving() as registry:
        scene.registry_url = registry.url
        await _publish(scene, PLAIN)
        await _publish(scene, REGISTRY, SCHEMA_REGISTRY_URL=registry.url, SCHEMA_REGISTRY_AUTO_REGISTER="true")
        yield scene


async def _publish(scene: Scene, prefix: str, **more: str) -> None:
    async with Simulator(level2_changes=True) as simulator:
        environ = environment(simulator, scene.bootstrap_servers, prefix, ARIES_LEVEL2="changes", **more)
        async with running(environ) as bridge:
            await _Feed(simulator, bridge).run()
        scene.records[prefix] = await asyncio.to_thread(_count, scene.bootstrap_servers, prefix)
        scene.book, scene.exchanges = _rows(simulator._state.market.instrument("MSFT"))


class _Feed:
    """What the simulator sends: a generated market, a lost connection, and then what tests assert."""

    def __init__(self, simulator: Simulator, bridge: Bridge) -> None:
        self._simulator = simulator
        self._bridge = bridge

    async def run(self) -> None:
        simulator = self._simulator
        await simulator.subscribed("AAPL", "MSFT")
        await simulator.emit(_GENERATED_EVENTS)
        await simulator.level2("AAPL", orderBook=["900:300.00:"], quotes=["EDGX:300.00:900::"])
        await self._all_published()
        await simulator.inject(Drop())
        await simulator.authenticated(2)
        await simulator.subscribed("AAPL", "MSFT")
        await self._send_what_tests_assert()

    async def _send_what_tests_assert(self) -> None:
        """Each step is published before the next begins, so that their timestamps differ."""
        simulator = self._simulator
        bid = "212.500000001"
        quote = {"bidPrice": bid, "bidSize": 7, "bidExchange": "NSDQ"}
        await simulator.quote("AAPL", **quote, askPrice="212.75", askSize=3, askExchange="ARCX")
        await self._all_published()
        await simulator.trade("AAPL", lastPrice=bid, price=bid, size="0.083", netChange="-1.25")
        await self._all_published()
        await simulator.quote("AAPL", bidSize=9)
        await simulator.quote("AAPL", askPrice=None, askSize=None, askExchange=None)
        await self._all_published()
        await simulator.trade("AAPL", lastPrice="212.5", price="212.5", size="100")
        await simulator.time_and_sale("AAPL", price="212.500000001", size="0.083", tradeExchange="NSDQ", tradeSeq=9001)
        rows = ["3:212.75:", "0:212.500000001:9", ":212.25:400"]
        await simulator.level2("AAPL", orderBook=rows, quotes=["ARCX:212.75:3:212.5:9"])
        await simulator.level2("AAPL", orderBook=["0:212.75:0", "5:212.80:"])
        await simulator.level2("AAPL", quotes=[])
        await self._all_published()

    async def _all_published(self) -> None:
        """Wait until Kafka has all that was sent, and the clock shows another millisecond than for the last record."""
        await eventually(lambda: self._published() == self._sent(), "all records to be published")
        now = wall_us() // 1000
        await eventually(lambda: wall_us() // 1000 > now, "the next millisecond")

    def _sent(self) -> dict[Topic, int]:
        counts = Counter[Topic]()
        for (kind, _), count in self._simulator.sent.records.items():
            counts[_TOPICS[kind]] += count
        return dict(counts)

    def _published(self) -> dict[Topic, int]:
        published = self._bridge.accounts.published
        return {topic: published[topic] for topic in _TOPICS.values() if published[topic]}


def _count(bootstrap_servers: str, prefix: str) -> dict[Topic, int]:
    return {topic: len(consumer.read_all(bootstrap_servers, [f"{prefix}.{topic}"])) for topic in READ}


def _rows(instrument: Instrument) -> tuple[dict[str, Row], dict[str, Row]]:
    """Return the rows of the simulated market as a consumer shows them: book by price, and quotes by exchange."""
    book: dict[str, Row] = {}
    for row in instrument._book.values():
        ask_size, price, bid_size = row.split(":")
        book[_decimal(price)] = [_size(bid_size), _size(ask_size)]
    quotes: dict[str, Row] = {}
    for row in instrument._exchanges.values():
        exchange, ask, ask_size, bid, bid_size = row.split(":")
        quotes[exchange] = [
            _decimal(bid) if bid else None,
            _size(bid_size),
            _decimal(ask) if ask else None,
            _size(ask_size),
        ]
    return book, quotes


def _size(text: str) -> int | None:
    return int(text) if text else None


def _decimal(text: str) -> str:
    return f"{Decimal(text):.9f}"
