"""Probes tell the truth through start and outages: alive all the while, ready only while data can flow."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from bridge import settings
from bridge.app import Bridge, Service
from bridge.errors import RecordsUndelivered
from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.observability.health import ACK_OVERDUE_SECONDS, liveness, readiness
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.observability.http_client import client
from tests.support.service import environment, eventually, serving

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka


@pytest.fixture
def nobody() -> str:
    """Return an address at which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        return f"127.0.0.1:{unused.getsockname()[1]}"


def opened(**environ: str) -> Bridge:
    """Return a bridge that was not started, with a queue for quotes and one record in it."""
    bridge = Bridge(
        settings.load({"ARIES_ACCESS_TOKEN": "t", "ARIES_SYMBOLS": "A", "KAFKA_BOOTSTRAP_SERVERS": "k:1", **environ})
    )
    bridge.buffer.open({Topic.QUOTES: 1, Topic.TRADES: 1})
    bridge.buffer.add(bridge.buffer.queue_for(Topic.QUOTES, b"A"), (0, b"A", b"x", None))
    return bridge


def test_a_publisher_that_stands_still_while_records_wait_is_stuck() -> None:
    """Twice the delivery timeout and a minute without a move is more than any outage explains."""
    bridge = opened(KAFKA_DELIVERY_TIMEOUT_SECONDS="120")
    bridge.publisher.state.active_at = 1000.0
    for now, alive in ((1000.0, True), (1300.0, True), (1300.5, False)):
        assert [check.ok for check in liveness(bridge, now)] == [True, alive]
    assert "stuck" in liveness(bridge, 1301.0)[1].detail
    bridge.buffer.give_up()
    assert all(check.ok for check in liveness(bridge, 1e9))  # nothing to do is no fault


async def test_kafka_is_ready_while_it_acknowledges() -> None:
    """Connected is not enough: neither before the first acknowledgement nor while one is overdue."""
    bridge = opened()
    assert "not reached yet" in readiness(bridge, 0)[-1].detail
    bridge.publisher.state.connected = True
    assert not readiness(bridge, 0)[-1].ok
    bridge.publisher.state.acking = True
    assert readiness(bridge, 0)[-1].detail == "cannot be written just now: aries.quotes"  # no producer knows it
    (queue,) = bridge.buffer.take_ready()
    bridge.buffer.start_batch(queue, 1, now=100.0)
    assert readiness(bridge, 100.0 + ACK_OVERDUE_SECONDS)[-1].ok
    late = readiness(bridge, 105.0 + ACK_OVERDUE_SECONDS)[-1]
    assert (late.ok, late.detail) == (False, "no acknowledgement for 15 s")


async def test_probes_answer_before_kafka_is_reached(nobody: str, topic_prefix: str) -> None:
    """A bridge that waits for Kafka is alive and not ready, and says for what it waits."""
    async with Simulator() as simulator:
        async with serving(environment(simulator, nobody, topic_prefix)) as service, client(service) as http:
            bridge = service.bridge
            await eventually(lambda: bridge.publisher.state.last_error, "a first attempt")
            checks = await http.becomes(503)
            assert not any(check["ok"] for check in checks.values())
            assert checks["authenticated"]["detail"] == "starting"
            assert "KAFKA_BOOTSTRAP_SERVERS" in checks["kafka"]["detail"]
            assert (await http.get("/livez")).document == {
                "alive": True,
                "checks": {
                    "event_loop": {"ok": True, "detail": "turns"},
                    "publisher": {"ok": True, "detail": "nothing to do"},
                },
            }


@pytest.mark.usefixtures("topics")
async def test_an_outage_of_aries_shows_in_readiness_alone(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The feed's server comes, goes and comes back: ready meanwhile, else not, with the cause, and never dead."""
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
async def test_refused_symbols_are_told_and_all_of_them_are_no_subscription(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """One symbol of two is still worth running for; none of two is not."""
    async with Simulator(symbols=["AAPL"]) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            checks = await http.becomes(200)
            assert checks["subscribed"]["detail"] == "1 symbols, 1 refused"
        environ["ARIES_SYMBOLS"] = "XYZ,ABC"
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            await eventually(lambda: bridge.client.state == "streaming", "all requests are answered")
            checks = await http.becomes(503)
            assert checks["subscribed"] == {"ok": False, "detail": "0 symbols, 2 refused"}


async def test_an_outage_of_kafka_shows_in_readiness_alone(topic_prefix: str) -> None:
    """A broker that is gone makes the bridge not ready while it reads on; it stays alive through all rebuilds."""
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


async def test_readiness_comes_back_with_kafka(kafka: RealKafka, topic_prefix: str) -> None:
    """A broker that hangs and goes on: not ready meanwhile, ready with the first acknowledgement."""
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
    """While it stops it still answers: no new data will come through it, and a restart would help nobody."""
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
