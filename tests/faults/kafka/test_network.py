"""A faulty network between the bridge and a healthy broker."""

from __future__ import annotations

import logging
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import structlog

from bridge.kafka import client_options
from bridge.simulator.server import Simulator
from bridge.verify.topic_reader import Selection
from bridge.verify.violations import ViolationKind
from tests.faults.kafka.load import GIVEN_UP, NOT_USABLE, PATIENT, create_topics, under_load
from tests.faults.proof import nothing_lost, prove, verified
from tests.faults.proxy import Direction, Proxy
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.faults.kafka.load import Load
    from tests.support.brokers import RealKafka


@pytest.fixture
def prefix(kafka: RealKafka, topic_prefix: str) -> str:
    """Return a prefix whose topics exist."""
    create_topics(kafka, topic_prefix)
    return topic_prefix


@asynccontextmanager
async def under_load_through_a_proxy(
    kafka: RealKafka, prefix: str, settings: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Load, Proxy]]:
    behind, port = kafka.proxied()
    async with Proxy(behind, port=port) as network:
        async with under_load(kafka, prefix, settings, servers=f"localhost:{port}") as load:
            yield load, network


async def connected_anew(network: Proxy, accepted: int) -> None:
    await eventually(lambda: network.accepted > accepted, "a new connection")


@pytest.mark.parametrize("direction", Direction)
async def test_a_black_hole_causes_a_producer_replacement(kafka: RealKafka, prefix: str, direction: Direction) -> None:
    """Bytes are swallowed with all sockets open; those that arrive late do no harm."""
    async with under_load_through_a_proxy(kafka, prefix) as (load, network):
        network.black_hole(direction)
        await load.gives_up()
        assert "no acknowledgement within 1 s" in load.logged(GIVEN_UP)[0]["reason"]
        network.heal()
        await load.flows()

    report = await load.proof()
    strict = await verified(kafka.bootstrap_servers, prefix, Selection(strict=True))
    repeated = any(row.repeats for row in report.rows)
    assert {violation.kind for violation in strict.violations} == ({ViolationKind.REPEAT} if repeated else set())


async def test_a_slow_network_causes_no_producer_replacement(kafka: RealKafka, prefix: str) -> None:
    """Acknowledgements are late, batches grow, and the producer is kept."""
    async with under_load_through_a_proxy(kafka, prefix) as (load, network):
        network.slow(chunk_bytes=65_536, pause_seconds=0.2)
        await load.flows(2_000)
        network.heal()
        await load.flows()

    await load.proof()
    assert load.bridge.publisher.state.rebuilds == 0


async def test_connections_that_are_reset_repeatedly(kafka: RealKafka, prefix: str) -> None:
    """All connections are cut every few hundred milliseconds: the same producer continues, without a repeat."""
    async with under_load_through_a_proxy(kafka, prefix, PATIENT) as (load, network):
        for turn in range(12):
            accepted = network.accepted
            network.cut(reset=bool(turn % 2))
            await connected_anew(network, accepted)
            await load.flows(100)

    report = await load.proof()

    assert load.bridge.publisher.state.rebuilds == 0
    assert sum(row.repeats for row in report.rows) == 0


async def test_answers_cut_in_the_middle(kafka: RealKafka, prefix: str) -> None:
    """If a connection ends within a response, a batch may have been appended; it is not appended twice."""
    async with under_load_through_a_proxy(kafka, prefix, PATIENT) as (load, network):
        for after_bytes in range(1, 60, 7):
            accepted = network.accepted
            network.cut(after_bytes=after_bytes)
            await connected_anew(network, accepted)
            await load.flows(50)

    report = await load.proof()
    assert sum(row.repeats for row in report.rows) == 0


async def test_kafka_that_starts_after_the_bridge(kafka: RealKafka, prefix: str) -> None:
    """Attempts are logged, and continue until one succeeds; a host name without an address does not matter."""
    behind, port = kafka.proxied()
    servers = f"no-such-host.invalid:9092,localhost:{port}"
    async with AsyncExitStack() as later:
        async with under_load(kafka, prefix, servers=servers, flowing=False) as load:
            await eventually(lambda: len(load.logged(NOT_USABLE)) >= 2, "attempts to reach Kafka")
            await later.enter_async_context(Proxy(behind, port=port))
            await load.flows()

    await load.proof()
    assert all(servers in line["reason"] for line in load.logged(NOT_USABLE))


async def test_a_connection_is_closed_before_the_network_forgets_it(
    kafka: RealKafka, prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first record after a quiet time is acknowledged through a new connection, and nothing warns of it."""
    monkeypatch.setattr(client_options, "MAX_IDLE_SECONDS", 0.5)
    behind, port = kafka.proxied()
    async with Proxy(behind, port=port) as network, Simulator() as simulator:
        network.forget_idle(1.5)
        with structlog.testing.capture_logs() as logs:
            async with running(environment(simulator, f"localhost:{port}", prefix)) as bridge:
                await simulator.subscribed("AAPL", "MSFT")
                for number in range(3):
                    await simulator.quote("AAPL", bidPrice=str(number))
                    await eventually(lambda: bridge.accounts.lines_received == simulator.sent.lines, "all is read")
                    await eventually(lambda: bridge.accounts.pending == 0, "all is acknowledged")
                    await eventually(lambda: time.monotonic() - network.carried_at > 2, "a quiet time")
                accepted = network.accepted

    nothing_lost(bridge, simulator)
    assert accepted >= 3
    assert network.swallowed == 0
    assert [line for line in logs if line["log_level"] not in {"debug", "info"}] == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    await prove(kafka.bootstrap_servers, prefix, bridge)
