"""Liveness holds through start and outages; readiness holds only while data can flow."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from bridge import settings
from bridge.app import Bridge, Service
from bridge.errors import RecordsUndelivered
from bridge.kafka import metadata_watchdog
from bridge.kafka.delivery_state import ACK_OVERDUE_SECONDS
from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.observability.health import liveness, readiness
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.observability.http_client import client
from tests.support.service import environment, eventually, serving

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka
    from tests.support.scripted_broker import ScriptedBroker


def opened(**environ: str) -> Bridge:
    """Return a bridge that was not started, with a queue for quotes and one record in it."""
    bridge = Bridge(
        settings.load({"ARIES_ACCESS_TOKEN": "t", "ARIES_SYMBOLS": "A", "KAFKA_BOOTSTRAP_SERVERS": "k:1", **environ})
    )
    bridge.buffer.open({Topic.QUOTES: 1, Topic.TRADES: 1})
    bridge.buffer.add(bridge.buffer.queue_for(Topic.QUOTES, b"A"), (0, b"A", b"x", None))
    return bridge


def test_a_publisher_without_activity_while_records_wait_is_stuck() -> None:
    """Twice the delivery timeout plus a minute without activity is longer than any outage explains."""
    bridge = opened(KAFKA_DELIVERY_TIMEOUT_SECONDS="120")
    bridge.publisher.state.active_at = 1000.0
    for now, alive in ((1000.0, True), (1300.0, True), (1300.5, False)):
        assert [check.ok for check in liveness(bridge, now)] == [True, alive]
    assert "stuck" in liveness(bridge, 1301.0)[1].detail
    bridge.buffer.give_up()
    assert all(check.ok for check in liveness(bridge, 1e9))  # idle is no failure


async def test_kafka_is_ready_while_it_acknowledges() -> None:
    """A connection is not enough: not before the first acknowledgement, and not while one is overdue."""
    bridge = opened()
    assert "connecting" in readiness(bridge, 0)[-1].detail
    bridge.publisher.state.connected = True
    assert not readiness(bridge, 0)[-1].ok
    bridge.publisher.state.acking = True
    assert readiness(bridge, 0)[-1].detail == "topics not writable: aries.quotes"  # no producer has its metadata
    (queue,) = bridge.buffer.take_ready()
    bridge.buffer.start_batch(queue, 1, now=100.0)
    assert readiness(bridge, 100.0 + ACK_OVERDUE_SECONDS)[-1].ok
    late = readiness(bridge, 105.0 + ACK_OVERDUE_SECONDS)[-1]
    assert (late.ok, late.detail) == (False, "no acknowledgement for 15 s")


async def test_probes_answer_before_kafka_is_reached(unused_address: str, topic_prefix: str) -> None:
    """A bridge that waits for Kafka is alive and not ready, and says what it waits for."""
    async with Simulator() as simulator:
        async with serving(environment(simulator, unused_address, topic_prefix)) as service, client(service) as http:
            bridge = service.bridge
            await eventually(lambda: bridge.publisher.state.last_error, "a first attempt")
            checks = await http.becomes(503)
            assert not any(check["ok"] for check in checks.values())
            assert checks["authenticated"]["detail"] == "starting"
            assert "KAFKA_BOOTSTRAP_SERVERS" in checks["kafka"]["detail"]
            assert (await http.get("/livez")).document == {
                "alive": True,
                "checks": {
                    "event_loop": {"ok": True, "detail": "running"},
                    "publisher": {"ok": True, "detail": "idle"},
                },
            }


@pytest.mark.usefixtures("topics")
async def test_an_outage_of_aries_shows_in_readiness_alone(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """While the server is away the bridge is not ready, with the cause, and always alive."""
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
    port = urlsplit(environ["ARIES_WS_URL"]).port
    assert port is not None
    async with serving(environ) as service, client(service) as http:
        bridge = service.bridge
        await eventually(lambda: bridge.client.reconnects, "an attempt in vain")
        checks = await http.becomes(503)
        assert "network" in checks["authenticated"]["detail"]
        for _ in range(2):
            async with Simulator(port=port):
                checks = await http.becomes(200)
                assert checks["subscribed"] == {"ok": True, "detail": "2 symbols"}
            checks = await http.becomes(503)
            assert {name: check["ok"] for name, check in checks.items()} == {
                "authenticated": False,
                "subscribed": False,
                "kafka": True,
            }


@pytest.mark.usefixtures("topics")
async def test_rejected_symbols_are_counted_and_readiness_needs_one_that_is_not(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """One of two symbols is enough to be ready; none of two is not."""
    async with Simulator(symbols=["AAPL"]) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            await eventually(lambda: bridge.client.state == "streaming", "all requests are answered")
            checks = await http.becomes(200)
            assert checks["subscribed"]["detail"] == "1 symbols, 1 rejected"
        environ["ARIES_SYMBOLS"] = "XYZ,ABC"
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            await eventually(lambda: bridge.client.state == "streaming", "all requests are answered")
            checks = await http.becomes(503)
            assert checks["subscribed"] == {"ok": False, "detail": "0 symbols, 2 rejected"}


async def test_an_outage_of_kafka_shows_in_readiness_alone(topic_prefix: str) -> None:
    """Without a broker the bridge is not ready, continues to read, and stays alive through all rebuilds."""
    gone = EmbeddedBroker().start()
    gone.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator(rate=200) as simulator:
        environ = environment(
            simulator,
            gone.bootstrap_servers,
            topic_prefix,
            KAFKA_DELIVERY_TIMEOUT_SECONDS="0.5",
            BRIDGE_DRAIN_SECONDS="0.1",
        )
        with suppress(RecordsUndelivered):
            async with serving(environ) as service, client(service) as http:
                bridge = service.bridge
                await http.becomes(200)
                gone.close()
                checks = await http.becomes(503)
                assert checks["authenticated"]["ok"]
                assert checks["subscribed"]["ok"]
                await eventually(lambda: bridge.publisher.state.rebuilds, "the producer is given up")
                assert (await http.becomes(503))["kafka"]["detail"].startswith("not connected: ")
                moved_at = bridge.publisher.state.active_at
                await eventually(lambda: bridge.publisher.state.active_at > moved_at, "another attempt")


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask brokers more often than every few seconds."""
    monkeypatch.setattr(metadata_watchdog, "METADATA_CHECK_SECONDS", 0.02)
    monkeypatch.setattr(metadata_watchdog, "ASK_AFTER_SECONDS", 0.1)


@pytest.mark.usefixtures("attentive")
async def test_an_outage_of_kafka_shows_without_a_feed(
    scripted_broker: ScriptedBroker, unused_address: str, topic_prefix: str
) -> None:
    """With nothing to send, status and metrics tell the loss, why, since when, and the recovery."""
    scripted_broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator() as simulator:
        environ = environment(
            simulator, scripted_broker.bootstrap_servers, topic_prefix, ARIES_WS_URL=f"ws://{unused_address}/"
        )
    with capture_logs() as logs:
        async with serving(environ) as service, client(service) as http:
            before = await http.comes("/status", lambda answer: answer.document["kafka"]["connected"], "connected")
            with scripted_broker.add_rule(disconnect="before"):
                lost = await http.comes("/status", lambda answer: not answer.document["kafka"]["connected"], "lost")
                metrics = (await http.get("/metrics")).text
                checks = await http.becomes(503)
            await http.comes("/status", lambda answer: answer.document["kafka"]["connected"], "connected again")
    kafka = lost.document["kafka"]
    assert kafka["acking"] is False
    assert kafka["last_error"]
    assert kafka["connected_since"] > before.document["kafka"]["connected_since"]
    assert checks["kafka"]["detail"].startswith("not connected: ")
    assert "\naries_bridge_kafka_connected 0.0\n" in metrics
    told = [line for line in logs if line["event"].startswith("Kafka connection")]
    assert [line["event"] for line in told] == ["Kafka connection lost", "Kafka connection restored"]
    assert scripted_broker.addresses[0] in told[0]["reason"]


async def test_missing_topics_show_in_readiness_alone(scripted_broker: ScriptedBroker, topic_prefix: str) -> None:
    """A bridge that waits for topics is alive, answers, and names them; it is ready soon after they are created."""
    names = [f"{topic_prefix}.{topic}" for topic in Topic]
    scripted_broker.create_topics(names[1:])
    async with Simulator() as simulator:
        async with (
            serving(environment(simulator, scripted_broker.bootstrap_servers, topic_prefix)) as service,
            client(service) as http,
        ):
            waiting = await http.comes("/status", lambda answer: answer.document["kafka"]["missing_topics"], "waiting")
            assert waiting.document["kafka"]["missing_topics"] == names[:1]
            assert waiting.document["phase"] == "starting"
            detail = (await http.becomes(503))["kafka"]["detail"]
            assert detail.startswith(f"waiting for topics: {names[0]} (")
            assert "\naries_bridge_kafka_topics_missing 1.0\n" in (await http.get("/metrics")).text
            assert not simulator.received_counts
            scripted_broker.create_topic(names[0])
            await http.becomes(200)
            assert "\naries_bridge_kafka_topics_missing 0.0\n" in (await http.get("/metrics")).text


async def test_readiness_comes_back_with_kafka(kafka: RealKafka, topic_prefix: str) -> None:
    """Not ready while the broker hangs, ready with the first acknowledgement after that."""
    for topic in Topic:
        kafka.create_topic(f"{topic_prefix}.{topic}", partitions=1)
    async with Simulator(rate=200) as simulator:
        environ = environment(
            simulator,
            kafka.bootstrap_servers,
            topic_prefix,
            KAFKA_DELIVERY_TIMEOUT_SECONDS="1",
            BRIDGE_DRAIN_SECONDS="60",
        )
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            await http.becomes(200)
            kafka.pause()
            try:
                assert not (await http.becomes(503))["kafka"]["ok"]
            finally:
                kafka.resume()
            await http.becomes(200)
            assert bridge.publisher.state.rebuilds


async def test_a_bridge_that_drains_is_alive_and_not_ready(topic_prefix: str) -> None:
    """During the drain it still answers: no new data flows, and a restart would not help."""
    gone = EmbeddedBroker().start()
    gone.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    stop = asyncio.Event()
    async with Simulator() as simulator:
        environ = environment(simulator, gone.bootstrap_servers, topic_prefix, BRIDGE_DRAIN_SECONDS="2")
        service = Service(settings.load(environ))
        bridge = service.bridge
        task = asyncio.create_task(service.run(stop))
        async with client(service) as http:
            await http.becomes(200)
            gone.close()
            await simulator.quote("AAPL", bidPrice="1")
            await eventually(lambda: bridge.accounts.pending, "a record that cannot be delivered")
            stop.set()
            status = await http.comes("/status", lambda answer: answer.document["phase"] == "draining", "draining")
            assert status.document["state"] == "draining"
            checks = await http.becomes(503)
            assert checks["authenticated"] == {"ok": False, "detail": "draining"}
            with pytest.raises(RecordsUndelivered):
                await task
            assert service.http.url is None
