"""A bridge begins only when other bridges of the same symbols have ended."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from confluent_kafka import Producer

from bridge import log_events
from bridge.kafka import shard_handover
from bridge.kafka.shard_handover import (
    ANSWER_SECONDS,
    SILENCE_SECONDS,
    BridgesWithShards,
    ListeningTime,
    OtherShards,
    await_other_shards,
)
from bridge.pipeline.control_events import ControlKind
from bridge.settings import load
from bridge.simulator.server import Simulator
from bridge.topics import MARKET_DATA, Topic
from tests.faults.kafka.test_topics_change import make, may_write
from tests.observability.http_client import client
from tests.support.brokers import LOGIN, Listener
from tests.support.service import by_symbol, environment, eventually, publishing, read, running, serving

if TYPE_CHECKING:
    from bridge.app import Bridge
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka

SYMBOLS = "AAPL,AMZN,GOOG,META,MSFT,NVDA,TSLA"


def control(
    kind: str = "HEARTBEAT",
    instance: str = "old-0",
    group: str | None = "g",
    shards: int = 2,
    session_id: int | None = 1,
) -> dict[str, Any]:
    return {"kind": kind, "instance": instance, "group": group, "shards": shards, "session_id": session_id}


# -- who is alive -----------------------------------------------------------------------------------------------------


def test_a_bridge_of_another_number_is_alive_until_it_announces_its_end() -> None:
    """Each bridge counts for itself, and a session after the end counts again."""
    others = OtherShards("g", 3)
    others.note(control(), 0)
    others.note(control(instance="old-1"), 0)
    others.note(control("SESSION_COMPLETED"), 1)
    assert others.alive(1) == ["old-1"]
    others.note(control("SESSION_STARTED"), 2)
    assert others.alive(2) == ["old-0", "old-1"]


def test_a_bridge_that_was_killed_is_alive_for_three_heartbeats() -> None:
    """Without an end, silence decides."""
    others = OtherShards("g", 3)
    others.note(control(), 100)
    assert others.alive(100 + SILENCE_SECONDS - 1) == ["old-0"]
    assert others.alive(100 + SILENCE_SECONDS) == []


@pytest.mark.parametrize("record", [control(group="other"), control(group=None), control(shards=3)])
def test_other_groups_and_own_shards_do_not_matter(record: dict[str, Any]) -> None:
    """A second release, a bridge without group, and the shards beside this one are not waited for."""
    others = OtherShards("g", 3)
    others.note(record, 0)
    assert others.alive(0) == []


# -- beside a group ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [2, 3])
def test_a_bridge_with_a_shard_of_its_own_is_alive_until_it_announces_its_end(shards: int) -> None:
    """Whatever the number of its shards, and as long as it is not silent."""
    others = BridgesWithShards("g", list, without_group="aries")
    others.note(control(shards=shards), 0)
    others.note(control(shards=shards, instance="old-1"), 0)
    others.note(control("SESSION_COMPLETED", shards=shards), 1)
    assert others.alive(1) == ["old-1"]
    assert others.alive(SILENCE_SECONDS) == []


def test_processes_of_the_group_are_not_waited_for() -> None:
    """Their sessions are in the marks; another session of the same name is of a bridge with a shard of its own."""
    marked = {7}
    others = BridgesWithShards("g", lambda: marked, without_group="aries")
    others.note(control(session_id=7), 0)
    assert others.alive(0) == []
    others.note(control(session_id=8), 0)
    assert others.alive(0) == ["old-0"]
    marked.add(8)
    assert others.alive(0) == []


def test_nobody_is_waited_for_once_another_process_claims_shards() -> None:
    """It has waited itself; who was killed before that is still heard by one that looks back."""
    claiming: list[str] = []
    others = BridgesWithShards("g", list, lambda: bool(claiming), without_group="aries")
    others.note(control(), 0)
    assert others.alive(0) == ["old-0"]
    claiming.append("a")
    assert others.alive(0) == []


@pytest.mark.parametrize(
    ("group", "named", "alive"),
    [
        ("g", "g", ["old-0"]),
        ("other", "g", []),
        (None, "g", []),
        (None, "aries", ["old-0"]),
        ("aries", "aries", ["old-0"]),
    ],
)
def test_bridges_without_a_group_have_that_of_their_topics(group: str | None, named: str, alive: list[str]) -> None:
    """As a group has if it is not named; others have other symbols."""
    others = BridgesWithShards(named, list, without_group="aries")
    others.note(control(group=group), 0)
    assert others.alive(0) == alive


def test_a_bridge_without_a_session_publishes_nothing() -> None:
    """What it says before its first session does not count."""
    others = BridgesWithShards("g", list, without_group="aries")
    others.note(control("OVERLOAD", session_id=None), 0)
    assert others.alive(0) == []


def test_nobody_is_silent_because_kafka_is_away() -> None:
    """Of the time between two answers only as much counts as an answer may take."""
    times = iter([100.0, 100.5, 100.5 + SILENCE_SECONDS, 101.0 + SILENCE_SECONDS])
    listening = ListeningTime(lambda: next(times))
    assert [listening.now() for _ in range(3)] == [0.5, 0.5 + ANSWER_SECONDS, 1.0 + ANSWER_SECONDS]


# -- with bridges and brokers -----------------------------------------------------------------------------------------


def shard(simulator: Simulator, servers: str, prefix: str, number: int, count: int) -> dict[str, str]:
    """Return the environment of one shard."""
    return environment(
        simulator,
        servers,
        prefix,
        ARIES_SYMBOLS=SYMBOLS,
        BRIDGE_GROUP="market/bridge",
        BRIDGE_INSTANCE=f"bridge-of-{count}-{number}",
        BRIDGE_SHARDS=str(count),
        BRIDGE_SHARD=str(number),
    )


async def published(bridge: Bridge, records: int) -> None:
    """Wait until a bridge has published so many more records."""
    wanted = bridge.accounts.published.total() + records
    await eventually(lambda: bridge.accounts.published.total() >= wanted, f"{records} records more", 60)


async def resize(servers: str, prefix: str) -> None:
    """Replace two shards by the third of three while data flows; the new one is started first."""
    async with Simulator(rate=400) as simulator, AsyncExitStack() as new_shard:
        async with AsyncExitStack() as second_shard:
            async with AsyncExitStack() as first_shard:
                first = await first_shard.enter_async_context(running(shard(simulator, servers, prefix, 0, 2)))
                second = await second_shard.enter_async_context(running(shard(simulator, servers, prefix, 1, 2)))
                await published(first, 50)
                await published(second, 50)
                new = await new_shard.enter_async_context(running(shard(simulator, servers, prefix, 2, 3)))
                await published(first, 200)
            await published(second, 200)
            assert new.client.state == "starting"
        await published(new, 50)
        assert list(new.waiting_for) == []


async def check_order(servers: str, prefix: str) -> None:
    """Read all records: no symbol goes back to a session that was replaced, and some have moved."""
    found = [one for one in await read(servers, prefix) if one.topic in MARKET_DATA and one.key in SYMBOLS.split(",")]
    sessions = [[record["session_id"] for record in records] for records in by_symbol(found).values()]
    assert all(ids == sorted(ids) for ids in sessions)
    assert any(len(set(ids)) > 1 for ids in sessions)


@pytest.mark.usefixtures("topics")
async def test_no_symbol_has_two_shards_at_once(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """A new shard opens its session when the last old one has ended, and not before."""
    await resize(broker.bootstrap_servers, topic_prefix)
    await check_order(broker.bootstrap_servers, topic_prefix)


async def test_no_symbol_has_two_shards_at_once_on_kafka(kafka: RealKafka, topic_prefix: str) -> None:
    """The same on Apache Kafka, where the control topic is read from a minute ago."""
    for topic in Topic:
        kafka.create_topic(f"{topic_prefix}.{topic}")
    await resize(kafka.bootstrap_servers, topic_prefix)
    await check_order(kafka.bootstrap_servers, topic_prefix)


@pytest.mark.usefixtures("topics")
async def test_a_killed_shard_is_waited_for_until_it_is_silent(
    broker: EmbeddedBroker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bridge that announced no end is waited for, then the start continues; the log names it."""
    monkeypatch.setattr(shard_handover, "SILENCE_SECONDS", 0.5)
    async with Simulator(rate=400) as simulator:
        old, new = (shard(simulator, broker.bootstrap_servers, topic_prefix, 0, count) for count in (2, 3))
        async with publishing(broker.bootstrap_servers, topic_prefix, **old) as killed:
            killed.control.start_session(1)
            killed.control.announce(ControlKind.HEARTBEAT)
            await killed.publisher.drained()
        with structlog.testing.capture_logs() as logs:
            await await_other_shards(load(new))
    assert [line["event"] for line in logs] == [log_events.OTHER_BRIDGES_ALIVE, log_events.OTHER_BRIDGES_ENDED]
    assert logs[0]["instances"] == ["bridge-of-2-0"]


@pytest.mark.usefixtures("topics")
async def test_a_bridge_that_waits_can_be_stopped(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """It answers probes while it waits, opens no session, and ends when it is told to."""
    async with Simulator(rate=400) as simulator:
        old, new = (shard(simulator, broker.bootstrap_servers, topic_prefix, 0, count) for count in (2, 3))
        async with running(old) as bridge:
            await published(bridge, 50)
            with structlog.testing.capture_logs() as logs:
                async with serving(new) as service, client(service) as http:
                    await eventually(
                        lambda: log_events.OTHER_BRIDGES_ALIVE in [line["event"] for line in logs], "waits"
                    )
                    assert (await http.get("/livez")).status == 200
                    assert (await http.get("/readyz")).status == 503
                    assert (await http.get("/status")).document["waiting_for"] == ["bridge-of-2-0"]
            assert service.bridge.client.state == "starting"


async def test_a_control_topic_that_cannot_be_read_does_not_stop_the_start(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """The log says why other bridges are not seen."""
    async with Simulator() as simulator:
        with structlog.testing.capture_logs() as logs:
            await await_other_shards(load(shard(simulator, broker.bootstrap_servers, topic_prefix, 0, 2)))
    assert [line["event"] for line in logs] == [log_events.OTHER_BRIDGES_UNKNOWN]
    assert f"{topic_prefix}.control" in logs[0]["reason"]


@pytest.mark.usefixtures("topics")
async def test_records_that_cannot_be_decoded_are_logged_once(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Another version of the bridge may write other schemas: who wrote them is not known."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for _ in range(3):
        producer.produce(f"{topic_prefix}.control", b"\xc3\x01another schema")
    await asyncio.to_thread(producer.flush, 30)
    async with Simulator() as simulator:
        with structlog.testing.capture_logs() as logs:
            await await_other_shards(load(shard(simulator, broker.bootstrap_servers, topic_prefix, 0, 2)))
    assert [line["event"] for line in logs] == [log_events.OTHER_BRIDGES_UNKNOWN]


async def test_a_user_without_the_right_to_read_is_told(kafka_with_acls: RealKafka, topic_prefix: str) -> None:
    """The start goes on, and the log has the right that is missing."""
    kafka_with_acls.create_topic(f"{topic_prefix}.control", partitions=1)
    await asyncio.to_thread(make, kafka_with_acls, may_write(topic_prefix))
    servers = kafka_with_acls.addresses(Listener.SASL)
    async with Simulator() as simulator, asyncio.timeout(60):
        producer = Producer({"bootstrap.servers": kafka_with_acls.bootstrap_servers})
        producer.produce(f"{topic_prefix}.control", b"something to read")
        await asyncio.to_thread(producer.flush, 30)
        settings = load({**shard(simulator, servers, topic_prefix, 0, 2), **LOGIN})
        with structlog.testing.capture_logs() as logs:
            await await_other_shards(settings)
    assert [line["event"] for line in logs] == [log_events.OTHER_BRIDGES_UNKNOWN]
    assert "grant Read on it" in logs[0]["reason"]
