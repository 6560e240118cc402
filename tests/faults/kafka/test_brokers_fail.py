"""Brokers that die, hang, stay away, or return at other addresses, while the bridge publishes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.faults.kafka.load import GIVEN_UP, NOT_USABLE, PATIENT, create_topics, under_load
from tests.faults.proxy import Proxy
from tests.support.service import eventually, publishing

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka


@pytest.fixture
def prefix(kafka: RealKafka, topic_prefix: str) -> str:
    """Return a prefix whose topics exist."""
    create_topics(kafka, topic_prefix)
    return topic_prefix


async def test_a_broker_that_returns_in_time_causes_no_repeat(kafka: RealKafka, prefix: str) -> None:
    """Within the delivery timeout the same producer continues, without repeats."""
    async with under_load(kafka, prefix, PATIENT) as load:
        await asyncio.to_thread(kafka.kill)
        await load.piles_up()
        await asyncio.to_thread(kafka.restart)
        await load.flows()

    report = await load.proof()

    assert load.bridge.publisher.state.rebuilds == 0
    assert sum(row.repeats for row in report.rows) == 0


@pytest.mark.parametrize("ends", ["killed", "paused"])
async def test_an_outage_is_told_although_nothing_is_sent(kafka: RealKafka, prefix: str, ends: str) -> None:
    """Brokers are asked from time to time: a loss and a recovery are one log line each, with reason and duration."""
    address = f"localhost:{kafka.port()}"
    with capture_logs() as logs:
        async with publishing(kafka.bootstrap_servers, prefix) as bridge:
            state = bridge.publisher.state
            await asyncio.to_thread(kafka.kill if ends == "killed" else kafka.pause)
            try:
                await eventually(lambda: not state.connected, "the loss is noticed", 60)
                reason = str(state.last_error)
            finally:
                await asyncio.to_thread(kafka.restart if ends == "killed" else kafka.resume)
            await eventually(lambda: state.connected, "the recovery is noticed", 60)
    assert address in reason if ends == "killed" else "no broker has answered within" in reason
    told = [line for line in logs if line["event"].startswith("Kafka connection")]
    assert [(line["event"], line["log_level"]) for line in told] == [
        ("Kafka connection lost", "warning"),
        ("Kafka connection restored", "info"),
    ]
    assert told[1]["seconds"] > 0


async def test_a_hanging_broker_causes_a_producer_replacement_only(kafka: RealKafka, prefix: str) -> None:
    """If a broker hangs longer than the delivery timeout, a new producer sends again what it may not have."""
    async with under_load(kafka, prefix) as load:
        await asyncio.to_thread(kafka.pause)
        await load.gives_up()
        await asyncio.to_thread(kafka.resume)
        await load.flows()

    await load.proof()

    (given_up,) = load.logged(GIVEN_UP)
    assert given_up["reason"] == "no acknowledgement within 1 s"


async def test_brokers_may_stay_away_for_many_delivery_timeouts(kafka: RealKafka, prefix: str) -> None:
    """However long the outage, one producer is replaced, attempts become rarer, and the backlog arrives."""
    async with under_load(kafka, prefix, {"KAFKA_DELIVERY_TIMEOUT_SECONDS": "0.5"}) as load:
        await asyncio.to_thread(kafka.kill)
        await eventually(lambda: len(load.logged(NOT_USABLE)) >= 3, "attempts to reach Kafka")
        assert len(load.logged(GIVEN_UP)) == 1
        assert "Check KAFKA_BOOTSTRAP_SERVERS" in load.logged(NOT_USABLE)[-1]["reason"]
        await asyncio.to_thread(kafka.restart)
        await load.flows()

    await load.proof()


async def test_a_cluster_that_comes_back_on_other_ports_is_found_again(kafka: RealKafka, prefix: str) -> None:
    """New brokers are found by the bootstrap address, long before the delivery timeout."""
    async with AsyncExitStack() as after, AsyncExitStack() as before:
        bootstrap = await before.enter_async_context(Proxy(kafka.port()))
        async with under_load(kafka, prefix, PATIENT, servers=f"localhost:{bootstrap.port}") as load:
            await asyncio.to_thread(kafka.kill)
            await before.aclose()
            kafka.move()
            await after.enter_async_context(Proxy(kafka.port(), port=bootstrap.port))
            await asyncio.to_thread(kafka.restart)
            await load.flows()

    await load.proof()
    assert "none of the known brokers answers" in load.logged(GIVEN_UP)[0]["reason"]
