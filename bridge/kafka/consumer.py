"""Reading topics without a consumer group: which partitions, and readable errors for failed fetches."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from bridge.errors import KafkaUnreachable, TopicConfigurationError
from bridge.kafka.aiokafka_internals import Client, Consumer, client_of
from bridge.kafka.broker_support import READING, UnusableBrokers, missing_request
from bridge.kafka.client_options import (
    CONNECT_TIMEOUT_SECONDS,
    CapturedKafkaLog,
    KafkaSettings,
    client_options,
    close_consumer,
    readable_errors,
)
from bridge.serialization.registry_settings import DecodingSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiokafka import AIOKafkaConsumer, ConsumerRecord

    from bridge.topics import AnyTopic, TopicNames

# Limits of one response: a few thousand records, also if 100 partitions are read from the beginning.
FETCH_BYTES = 8 << 20
PARTITION_FETCH_BYTES = 256 << 10


class ReadingSettings(KafkaSettings, DecodingSettings, Protocol):
    """The settings of a command that reads and decodes topics."""


@asynccontextmanager
async def open_consumer(
    settings: KafkaSettings,
    name: str,
    *,
    partition_fetch_bytes: int = PARTITION_FETCH_BYTES,
    group: str | None = None,
) -> AsyncIterator[AIOKafkaConsumer]:
    """Start a consumer and close it at the end; raises KafkaUnreachable.

    It is no member of a group, but may commit the offsets of one.
    """
    options = client_options(settings, name)
    consumer = Consumer(
        options,
        group_id=group,
        enable_auto_commit=False,
        # If a record was deleted before it was read, continue with the oldest that is left.
        auto_offset_reset="earliest",
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=partition_fetch_bytes,
    )
    try:
        async with readable_errors(options), asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            await consumer.start()
            _check_versions(client_of(consumer))
        yield consumer
    finally:
        with CapturedKafkaLog():
            await close_consumer(consumer)


def _check_versions(client: Client) -> None:
    """Raise ``UnusableBrokers`` if a request lacks that a consumer would try again and again in its background."""
    if (lack := missing_request(client.versions, READING)) is not None:
        raise UnusableBrokers(str(lack))


async def assign_topics(
    consumer: AIOKafkaConsumer,
    names: TopicNames,
    requested: tuple[str, ...],
    *,
    also: tuple[AnyTopic, ...] = (),
) -> list[TopicPartition]:
    """Assign all partitions of the requested topics, or of the bridge's topics that exist if none is requested.

    The topics in ``also`` are added if they exist. Raises TopicConfigurationError if a requested topic, or every
    topic of the bridge, is missing.
    """
    client = client_of(consumer)  # the consumer's own methods request metadata by name, see below
    async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
        cluster = await client.fetch_all_metadata()
    existing = cluster.topics(exclude_internal_topics=False)
    selected = _select_topics(requested, names, existing)
    more = [names[topic] for topic in also if names[topic] in existing]
    partitions = [
        TopicPartition(name, number)
        for name in dict.fromkeys([*selected, *more])
        for number in sorted(cluster.partitions_for_topic(name))
    ]
    consumer.assign(partitions)
    # A metadata request that names a topic creates it on a broker with auto-creation, even if it is deleted while
    # it is being read. A request without names returns all topics and creates none.
    client.set_topics([])
    return partitions


async def fetch(
    consumer: AIOKafkaConsumer, timeout_seconds: float, *, max_records: int | None = None
) -> Mapping[TopicPartition, list[ConsumerRecord]]:
    """Return the records that are buffered, or that arrive within the timeout.

    Raises TopicConfigurationError if this client may not read a topic, and KafkaUnreachable for errors that are not
    retriable.
    """
    try:
        records: dict[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(
            timeout_ms=math.ceil(timeout_seconds * 1000), max_records=max_records
        )
    except TopicAuthorizationFailedError as error:
        raise TopicConfigurationError(
            f"not authorized to read the Kafka topic {', '.join(map(str, error.args))}: grant Read on it to the "
            "account of KAFKA_SASL_USERNAME (or of the client certificate)."
        ) from error
    except KafkaError as error:
        raise KafkaUnreachable(
            f"reading from Kafka failed with an error that retrying does not fix: {error!r}."
        ) from error
    return records


def _select_topics(requested: tuple[str, ...], names: TopicNames, existing: set[str]) -> list[str]:
    """Return the full names of the topics to read; raise TopicConfigurationError if one is missing."""
    by_short_name = {topic.value: name for topic, name in names.items()}
    selected = [by_short_name.get(name, name) for name in requested]
    missing = [name for name in selected if name not in existing]
    if not requested:
        selected = [name for name in names.values() if name in existing]
        missing = [] if selected else list(names.values())
    if missing:
        raise TopicConfigurationError(
            f"Kafka has no topic {', '.join(missing)} (or this user may not describe it). `aries-bridge topics` "
            f"creates the bridge's topics, which are named by KAFKA_TOPIC_PREFIX and KAFKA_TOPIC_<TYPE>: "
            f"{', '.join(names.values())}."
        )
    return list(dict.fromkeys(selected))
