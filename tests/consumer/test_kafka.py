"""The market is read from Kafka, and the examples of the README run."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from bridge.consumer import FeedLost, MarketView, Merged, Missed, Restarted, Unreadable, Updated
from bridge.consumer.kafka import open_market
from bridge.kafka.partitioner import partition
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.consumer.records import SERIALIZER, record
from tests.support.paths import PACKAGE
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.consumer import Event
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka

README = (PACKAGE / "consumer" / "README.md").read_text("utf-8")
EXAMPLE, CORE_EXAMPLE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
DEADLINE_SECONDS = 30


@pytest.fixture
async def written(broker: EmbeddedBroker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the prefix of topics that a bridge has written in two sessions."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", topic_prefix)
    async with Simulator(seed=5) as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.emit(100)
            await simulator.inject(faults.Drop())
            await simulator.connected(2)
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.emit(100)
            await eventually(lambda: bridge.accounts.lines_received >= simulator.sent.lines, "all lines read")
    return topic_prefix


async def read_until(*wanted: type[Event], topics: tuple[Topic, ...] = ()) -> tuple[MarketView, list[Event]]:
    """Read topics from their beginnings until there was an event of each type."""
    found: list[Event] = []
    async with asyncio.timeout(DEADLINE_SECONDS), open_market(*topics) as market:
        async with aclosing(market.events()) as events:
            async for event in events:
                found.append(event)
                if {type(one) for one in found} >= set(wanted):
                    break
    return market.view, found


async def test_states_are_built_from_kafka(written: str, broker: EmbeddedBroker) -> None:
    """States and gaps are those of the bridge; a foreign record is reported with its place."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        foreign = SERIALIZER.encode(Topic.TRADES, record(Topic.TRADES, {"lastPrice": "1"}))
        await producer.send_and_wait(f"{written}.quotes", foreign, b"AAPL", partition=0)

    view, events = await read_until(Unreadable, Updated, topics=(Topic.QUOTES,))

    (unreadable,) = (event for event in events if isinstance(event, Unreadable))
    assert (unreadable.topic, unreadable.partition) == (f"{written}.quotes", 0)
    assert unreadable.reason == "the value is a aries.marketdata.Trade, not a aries.marketdata.Quote"
    assert {event.topic for event in events if isinstance(event, Updated)} == {Topic.QUOTES}
    assert all(state.is_complete for state in view.states(Topic.QUOTES))


async def test_control_is_read_with_all_topics(written: str) -> None:
    """Without names all topics are read; the lost connection is told."""
    _, events = await read_until(FeedLost)

    (lost,) = (event for event in events if isinstance(event, FeedLost))
    assert lost.reason is not None


async def test_records_that_kafka_deleted_before_they_were_read(
    kafka: RealKafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jump looks like a merge, but the state is incomplete: the deleted records may have been of this symbol."""
    name = f"{topic_prefix}.quotes"
    kafka.create_topic(name, partitions=4)
    place = TopicPartition(name, partition(b"AAPL", 4))
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", topic_prefix)
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer,
        open_market(bootstrap=kafka.bootstrap_servers) as market,
        aclosing(market.events()) as events,
        asyncio.timeout(DEADLINE_SECONDS),
    ):

        async def write(seq: int) -> None:
            value = SERIALIZER.encode(Topic.QUOTES, record(Topic.QUOTES, {"bidSize": 1}, seq=seq))
            await producer.send_and_wait(name, value, b"AAPL", partition=place.partition)

        await write(0)
        assert [type(await anext(events)) for _ in range(2)] == [Restarted, Updated]
        for seq in (1, 2, 3):
            await write(seq)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
        await admin.start()
        await admin.delete_records({place: RecordsToDelete(3)})
        await admin.close()
        market._consumer.seek(place, 3)  # what was fetched ahead is forgotten

        assert await anext(events) == Missed(Topic.QUOTES, "AAPL", 7, 1, None)
        assert isinstance(await anext(events), Merged)
        updated = await anext(events)
        assert isinstance(updated, Updated)
        assert not updated.state.is_complete


async def test_the_example_in_the_readme_runs(written: str, tmp_path: Path) -> None:
    """It prints quotes and books, from any directory."""
    example = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", EXAMPLE),
        cwd=tmp_path,
        env={name: os.environ[name] for name in ("PATH", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC_PREFIX")},
        stdout=asyncio.subprocess.PIPE,
    )
    assert example.stdout is not None
    wanted = {rb"(AAPL|MSFT) \d+\.\d+ \d+", rb"AAPL 10 levels, best bid \d+", rb"stale from now on: FeedLost"}
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while wanted:
                line = await example.stdout.readline()
                assert line, "the example has ended"
                wanted = {pattern for pattern in wanted if not re.match(pattern, line)}
    finally:
        example.kill()
        await example.communicate()


def test_the_core_example_in_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints what records of any client mean."""
    consumer: dict[str, Any] = {}
    exec(CORE_EXAMPLE, consumer)
    value = SERIALIZER.encode(Topic.QUOTES, record(Topic.QUOTES, {"bidPrice": "1.5"}))
    consumer["on_message"]("quotes", value, 0)

    assert consumer["view"].state("quotes", "AAPL").is_complete
    assert [line.partition("(")[0] for line in capsys.readouterr().out.splitlines()] == ["Restarted", "Updated"]
