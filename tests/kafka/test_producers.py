"""Producers are let go of in every state, without a wait and without a trace."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from bridge.errors import KafkaUnreachable
from bridge.kafka import producers
from tests.faults.proxy import Direction, Proxy
from tests.service import eventually

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what asyncio says of things that were left open or never looked at."""
    gc.collect()
    return [record.getMessage() for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize("ends", ["cancelled", "too late"])
async def test_a_start_that_ends_while_it_asks_leaves_nothing_open(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture, ends: str
) -> None:
    """The connection that asks for brokers is closed, too, whether a signal or the deadline ends the start."""
    async with Proxy(int(broker.bootstrap_servers.rpartition(":")[2])) as network:
        network.slow(chunk_bytes=65_536, pause_seconds=0.2)  # the time to act behind the first answer
        options = {"bootstrap_servers": f"127.0.0.1:{network.port}"}
        starting = asyncio.create_task(producers.start(options, timeout_seconds=0.5))
        await eventually(lambda: network.carried[Direction.TO_CLIENT], "the first answer")
        network.black_hole(Direction.TO_CLIENT)
        await eventually(lambda: network.carried[Direction.TO_SERVER] > 50, "the question behind it")
        if ends == "cancelled":
            starting.cancel()
        with pytest.raises((asyncio.CancelledError, KafkaUnreachable)):
            await starting

    assert complaints(caplog) == []


async def test_a_producer_whose_task_failed_is_let_go_of(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody thought of in a task of aiokafka does not come out of the end of its producer."""

    async def fail() -> None:
        raise ValueError("unheard of")

    producer = await producers.start({"bootstrap_servers": broker.bootstrap_servers})
    client = producer.client
    client._sync_task.cancel()
    await asyncio.wait([client._sync_task])
    client._sync_task = asyncio.create_task(fail())
    await asyncio.wait([client._sync_task])
    del client

    assert producers.has_ended(producer)
    await producers.abandon(producer)
    del producer

    assert complaints(caplog) == []
