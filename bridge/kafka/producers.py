"""aiokafka producers: how one is built, and how it is got rid of in any state.

Everything that has to know aiokafka's inside stands here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiokafka
from aiokafka.errors import KafkaError, ProducerClosed

from bridge.errors import KafkaUnreachable, TopicsUnfit
from bridge.kafka.access import reaching
from bridge.topics import SUBSCRIBABLE, Topic

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aiokafka.producer.message_accumulator import MessageAccumulator

START_TIMEOUT_SECONDS = 30.0
CLOSE_TIMEOUT_SECONDS = 3.0


async def start(options: Mapping[str, object]) -> aiokafka.AIOKafkaProducer:
    """Return a started idempotent producer that knows all topics; a fresh one per attempt (aiokafka #759).

    ``options`` are the connection's and the batches' keyword arguments. Raises ``KafkaUnreachable``.
    """
    producer = aiokafka.AIOKafkaProducer(
        acks="all",
        enable_idempotence=True,
        linger_ms=0,  # lingering is the publisher's business: it knows all lanes
        **options,
    )
    try:
        with reaching(str(options["bootstrap_servers"])):
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                await producer.start()
                # No topic is ever named in a metadata request: naming a missing one would create it on a
                # broker that permits that. A request without names returns all and creates none.
                if not await producer.client.force_metadata_update():
                    raise KafkaError("no broker answered a metadata request")
    except (KafkaUnreachable, asyncio.CancelledError):
        await abandon(producer)
        raise
    return producer


async def close(producer: aiokafka.AIOKafkaProducer) -> None:
    """Stop a producer that has nothing left to send."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await producer.stop()
    except (TimeoutError, KafkaError):
        await abandon(producer)


async def abandon(producer: aiokafka.AIOKafkaProducer) -> None:
    """End a producer in whatever state, without waiting for acknowledgements.

    ``stop()`` waits for all acknowledgements, without a deadline (aiokafka #1101). So what is pending is failed
    first, the connections are closed, and the sender task is cancelled until it gives in: it awaits each of its
    requests anew when cancelled.
    """
    producer._closed = True  # noqa: SLF001 - or its finaliser warns
    _fail_all(producer._message_accumulator)  # noqa: SLF001 - see above
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await producer.client.close()
    except (TimeoutError, KafkaError, OSError) as error:
        logging.getLogger(__name__).debug("closing connections: %s", error)
    sender = producer._sender.sender_task  # noqa: SLF001 - see above
    if sender is not None:
        # It fails all batches, which is done already, and then a transaction, which there is none of.
        sender.remove_done_callback(producer._sender._fail_all)  # noqa: SLF001 - see above
    while sender is not None and not sender.done():
        sender.cancel()
        await asyncio.wait([sender], timeout=0.05)
    if sender is not None and not sender.cancelled():
        sender.exception()  # seen: it must not be reported as never retrieved


def _fail_all(accumulator: MessageAccumulator) -> None:
    accumulator.fail_all(ProducerClosed())
    for batches in accumulator._batches.values():  # noqa: SLF001 - see abandon
        for batch in batches:
            batch._drain_waiter.exception()  # noqa: SLF001 - seen: nobody else waits for it


def partition_counts(
    producer: aiokafka.AIOKafkaProducer, names: Mapping[Topic, str], topics: Collection[Topic]
) -> dict[Topic, int]:
    """Return how many partitions each topic has.

    Raises ``TopicsUnfit`` where a topic is missing, or where the data topics' counts differ: a symbol must
    have the same partition on each of them, or consumers could not join them.
    """
    counts = {topic: len(producer.client.cluster.partitions_for_topic(names[topic]) or ()) for topic in topics}
    missing = [names[topic] for topic, count in counts.items() if not count]
    if missing:
        raise TopicsUnfit(
            f"Kafka has no topic {', '.join(missing)} (or we may not describe it). Topics are never created by "
            "accident: create them with `aries-bridge topics`, or rename them with KAFKA_TOPIC_PREFIX and "
            "KAFKA_TOPIC_<TYPE>."
        )
    data = {names[topic]: counts[topic] for topic in SUBSCRIBABLE if topic in counts}
    if len(set(data.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in data.items())
        raise TopicsUnfit(
            f"the data topics must have equal partition counts, so that a symbol has the same partition on each; "
            f"found {listed}. Re-create the smaller ones, or add partitions to them while nothing is read."
        )
    return counts
