"""``BRIDGE_LATEST``: a reader that comes late has the feed's state from the compacted topics alone."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from bridge.cli.topics import create_or_compare
from bridge.kafka.topic_specification import TopicOptions
from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.settings.kafka_side import kafka_settings
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import LatestTopic, Topic
from tests.faults.proof import verified
from tests.support.consumer import Message, read_all
from tests.support.service import by_symbol, environment, eventually, read, running

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.app import Bridge
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from bridge.simulator.server_dialect import DialectChoice
    from tests.support.brokers import RealKafka

LATEST = {"BRIDGE_LATEST": "true", "BRIDGE_LATEST_INTERVAL_MS": "20"}
DECODER = Deserializer(schemas.load())
COMMON = {"symbol", "feed_time", "ingest_time_us", "session_id", "seq", "after_gap", "cleared"}
CHANGES = {"bid_change", "bid_size_change", "ask_change", "ask_size_change"}


async def latest(bootstrap_servers: str, prefix: str, topic: LatestTopic) -> dict[str, dict[str, Any] | None]:
    """Return what a reader of the topic from its beginning has at its end: the newest record of each key."""
    messages: list[Message] = await asyncio.to_thread(read_all, bootstrap_servers, [f"{prefix}.{topic}"])
    newest = {message.key: message for message in sorted(messages, key=lambda one: one.offset)}
    return {
        (key or b"").decode(): None if one.value is None else (await DECODER.decode(one.value)).record
        for key, one in newest.items()
    }


def merged(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the state by the contract, from all records of a symbol on its own topic."""
    state: dict[str, Any] = {}
    for record in records:
        if record["after_gap"]:
            state = {}
        newer = {name: value for name, value in record.items() if value is not None and name not in CHANGES}
        state = {**state, **newer, **dict.fromkeys(record["cleared"])}
    return {name: value for name, value in state.items() if value is not None and name not in COMMON}


def values(record: dict[str, Any] | None) -> dict[str, Any]:
    assert record is not None
    return {name: value for name, value in record.items() if value is not None and name not in COMMON}


def create_topics(broker: EmbeddedBroker, prefix: str) -> None:
    broker.create_topics(f"{prefix}.{topic}" for topic in (*Topic, *LatestTopic))


async def until_read(bridge: Bridge, simulator: Simulator) -> None:
    await eventually(lambda: bridge.accounts.lines_received >= simulator.sent.lines, "all lines read")


@pytest.mark.parametrize("dialect", ["envelope", "action"])
async def test_a_late_reader_has_the_state_of_the_feed(
    broker: EmbeddedBroker, topic_prefix: str, dialect: DialectChoice
) -> None:
    """The newest record of each symbol equals what all records of its topic merge to, in both dialects."""
    create_topics(broker, topic_prefix)
    async with Simulator(dialect=dialect, lines_per_frame=3, seed=5) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, **LATEST)
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            await eventually(lambda: bridge.client.state == "streaming", "streaming")
            await simulator.emit(400)
            await simulator.quote("AAPL", bidPrice=None, bidSize=None)
            await until_read(bridge, simulator)
    assert bridge.accounts.balance == 0
    assert bridge.accounts.latest_published[LatestTopic.QUOTES]

    own = by_symbol(await read(broker.bootstrap_servers, topic_prefix))
    for topic, of in ((LatestTopic.QUOTES, Topic.QUOTES), (LatestTopic.TRADES, Topic.TRADES)):
        states = await latest(broker.bootstrap_servers, topic_prefix, topic)
        assert set(states) == {"AAPL", "MSFT"}
        for symbol, state in states.items():
            assert values(state) == merged(own[of, symbol])
            assert state is not None
            assert state["seq"] == own[of, symbol][-1]["seq"]
    aapl = (await latest(broker.bootstrap_servers, topic_prefix, LatestTopic.QUOTES))["AAPL"]
    assert aapl is not None
    assert {"bid_price", "bid_size"} <= set(aapl["cleared"])
    assert not aapl["after_gap"], "the feed sent every field"
    assert (await verified(broker.bootstrap_servers, topic_prefix)).violations == []


async def test_an_unsubscribed_symbol_is_removed(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> None:
    """When the subscriptions file no longer has a symbol, its key gets a tombstone on both topics."""
    create_topics(broker, topic_prefix)
    await removes_unsubscribed(broker.bootstrap_servers, topic_prefix, tmp_path)


async def test_an_unsubscribed_symbol_is_removed_from_apache_kafka(
    kafka: RealKafka, topic_prefix: str, tmp_path: Path
) -> None:
    """On topics that ``aries-bridge topics`` has created, compacted, a broker takes states and tombstones."""
    environ = {"KAFKA_TOPIC_PREFIX": topic_prefix, **LATEST}
    await create_or_compare(kafka_settings(kafka.bootstrap_servers, environ), TopicOptions(partitions=3))
    await removes_unsubscribed(kafka.bootstrap_servers, topic_prefix, tmp_path)


async def removes_unsubscribed(bootstrap_servers: str, prefix: str, directory: Path) -> None:
    listed = directory / "symbols.json"
    listed.write_text(json.dumps(["AAPL", "MSFT"]))
    async with Simulator(dialect="envelope", seed=5) as simulator:
        environ = environment(simulator, bootstrap_servers, prefix, **LATEST)
        del environ["ARIES_SYMBOLS"]
        async with running({**environ, "ARIES_SUBSCRIPTIONS_FILE": str(listed)}) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            await eventually(lambda: bridge.accounts.latest_published[LatestTopic.TRADES] >= 2, "states published")
            listed.write_text(json.dumps(["AAPL"]))
            await simulator.unsubscribed("MSFT")

    for topic in LatestTopic:
        states = await latest(bootstrap_servers, prefix, topic)
        assert states.keys() == {"AAPL", "MSFT"}
        assert states["MSFT"] is None
        assert states["AAPL"] is not None


async def test_after_a_reconnect_states_are_those_of_the_new_session(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The feed sends its state again, which replaces what the session before it left."""
    create_topics(broker, topic_prefix)
    async with Simulator(dialect="envelope", seed=5) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, **LATEST)
        async with running(environ) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            await eventually(lambda: bridge.accounts.latest_published[LatestTopic.QUOTES] >= 2, "states published")
            first = bridge.ingest.session_id
            await simulator.inject(faults.Drop())
            await simulator.connected(2)
            await simulator.subscribed("AAPL", "MSFT")
            await eventually(lambda: bridge.client.state == "streaming", "streaming again")
            await until_read(bridge, simulator)

    states = await latest(broker.bootstrap_servers, topic_prefix, LatestTopic.QUOTES)
    assert {symbol: state and state["session_id"] for symbol, state in states.items()} == dict.fromkeys(
        ("AAPL", "MSFT"), bridge.ingest.session_id
    )
    assert bridge.ingest.session_id > first


async def test_without_the_setting_nothing_is_kept(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """By default there are no such topics, and no states in memory."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator(dialect="envelope", seed=5) as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix)) as bridge:
            await simulator.subscribed("AAPL", "MSFT")
            await eventually(lambda: bridge.accounts.published[Topic.QUOTES], "a quote")
            assert bridge.ingest.latest is None
            assert {queue.topic for queue in bridge.buffer.queues()} <= set(Topic)
