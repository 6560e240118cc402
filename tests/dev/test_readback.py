"""What is shown was read back from Kafka."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from bridge import settings
from bridge.app import Bridge
from bridge.clock import wall_us
from bridge.dev.readback import RATE_OVER_SECONDS, Flow, ReadBack
from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.brokers import RealKafka


@pytest.fixture
async def bridge(broker: EmbeddedBroker, topic_prefix: str) -> AsyncIterator[tuple[Bridge, Simulator]]:
    """Run a bridge with one subscribed symbol and a simulator that speaks only when told to."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS="AAPL,MSFT,NVDA,IBM,F,T")
        async with running(environ) as bridge:
            await simulator.subscribed("T")
            yield bridge, simulator


@asynccontextmanager
async def looking(bridge: Bridge, *, since_ms: int | None = None) -> AsyncIterator[ReadBack]:
    readback = ReadBack(bridge, Deserializer(schemas.load()), since_ms=since_ms)
    try:
        yield readback
    finally:
        await readback.close()


async def published(bridge: Bridge) -> None:
    await eventually(lambda: bridge.accounts.lines_received and not bridge.accounts.pending, "all is on Kafka")


async def test_totals_and_newest_records_are_those_of_kafka(bridge: tuple[Bridge, Simulator]) -> None:
    """A look finds every record of each topic, and the newest once each partition had its turn."""
    service, simulator = bridge
    symbols = ("AAPL", "MSFT", "NVDA", "IBM", "F", "T")
    for number, symbol in enumerate(symbols):
        await simulator.quote(symbol, bidPrice=f"{number + 1}.25")
    await eventually(lambda: service.accounts.lines_received >= simulator.sent.lines, "all is read")
    await published(service)
    async with looking(service) as readback:
        for _ in range(service.buffer.partitions(Topic.QUOTES)):
            await readback.try_look()
            assert readback.problem is None
        assert readback.newest[Topic.QUOTES].text == "T bid 6.25"
        assert readback.flows[Topic.QUOTES].total == service.accounts.published[Topic.QUOTES]
        assert readback.flows[Topic.CONTROL].total == service.accounts.announced
        assert readback.newest[Topic.CONTROL].text.startswith("SUBSCRIBED")
        assert readback.flows[Topic.DLQ].total == 0
        assert Topic.DLQ not in readback.newest
        assert Topic.GREEKS not in readback.flows  # nobody asked for them

        await simulator.send_line(b"{oops")
        await eventually(lambda: service.accounts.dead_lettered.total() == 1, "it is dead-lettered")
        await readback.try_look()
        assert readback.newest[Topic.DLQ].text.startswith("not_json")


async def test_on_a_kafka_with_a_past_only_what_is_new_counts(kafka: RealKafka, topic_prefix: str) -> None:
    """Records of earlier runs are not taken for this one's, wherever its first look comes."""
    for topic in Topic:
        kafka.create_topic(f"{topic_prefix}.{topic}", 2)
    async with Simulator() as simulator:
        environ = environment(simulator, kafka.bootstrap_servers, topic_prefix)
        async with running(environ):
            await simulator.subscribed("AAPL")
            await simulator.quote("AAPL", bidPrice="1")
        since_ms = wall_us() // 1000
        async with running(environ) as service:
            await simulator.connected(2)
            await simulator.subscribed("AAPL")
            await simulator.quote("AAPL", bidPrice="2")
            await eventually(lambda: service.accounts.lines_received and not service.accounts.pending, "all is there")
            async with looking(service, since_ms=since_ms) as readback:
                await readback.try_look()
                assert readback.problem is None
                assert readback.flows[Topic.QUOTES].total == service.accounts.published[Topic.QUOTES]
                assert readback.flows[Topic.CONTROL].total == service.accounts.announced
                assert readback.flows[Topic.DLQ].total == 0
                assert readback.newest[Topic.CONTROL].text.startswith("SUBSCRIBED")


async def test_what_others_wrote_is_shown_as_such(bridge: tuple[Bridge, Simulator], topic_prefix: str) -> None:
    """A value that is none of ours is no reason to stop looking."""
    service, _ = bridge
    servers = ",".join(service.settings.kafka_bootstrap_servers)
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer, looking(service) as readback:
        await producer.send_and_wait(f"{topic_prefix}.dlq", b"hello")
        await readback.try_look()
        assert readback.newest[Topic.DLQ].text.startswith("not decodable")
        assert readback.problem is None


async def test_a_kafka_that_is_gone_is_a_problem_to_be_shown(topic_prefix: str) -> None:
    """The look fails with a word, and works again when Kafka does."""
    with EmbeddedBroker() as own:
        own.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
        async with Simulator() as simulator:
            environ = environment(simulator, own.bootstrap_servers, topic_prefix, BRIDGE_DRAIN_SECONDS="0")
            async with running(environ) as service:
                await simulator.subscribed("AAPL")
                await published(service)
    async with looking(service) as readback:
        await readback.try_look()
        assert readback.problem is not None


async def test_nothing_is_looked_at_before_the_bridge_knows_kafka() -> None:
    """Until then there are no partitions, and that is no problem."""
    environ = {"ARIES_ACCESS_TOKEN": "x", "ARIES_SYMBOLS": "A", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    async with looking(Bridge(settings.load(environ))) as readback:
        await readback.try_look()
        assert readback.problem is None
        assert not readback.flows


def test_a_rate_is_a_mean_of_the_last_seconds() -> None:
    """What was long ago does not count, so a flow that ended has no rate; one count alone is none."""
    flow = Flow()
    assert flow.per_second(9) == 0
    flow.note(1000, now=10)
    assert flow.per_second(10) == 0
    flow.note(1100, now=11)
    assert flow.per_second(11) == flow.per_second(12) == 100
    flow.note(1100, now=12)
    assert flow.per_second(12) == 50
    assert flow.per_second(10.5 + RATE_OVER_SECONDS) == 0
    assert flow.per_second(20) == 0
    assert flow.total == 1100
