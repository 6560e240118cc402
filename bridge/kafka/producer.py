"""aiokafka producers: how one is built, and how it is got rid of in any state.

Everything that has to know aiokafka's inside stands here.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerClosed

from bridge.errors import KafkaUnreachable, TopicConfigurationError
from bridge.kafka.client_options import readable_errors
from bridge.topics import SUBSCRIBABLE, Topic

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aiokafka.client import AIOKafkaClient
    from aiokafka.conn import AIOKafkaConnection
    from aiokafka.producer.message_accumulator import MessageAccumulator
    from aiokafka.producer.sender import Sender

    from bridge.kafka.record_batch import RecordBatch
    from bridge.pipeline.record_buffer import PartitionQueue

START_TIMEOUT_SECONDS = 30.0
CLOSE_TIMEOUT_SECONDS = 3.0


async def start(
    options: Mapping[str, object], timeout_seconds: float = START_TIMEOUT_SECONDS
) -> aiokafka.AIOKafkaProducer:
    """Return a started idempotent producer that knows all topics; a fresh one per attempt (aiokafka #759).

    ``options`` are the connection's and the batches' keyword arguments. Raises ``KafkaUnreachable``.
    """
    producer = aiokafka.AIOKafkaProducer(
        acks="all",
        enable_idempotence=True,
        linger_ms=0,  # lingering is the publisher's business: it knows all queues
        **options,
    )
    try:
        with readable_errors(str(options["bootstrap_servers"])):
            async with asyncio.timeout(timeout_seconds):
                await _bootstrap(producer.client)
                await producer._sender.start()  # noqa: SLF001 - what producer.start() does next
                # No topic is ever named in a metadata request: naming a missing one would create it on a
                # broker that permits that. A request without names returns all and creates none.
                if not await producer.client.force_metadata_update():
                    raise KafkaError("no broker answered a metadata request")
    except (KafkaUnreachable, asyncio.CancelledError):
        await abandon(producer)
        raise
    _watch_sender(producer)
    return producer


async def _bootstrap(client: AIOKafkaClient) -> None:
    try:
        await client.bootstrap()
    except asyncio.CancelledError as cancelled:
        # aiokafka leaves the connection that it is asking just now to the garbage collector, which complains.
        for frame, _ in traceback.walk_tb(cancelled.__traceback__):
            connection = frame.f_locals.get("bootstrap_conn")
            if connection is not None:
                connection.close()
        raise
    if not client.cluster.brokers():  # how a refused OAUTHBEARER token looks to aiokafka; it would wait for ever
        raise KafkaConnectionError("No broker metadata in the answer")


def send(producer: aiokafka.AIOKafkaProducer, batch: RecordBatch, queue: PartitionQueue) -> asyncio.Future[object]:
    """Hand a batch to a producer that knows the queue's partition; return its acknowledgement to come.

    This is the end of ``producer.send_batch``, which before it looks for the partition, and waits for a batch of the
    same queue that there never is. Raises ``KafkaError`` where the producer takes none any more.
    """
    accumulator: MessageAccumulator = producer._message_accumulator  # noqa: SLF001 - there is no public way to it
    if accumulator._closed or accumulator._exception is not None:  # noqa: SLF001 - see above
        raise accumulator._exception or ProducerClosed()  # noqa: SLF001 - see above
    sent = accumulator._append_batch(batch, TopicPartition(queue.name, queue.partition))  # noqa: SLF001 - see above
    acknowledgement: asyncio.Future[object] = sent.future
    return acknowledgement


def has_ended(producer: aiokafka.AIOKafkaProducer) -> bool:
    """Return whether a task has ended that a producer cannot do without: its sender, or what learns the leaders."""
    tasks = producer._sender.sender_task, producer.client._sync_task  # noqa: SLF001 - there is no public way to it
    return any(task is None or task.done() for task in tasks)


async def is_stranded(producer: aiokafka.AIOKafkaProducer, options: Mapping[str, object]) -> bool:
    """Return whether none of the brokers that a producer knows is there, while Kafka can be reached otherwise.

    A client of aiokafka never asks its bootstrap servers again, as Kafka's own does (KIP-899): where all brokers
    have moved, it looks for them at their old addresses for ever.
    """
    try:
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            if await producer.client.force_metadata_update():
                return False
            await close(await start(options))
            return not await producer.client.force_metadata_update()
    except (TimeoutError, KafkaUnreachable):
        return False


async def close(producer: aiokafka.AIOKafkaProducer) -> None:
    """Stop a producer that has nothing left to send."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await producer.stop()
    except (TimeoutError, KafkaError):
        await abandon(producer)


async def abandon(producer: aiokafka.AIOKafkaProducer) -> None:
    """End a producer in whatever state, without waiting for acknowledgements.

    ``stop()`` waits for all acknowledgements, without a deadline (aiokafka #1101). So the connections are cut, then
    all that works on batches is ended, and only then the batches are failed: a request that still lives would put
    its failed batches back, and complain that they are not as it left them.
    """
    producer._closed = True  # noqa: SLF001 - or its finaliser warns
    client = producer.client
    for connection in client._conns.values():  # noqa: SLF001 - see above
        _abort(connection)
    synchronizer, client._sync_task = client._sync_task, None  # noqa: SLF001 - it may have failed, and close() would say so
    await _end(_sender_tasks(producer._sender) | ({synchronizer} if synchronizer is not None else set()))  # noqa: SLF001
    _fail_all(producer._message_accumulator, ProducerClosed())  # noqa: SLF001 - see above
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await client.close()
    except (TimeoutError, KafkaError, OSError) as error:
        logging.getLogger(__name__).debug("closing connections: %s", error)


def _sender_tasks(sender: Sender) -> set[asyncio.Task[Any]]:
    """Return what a sender runs: its routine, and a request for each broker, which it keeps in a local variable."""
    return {task for task in asyncio.all_tasks() if _runs_for(sender, task)}


def _runs_for(sender: Sender, task: asyncio.Task[Any]) -> bool:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and frame.f_locals.get("self") is sender


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all give in, and see how they ended: it must not be reported as never retrieved."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.05)
    for task in tasks:
        _see(task)


def _see(task: asyncio.Task[Any]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


def _abort(connection: AIOKafkaConnection) -> None:
    """Drop what a connection has not sent yet, which would arrive late or keep it open for ever."""
    writer = connection._writer  # noqa: SLF001 - there is no public way to it
    if writer is not None:
        writer.transport.abort()


def _watch_sender(producer: aiokafka.AIOKafkaProducer) -> None:
    """Let the end of the sender fail the batches alone: aiokafka also fails a transaction, and there is none."""
    sender = producer._sender  # noqa: SLF001 - see above
    sender.sender_task.remove_done_callback(sender._fail_all)  # noqa: SLF001 - see above
    sender.sender_task.add_done_callback(partial(_sender_ended, producer))


def _sender_ended(producer: aiokafka.AIOKafkaProducer, task: asyncio.Task[None]) -> None:
    for request in _sender_tasks(producer._sender):  # noqa: SLF001 - see above
        request.cancel()
        request.add_done_callback(_see)
    _fail_all(producer._message_accumulator, _see(task) or ProducerClosed())  # noqa: SLF001 - see above


def _fail_all(accumulator: MessageAccumulator, error: BaseException) -> None:
    """Fail all batches, those on their way and those that wait.

    aiokafka's takes for granted that none of them is settled while it waits to be sent again, so none waits any more.
    """
    waiting = [batch for batches in accumulator._batches.values() for batch in batches]  # noqa: SLF001 - see abandon
    accumulator._batches.clear()  # noqa: SLF001 - see abandon
    accumulator._pending_batches.update(waiting)  # noqa: SLF001 - see abandon
    accumulator.fail_all(error)
    for batch in waiting:
        batch._drain_waiter.exception()  # noqa: SLF001 - seen: nobody else waits for it


def partitions(producer: aiokafka.AIOKafkaProducer, topic: str) -> Collection[int]:
    """Return the partitions of a topic as a producer knows them, none where it is not there."""
    return producer.client.cluster.partitions_for_topic(topic) or ()


def has_leader(producer: aiokafka.AIOKafkaProducer, queue: PartitionQueue) -> bool:
    """Return whether a producer knows a broker to send a queue's records to."""
    number = producer.client.cluster.leader_for_partition(TopicPartition(queue.name, queue.partition))
    return number is not None and number >= 0


def partition_counts(
    producer: aiokafka.AIOKafkaProducer, names: Mapping[Topic, str], topics: Collection[Topic]
) -> dict[Topic, int]:
    """Return how many partitions each topic has.

    Raises ``TopicConfigurationError`` where a topic is missing, or where the data topics' counts differ: a symbol must
    have the same partition on each of them, or consumers could not join them.
    """
    counts = {topic: len(partitions(producer, names[topic])) for topic in topics}
    missing = [names[topic] for topic, count in counts.items() if not count]
    if missing:
        raise TopicConfigurationError(
            f"Kafka has no topic {', '.join(missing)} (or we may not describe it). Topics are never created by "
            "accident: create them with `aries-bridge topics`, or rename them with KAFKA_TOPIC_PREFIX and "
            "KAFKA_TOPIC_<TYPE>."
        )
    data = {names[topic]: counts[topic] for topic in SUBSCRIBABLE if topic in counts}
    if len(set(data.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in data.items())
        raise TopicConfigurationError(
            f"the data topics must have equal partition counts, so that a symbol has the same partition on each; "
            f"found {listed}. Re-create the smaller ones, or add partitions to them while nothing is read."
        )
    return counts
