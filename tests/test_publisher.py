"""Delivery to a real Kafka through broker failure: order kept, nothing lost, repeats only where explained."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.service import by_symbol, environment, eventually, read, running

if TYPE_CHECKING:
    from bridge.app import Bridge
    from tests.brokers import RealKafka

DATA = (Topic.QUOTES, Topic.TRADES, Topic.TIMESALES, Topic.L2)


@pytest.fixture
def prefix(kafka: RealKafka, topic_prefix: str) -> str:
    """Return a prefix whose topics exist."""
    for topic in Topic:
        kafka.create_topic(f"{topic_prefix}.{topic}", partitions=4)
    return topic_prefix


async def published(bridge: Bridge, more: int) -> None:
    """Wait until so many more records are acknowledged."""
    target = bridge.accounts.published.total() + more
    await eventually(lambda: bridge.accounts.published.total() >= target, f"{more} more records")


def without_repeats(records: list[dict[str, Any]]) -> list[int]:
    """Return the seqs of one symbol, each batch that was sent again removed: only what is new may remain."""
    seqs: list[int] = []
    for record in records:
        if not seqs or record["seq"] > seqs[-1]:
            seqs.append(record["seq"])
        else:
            assert record["seq"] in seqs, "a record overtook an older one"
    return seqs


async def check(kafka: RealKafka, prefix: str, bridge: Bridge) -> int:
    """Assert order and completeness of all that was published; return the number of repeats."""
    assert bridge.accounts.balance == 0
    assert not bridge.accounts.undelivered
    found = await read(kafka.bootstrap_servers, prefix)
    repeats = 0
    for (topic, _), records in by_symbol(found).items():
        if topic in DATA:
            seqs = without_repeats(records)
            assert seqs == list(range(len(seqs)))
            repeats += len(records) - len(seqs)
    on_kafka = sum(one.topic not in (Topic.CONTROL, Topic.DLQ) for one in found)
    assert on_kafka - repeats == bridge.accounts.published.total()
    return repeats


async def test_records_survive_a_killed_broker_in_order(kafka: RealKafka, prefix: str) -> None:
    """A broker killed and restarted under load costs neither a record nor the order."""
    async with Simulator(rate=500, lines_per_frame=5) as simulator:
        environ = environment(simulator, kafka.bootstrap_servers, prefix, BRIDGE_DRAIN_SECONDS="60")
        async with running(environ) as bridge:
            await published(bridge, 300)
            await asyncio.to_thread(kafka.kill)
            read_so_far = bridge.accounts.lines_received
            await eventually(lambda: bridge.accounts.lines_received > read_so_far + 200, "the socket is read on")
            await asyncio.to_thread(kafka.restart)
            await published(bridge, 500)
    repeats = await check(kafka, prefix, bridge)
    assert repeats == 0 or bridge.publisher.rebuilds


async def test_a_producer_without_acknowledgements_is_replaced_and_nothing_is_lost(
    kafka: RealKafka, prefix: str
) -> None:
    """A broker that hangs longer than the delivery timeout costs the producer, not a record and not the order."""
    async with Simulator(rate=500, lines_per_frame=5) as simulator:
        environ = environment(
            simulator,
            kafka.bootstrap_servers,
            prefix,
            KAFKA_DELIVERY_TIMEOUT_SECONDS="1",
            BRIDGE_DRAIN_SECONDS="60",
        )
        async with running(environ) as bridge:
            await published(bridge, 300)
            await asyncio.to_thread(kafka.pause)
            await eventually(lambda: bridge.publisher.rebuilds, "the producer is given up")
            await asyncio.to_thread(kafka.resume)
            await published(bridge, 500)
    await check(kafka, prefix, bridge)


async def test_a_record_too_large_for_the_broker_is_dead_lettered_and_its_neighbours_are_not(
    kafka: RealKafka, topic_prefix: str
) -> None:
    """A broker with a lower limit refuses one book; it alone becomes a dead letter, with its size."""
    for topic in Topic:
        small = {"max.message.bytes": "20000"} if topic is Topic.L2 else {}
        kafka.create_topic(f"{topic_prefix}.{topic}", partitions=1, config=small)
    async with Simulator() as simulator:
        environ = environment(simulator, kafka.bootstrap_servers, topic_prefix, KAFKA_COMPRESSION="none")
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            for number in range(40):
                rows = [f"{row}:{number}.5:{row}" for row in range(3_000 if number == 20 else 5)]
                await simulator.level2("AAPL", orderBook=rows)
            await eventually(lambda: bridge.accounts.dead_lettered, "the dead letter")
            await eventually(lambda: bridge.accounts.pending == 0, "the neighbours")
        found = await read(kafka.bootstrap_servers, topic_prefix, Topic.L2, Topic.DLQ)
    books = by_symbol(found)[Topic.L2, "AAPL"]
    assert without_repeats(books) == [number for number in range(40) if number != 20]
    (letter,) = (one for one in found if one.topic is Topic.DLQ)
    assert (letter.key, letter.record["reason"]) == ("AAPL", "record_refused")
    assert "bytes" in letter.record["error"]
