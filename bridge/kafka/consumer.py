"""Reading topics without a group: which ones, from where, and what a fetch may fail with."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from bridge.errors import KafkaUnreachable, TopicConfigurationError
from bridge.kafka.client_options import (
    CONNECT_TIMEOUT_SECONDS,
    CapturedKafkaLog,
    KafkaSettings,
    client_options,
    close_consumer,
    readable_errors,
    servers,
)
from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.serialization.schema_registry import Registry, RegistrySettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiokafka import ConsumerRecord

    from bridge.topics import Topic

# Bounds of one answer: a few thousand records at hand, also where 100 partitions are read from their beginnings.
FETCH_BYTES = 8 << 20
PARTITION_FETCH_BYTES = 256 << 10


class ReadingSettings(KafkaSettings, RegistrySettings, Protocol):
    """The settings of a command that reads and decodes topics."""

    @property
    def schema_registry_url(self) -> str | None: ...


@asynccontextmanager
async def decoder_of(settings: ReadingSettings) -> AsyncIterator[Deserializer]:
    """Hold a decoder that knows our schemas, and the registry's where one is set."""
    known = schemas.load()
    if settings.schema_registry_url is None:
        yield Deserializer(known)
        return
    async with Registry.of(settings, settings.schema_registry_url) as registry:
        yield Deserializer(known, registry)


@asynccontextmanager
async def consumer_of(
    settings: KafkaSettings, name: str, *, partition_fetch_bytes: int = PARTITION_FETCH_BYTES
) -> AsyncIterator[AIOKafkaConsumer]:
    """Hold a started consumer of no group; raises KafkaUnreachable."""
    consumer = AIOKafkaConsumer(
        **client_options(settings, name),
        enable_auto_commit=False,
        # Where a record is gone before we could read it, the oldest one that is left comes next.
        auto_offset_reset="earliest",
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=partition_fetch_bytes,
    )
    try:
        with readable_errors(servers(settings)):
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await consumer.start()
        yield consumer
    finally:
        with CapturedKafkaLog():
            await close_consumer(consumer)


async def assign(
    consumer: AIOKafkaConsumer, ours: Mapping[Topic, str], asked: tuple[str, ...], *, beside: tuple[Topic, ...] = ()
) -> list[TopicPartition]:
    """Assign all partitions of the topics asked for (none: all of ours that exist), and of those ``beside`` them.

    Raises TopicConfigurationError where a topic asked for, or every one of ours, is missing.
    """
    client = consumer._client  # noqa: SLF001 - the consumer's own ways to metadata name topics, see below
    async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
        cluster = await client.fetch_all_metadata()
    existing = cluster.topics(exclude_internal_topics=False)
    names = _selected(asked, ours, existing)
    more = [ours[topic] for topic in beside if ours[topic] in existing]
    partitions = [
        TopicPartition(name, number)
        for name in dict.fromkeys([*names, *more])
        for number in sorted(cluster.partitions_for_topic(name))
    ]
    consumer.assign(partitions)
    # A metadata request that names a topic creates it on a broker that permits that: also one that is deleted while
    # we follow it. A request without names returns all and creates none.
    client.set_topics([])
    return partitions


async def fetched(
    consumer: AIOKafkaConsumer, wait_seconds: float, *, most_records: int | None = None
) -> Mapping[TopicPartition, list[ConsumerRecord]]:
    """Return what is at hand, or comes within this time; small answers may hold many records, compressed.

    Raises TopicConfigurationError where we may not read, and KafkaUnreachable for what trying again does not mend.
    """
    try:
        found: dict[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(
            timeout_ms=math.ceil(wait_seconds * 1000), max_records=most_records
        )
    except TopicAuthorizationFailedError as error:
        raise TopicConfigurationError(
            f"Kafka does not let us read the topic {', '.join(map(str, error.args))}: grant Read on it to the account "
            "of KAFKA_SASL_USERNAME (or of the client certificate)."
        ) from error
    except KafkaError as error:
        raise KafkaUnreachable(f"reading from Kafka failed for good: {error!r}.") from error
    return found


def _selected(asked: tuple[str, ...], ours: Mapping[Topic, str], existing: set[str]) -> list[str]:
    """Return full names; raise TopicConfigurationError if a requested topic, or every topic of ours, is missing."""
    by_short_name = {topic.value: name for topic, name in ours.items()}
    names = [by_short_name.get(name, name) for name in asked]
    missing = [name for name in names if name not in existing]
    if not asked:
        names = [name for name in ours.values() if name in existing]
        missing = [] if names else list(ours.values())
    if missing:
        raise TopicConfigurationError(
            f"Kafka has no topic {', '.join(missing)} (or we may not describe it). `aries-bridge topics` creates the "
            f"bridge's topics, which are called after KAFKA_TOPIC_PREFIX and KAFKA_TOPIC_<TYPE>: "
            f"{', '.join(ours.values())}."
        )
    return list(dict.fromkeys(names))
