"""The newest records that `dev` shows are read back from Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from bridge import settings
from bridge.app import Bridge
from bridge.clock import wall_us
from bridge.dev.topic_reader import TopicReader
from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.brokers import RealKafka


@pytest.fixture
async def bridge(broker: EmbeddedBroker, topic_prefix: str) -> AsyncIterator[tuple[Bridge, Simulator]]:
    """Run a bridge with a simulator that sends only what the test sends."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS="AAPL,MSFT,NVDA,IBM,F,T")
        async with running(environ) as bridge:
            await simulator.subscribed("T")
            yield bridge, simulator


async def published(bridge: Bridge) -> None:
    """Wait until all records are acknowledged, SESSION_STARTED and SUBSCRIBED on the control topic among them."""
    accounts = bridge.accounts
    await eventually(
        lambda: accounts.lines_received and not accounts.pending and accounts.announced >= 2,
        "all records are acknowledged",
    )


async def test_counts_and_newest_records_are_those_of_kafka(bridge: tuple[Bridge, Simulator]) -> None:
    """An update finds how many records each topic holds, and the newest one in any of its partitions."""
    service, simulator = bridge
    symbols = ("AAPL", "MSFT", "NVDA", "IBM", "F", "T")
    for number, symbol in enumerate(symbols):
        await simulator.quote(symbol, bidPrice=f"{number + 1}.25")
        await asyncio.sleep(0.002)  # one millisecond is the resolution of Kafka's timestamps
    await eventually(lambda: service.accounts.lines_received >= simulator.sent.lines, "all lines are read")
    await published(service)
    async with TopicReader(service, since_ms=0) as reader:
        await reader.update()
        assert reader.problem is None
        assert reader.newest[Topic.QUOTES].text == "T bid 6.25"
        assert reader.counts[Topic.QUOTES] == service.accounts.published[Topic.QUOTES]
        assert reader.counts[Topic.CONTROL] == service.accounts.announced
        assert reader.newest[Topic.CONTROL].text.startswith("SUBSCRIBED")
        assert reader.counts[Topic.DLQ] == 0
        assert Topic.DLQ not in reader.newest
        assert Topic.GREEKS not in reader.counts  # not subscribed to

        await simulator.send_line(b"{oops")
        await eventually(lambda: service.accounts.dead_lettered.total() == 1, "the line is dead-lettered")
        await reader.update()
        assert reader.newest[Topic.DLQ].text.startswith("not_json")


async def test_records_of_earlier_runs_are_not_shown(kafka: RealKafka, topic_prefix: str) -> None:
    """On a Kafka with a past only records since the start of this run count as newest."""
    for topic in Topic:
        kafka.create_topic(f"{topic_prefix}.{topic}", 2)
    async with Simulator() as simulator:
        environ = environment(simulator, kafka.bootstrap_servers, topic_prefix)
        async with running(environ) as service:
            await simulator.subscribed("AAPL")
            await simulator.send_line(b"{oops")
            await eventually(lambda: service.accounts.dead_lettered.total() == 1, "the line is dead-lettered")
        since_ms = wall_us() // 1000
        async with running(environ) as service:
            await simulator.connected(2)
            await simulator.subscribed("AAPL")
            await simulator.quote("AAPL", bidPrice="2")
            await published(service)
            async with TopicReader(service, since_ms) as reader:
                await reader.update()
                assert reader.problem is None
                assert reader.counts[Topic.DLQ] == 1
                assert Topic.DLQ not in reader.newest
                assert reader.newest[Topic.CONTROL].text.startswith("SUBSCRIBED")
                assert all(newest.timestamp_ms >= since_ms for newest in reader.newest.values())


async def test_records_of_other_applications_are_shown_as_undecodable(
    bridge: tuple[Bridge, Simulator], topic_prefix: str
) -> None:
    """A value that is no record of ours does not end the reader."""
    service, _ = bridge
    servers = ",".join(service.settings.kafka_bootstrap_servers)
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer, TopicReader(service, since_ms=0) as reader:
        await producer.send_and_wait(f"{topic_prefix}.dlq", b"hello")
        await reader.update()
        assert reader.newest[Topic.DLQ].text.startswith("not decodable")
        assert reader.problem is None


async def test_an_unreachable_kafka_is_a_problem_to_show(topic_prefix: str) -> None:
    """The update fails without an exception, and says why."""
    with EmbeddedBroker() as own:
        own.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
        async with Simulator() as simulator:
            environ = environment(simulator, own.bootstrap_servers, topic_prefix, BRIDGE_DRAIN_SECONDS="0")
            async with running(environ) as service:
                await simulator.subscribed("AAPL")
                await published(service)
    async with TopicReader(service, since_ms=0) as reader:
        await reader.update()
        assert reader.problem is not None


async def test_nothing_is_read_before_the_bridge_knows_the_partitions() -> None:
    """Until the bridge has reached Kafka there is nothing to read, which is no problem."""
    environ = {"ARIES_ACCESS_TOKEN": "x", "ARIES_SYMBOLS": "A", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    async with TopicReader(Bridge(settings.load(environ)), since_ms=0) as reader:
        await reader.update()
        assert reader.problem is None
        assert not reader.newest
