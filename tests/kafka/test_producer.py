"""Producers are abandoned in every state, at once and without leaks."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bridge.errors import KafkaUnreachable
from bridge.kafka import produce_requests
from bridge.kafka.produce_requests import OutgoingBatch
from bridge.kafka.producer import AiokafkaProducer
from bridge.kafka.record_batch import batch_maker
from tests.faults.proxy import Direction, Proxy
from tests.support.consumer import read_all
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from bridge.kafka.produce_requests import BatchAnswer
    from tests.support.brokers import RealKafka


PARTITIONS = 16


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what asyncio and aiokafka report of unclosed resources and unretrieved errors."""
    gc.collect()
    wrong = [record for record in caplog.records if record.name == "asyncio" or record.levelno >= logging.ERROR]
    return [record.getMessage() for record in wrong]


def in_flight(producer: AiokafkaProducer) -> int:
    """Return how many batches are in requests without an answer."""
    brokers = producer._requests._brokers.values()
    return sum(len(broker.request.batches) for broker in brokers if broker.request is not None)


def cut(producer: AiokafkaProducer) -> None:
    """Cut all connections, so that requests fail."""
    for connection in producer._client._conns.values():
        connection._writer.transport.abort()


def name_of_error(answers: list[BatchAnswer]) -> set[str]:
    """Return the names of the errors of batches."""
    return {type(answer.error).__name__ for answer in answers}


async def publish(producer: AiokafkaProducer, topic: str) -> None:
    """Send a batch until Kafka has it, and close the producer; a broker that was paused may have to come back first."""
    answers: list[BatchAnswer] = []
    while not answers or answers[-1].error is not None:
        before = len(answers)
        producer.send([batch(topic)], answers.extend)
        await eventually(lambda before=before: len(answers) > before, "an answer")  # type: ignore[misc]
        if answers[-1].error is not None:
            producer.rewind(topic, 0, 1)
            await producer._client.force_metadata_update()
    await producer.close()


@asynccontextmanager
async def unanswered(kafka: RealKafka, topic: str) -> AsyncIterator[tuple[AiokafkaProducer, list[BatchAnswer]]]:
    """Return a producer with a batch in flight for each of many queues, to a broker that hangs, and their answers."""
    kafka.create_topic(topic, PARTITIONS)
    producer = await AiokafkaProducer.start({"bootstrap_servers": kafka.bootstrap_servers})
    kafka.pause()
    try:
        answers: list[BatchAnswer] = []
        producer.send([batch(topic, partition) for partition in range(PARTITIONS)], answers.extend)
        await eventually(lambda: in_flight(producer) == PARTITIONS, "all on their way")
        yield producer, answers
    finally:
        kafka.resume()


def batch(topic: str, partition: int = 0, records: int = 1) -> OutgoingBatch:
    """Return a batch of small records."""
    made = batch_maker("none", 1000)()
    assert made.fill([(1, None, b"%d" % number, None) for number in range(records)]) == records
    return OutgoingBatch(topic, partition, made)


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
    [synchronizer] = producer._client.detach_synchronizer()
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
    async with unanswered(kafka, topic_prefix) as (producer, answers):
        if is_cut:
            cut(producer)
        await producer.abandon()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(answers) == PARTITIONS
        assert name_of_error(answers) == {"ProducerClosed"}

    assert complaints(caplog) == []


async def test_a_cut_connection_fails_its_batches_at_once(kafka: RealKafka, topic_prefix: str) -> None:
    """They are not retried inside the library: their queues decide."""
    async with unanswered(kafka, topic_prefix) as (producer, answers):
        cut(producer)
        await eventually(lambda: answers, "the batches end")
        assert (len(answers), in_flight(producer)) == (PARTITIONS, 0)
        assert name_of_error(answers) == {"KafkaConnectionError"}
        assert not producer.has_ended()
        await producer.abandon()
        assert len(answers) == PARTITIONS


async def test_what_was_not_sent_when_a_producer_is_abandoned_never_leaves(
    kafka: RealKafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a request that is larger than what the sockets hold, the rest is discarded; a broker takes no part of it."""
    monkeypatch.setattr(produce_requests, "MAX_REQUEST_BYTES", 1 << 26)
    kafka.create_topic(topic_prefix, 2 * PARTITIONS)
    options = {"bootstrap_servers": kafka.bootstrap_servers}
    producer = await AiokafkaProducer.start(options, [topic_prefix])
    answers: list[BatchAnswer] = []
    kafka.pause()
    try:
        large = [OutgoingBatch(topic_prefix, number, batch_maker("none", 1)()) for number in range(2 * PARTITIONS)]
        for one in large:
            one.batch.fill([(1, None, bytes(900_000), None)])
        producer.send(large, answers.extend)
        await asyncio.sleep(0)
        await producer.abandon()
        assert name_of_error(answers) == {"ProducerClosed"}
    finally:
        kafka.resume()
    await publish(await AiokafkaProducer.start(options, [topic_prefix]), topic_prefix)
    assert [one.value for one in await asyncio.to_thread(read_all, kafka.bootstrap_servers, [topic_prefix])] == [b"0"]


async def test_what_the_kernel_holds_of_an_abandoned_producer_never_arrives(
    kafka: RealKafka, topic_prefix: str
) -> None:
    """Packets are lost while a batch is sent, and the producer is abandoned: nothing of it is sent afterwards."""
    behind, port = kafka.proxied()
    kafka.create_topic(topic_prefix, 1)
    answers: list[BatchAnswer] = []
    async with Proxy(behind, port=port, window_bytes=4096) as network:
        producer = await AiokafkaProducer.start({"bootstrap_servers": f"localhost:{port}"}, [topic_prefix])
        producer.send([_outgoing(topic_prefix, b"1")], answers.extend)
        await eventually(lambda: answers, "the connection for batches is open")
        network.black_hole()
        producer.send([_outgoing(topic_prefix, bytes(900_000))], answers.extend)
        await eventually(lambda: is_in_the_kernel(producer), "it was handed to the kernel")
        await producer.abandon()
        network.heal()
        await eventually(lambda: network.connections == 0, "the connections have ended")
    assert [None if one.error is None else type(one.error).__name__ for one in answers] == [None, "ProducerClosed"]
    await publish(
        await AiokafkaProducer.start({"bootstrap_servers": kafka.bootstrap_servers}, [topic_prefix]), topic_prefix
    )
    found = await asyncio.to_thread(read_all, kafka.bootstrap_servers, [topic_prefix])
    assert [message.value for message in found] == [b"1", b"0"]


def _outgoing(topic: str, value: bytes) -> OutgoingBatch:
    batch = batch_maker("none", 1_000_000)()
    batch.fill([(1, None, value, None)])
    return OutgoingBatch(topic, 0, batch)


def is_in_the_kernel(producer: AiokafkaProducer) -> bool:
    """Return whether a batch is on its way, and nothing of it is left to be handed to the kernel."""
    transports = [connection._writer.transport for connection in producer._client._conns.values()]
    return in_flight(producer) == 1 and not any(one.get_write_buffer_size() for one in transports)
