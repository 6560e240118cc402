"""Producers are abandoned in every state, at once and without leaks."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition

from bridge.errors import KafkaUnreachable
from bridge.kafka import aiokafka_internals
from bridge.kafka.producer import AiokafkaProducer
from bridge.kafka.record_batch import batch_maker
from tests.faults.proxy import Direction, Proxy
from tests.support.consumer import read_all
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka


PARTITIONS = 16


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what asyncio and aiokafka report of unclosed resources and unretrieved errors."""
    gc.collect()
    wrong = [record for record in caplog.records if record.name == "asyncio" or record.levelno >= logging.ERROR]
    return [record.getMessage() for record in wrong]


def accumulated(producer: AiokafkaProducer) -> tuple[int, int]:
    """Return for how many queues batches wait, and how many batches are on their way."""
    accumulator = producer._accumulator
    return len(accumulator._batches), len(accumulator._pending_batches)


def cut(producer: AiokafkaProducer) -> None:
    """Cut all connections, so that requests fail."""
    for connection in producer._client._conns.values():
        connection._writer.transport.abort()


async def errors(acknowledgements: list[asyncio.Future[object]]) -> set[str]:
    """Wait until all acknowledgements are over, and return the names of their errors."""
    ended = await asyncio.gather(*acknowledgements, return_exceptions=True)
    return {type(error).__name__ for error in ended}


@asynccontextmanager
async def unanswered(
    kafka: RealKafka, topic: str
) -> AsyncIterator[tuple[AiokafkaProducer, list[asyncio.Future[object]]]]:
    """Return a producer with a batch in flight for each of many queues, to a broker that hangs."""
    kafka.create_topic(topic, PARTITIONS)
    producer = await AiokafkaProducer.start({"bootstrap_servers": kafka.bootstrap_servers})
    kafka.pause()
    try:
        acknowledgements = [send(producer, topic, partition) for partition in range(PARTITIONS)]
        await eventually(lambda: accumulated(producer) == (0, PARTITIONS), "all on their way")
        yield producer, acknowledgements
    finally:
        kafka.resume()


def send(producer: AiokafkaProducer, topic: str, partition: int) -> asyncio.Future[object]:
    """Send a batch of one record."""
    batch = batch_maker("none", 1000)()
    batch.fill([(1, None, b"1", None)])
    return producer.send(batch, topic, partition)


async def test_a_producer_may_be_closed_as_soon_as_it_is_started(broker: EmbeddedBroker) -> None:
    """Its sender may not have begun to run; the caller is not cancelled with it."""
    producer = await AiokafkaProducer.start({"bootstrap_servers": broker.bootstrap_servers})
    await producer.close()
    assert producer.has_ended()


@pytest.mark.parametrize("ends", ["cancelled", "too late"])
async def test_a_start_that_ends_while_it_asks_leaves_nothing_open(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture, ends: str
) -> None:
    """The connection that asks for brokers is closed, too, whether a signal or the deadline ends the start."""
    async with Proxy(int(broker.bootstrap_servers.rpartition(":")[2])) as network:
        network.slow(chunk_bytes=65_536, pause_seconds=0.2)  # the time to act behind the first answer
        options = {"bootstrap_servers": f"127.0.0.1:{network.port}", "client_id": "aries-bridge-test"}
        starting = asyncio.create_task(AiokafkaProducer.start(options, timeout_seconds=0.5))
        await eventually(lambda: network.carried[Direction.TO_CLIENT], "the first answer")
        network.black_hole(Direction.TO_CLIENT)
        await eventually(lambda: network.carried[Direction.TO_SERVER] > 50, "the question behind it")
        if ends == "cancelled":
            starting.cancel()
        with pytest.raises((asyncio.CancelledError, KafkaUnreachable)):
            await starting

    assert complaints(caplog) == []


async def test_a_producer_whose_task_failed_is_abandoned(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error in a task of aiokafka is not raised when its producer is abandoned."""

    async def fail() -> None:
        raise ValueError("unheard of")

    producer = await AiokafkaProducer.start({"bootstrap_servers": broker.bootstrap_servers})
    synchronizer = producer._client.detach_synchronizer()
    assert synchronizer is not None
    synchronizer.cancel()
    failing = producer._client._sync_task = asyncio.create_task(fail())
    await asyncio.wait([synchronizer, failing])
    del synchronizer, failing

    assert producer.has_ended()
    await producer.abandon()
    del producer

    assert complaints(caplog) == []


@pytest.mark.parametrize("is_cut", [False, True], ids=["in a request", "cut off"])
async def test_batches_that_no_broker_answers_fail_without_an_error_of_a_task(
    kafka: RealKafka, topic_prefix: str, caplog: pytest.LogCaptureFixture, *, is_cut: bool
) -> None:
    """Whatever a producer is about to do with them, abandoning it leaves no task and no complaint."""
    async with unanswered(kafka, topic_prefix) as (producer, acknowledgements):
        if is_cut:
            cut(producer)
        await producer.abandon()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await errors(acknowledgements) <= {"ProducerClosed", "KafkaConnectionError"}
    del acknowledgements

    assert complaints(caplog) == []


async def test_a_cut_connection_fails_its_batches_at_once(kafka: RealKafka, topic_prefix: str) -> None:
    """They are not retried inside the library: their queues decide."""
    async with unanswered(kafka, topic_prefix) as (producer, acknowledgements):
        cut(producer)
        assert await errors(acknowledgements) == {"KafkaConnectionError"}
        assert accumulated(producer) == (0, 0)
        assert not producer.has_ended()
        await producer.abandon()


async def test_a_sender_that_fails_takes_its_requests_along(
    kafka: RealKafka, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A request does not outlive the sender, which has failed all batches."""

    async def fail() -> None:
        raise ValueError("unheard of")

    async with unanswered(kafka, topic_prefix) as (producer, acknowledgements):
        requests = set(producer._sender.requests)
        producer._sender._maybe_wait_for_pid = fail
        producer._accumulator._waiter_future.set_result(None)
        assert await errors(acknowledgements) == {"KafkaError"}
        await asyncio.wait(requests)
        assert all(request.cancelled() for request in requests)
        await producer.abandon()
    del acknowledgements

    assert complaints(caplog) == ["Unexpected error in sender routine"]


async def test_sequence_numbers_begin_again_at_zero() -> None:
    """After 2**31 - 1 comes 0, as in Kafka's own client; a rewind goes back over that."""
    _, accumulator, _ = aiokafka_internals.assemble({})
    state, partition = accumulator._txn_manager, TopicPartition("t", 0)
    state._sequence_numbers[partition] = (1 << 31) - 2
    state.increment_sequence_number(partition, 5)
    assert state.sequence_number(partition) == 3
    accumulator.rewind("t", 0, 5)
    assert state.sequence_number(partition) == (1 << 31) - 2


async def test_what_the_kernel_holds_of_an_abandoned_producer_never_arrives(
    kafka: RealKafka, topic_prefix: str
) -> None:
    """Packets are lost while a batch is sent, and the producer is abandoned: nothing of it is sent afterwards."""
    behind, port = kafka.proxied()
    kafka.create_topic(topic_prefix, 1)
    async with Proxy(behind, port=port, window_bytes=4096) as network:
        producer = await AiokafkaProducer.start({"bootstrap_servers": f"localhost:{port}"}, [topic_prefix])
        acknowledgement = send(producer, topic_prefix, 0)
        await acknowledgement  # the connection for batches is open now
        network.black_hole()
        batch = batch_maker("none", 1_000_000)()
        batch.fill([(1, None, b"x" * 900_000, None)])
        acknowledgement = producer.send(batch, topic_prefix, 0)
        await eventually(lambda: is_in_the_kernel(producer), "it was handed to the kernel")
        await producer.abandon()
        network.heal()
        await eventually(lambda: network.connections == 0, "the connections have ended")
    assert await errors([acknowledgement]) == {"ProducerClosed"}
    other = await AiokafkaProducer.start({"bootstrap_servers": kafka.bootstrap_servers}, [topic_prefix])
    await send(other, topic_prefix, 0)
    await other.close()
    found = await asyncio.to_thread(read_all, kafka.bootstrap_servers, [topic_prefix])
    assert [message.value for message in found] == [b"1", b"1"]


def is_in_the_kernel(producer: AiokafkaProducer) -> bool:
    """Return whether a batch is on its way, and nothing of it is left to be handed to the kernel."""
    transports = [connection._writer.transport for connection in producer._client._conns.values()]
    return accumulated(producer) == (0, 1) and not any(one.get_write_buffer_size() for one in transports)
