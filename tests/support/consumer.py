"""Read topics back with librdkafka, a client that shares no code with the one under test."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

DEADLINE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Message:
    """One record as Kafka stored it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[tuple[str, bytes], ...] = ()


def read_all(
    bootstrap_servers: str,
    topics: Iterable[str],
    *,
    until: Callable[[list[Message]], bool] | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
    options: Mapping[str, object] | None = None,
) -> list[Message]:
    """Return what the topics hold: from their beginnings to their present ends, or until ``until`` says so.

    It joins no group (the embedded broker serves no two members of one). ``options`` are librdkafka's, for
    security. Raises TimeoutError when ``until`` was not true within the deadline.
    """
    consumer = _consumer(bootstrap_servers, options or {})
    try:
        ends = {
            (topic, number): _ends(consumer, TopicPartition(topic, number))
            for topic in topics
            for number in _partitions(consumer, topic)
        }
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in ends])
        if until is None:
            wanted = sum(high - low for low, high in ends.values())
            return _poll(consumer, lambda messages: len(messages) >= wanted, deadline_seconds)
        return _poll(consumer, until, deadline_seconds)
    finally:
        consumer.close()


def wait_for(
    bootstrap_servers: str,
    topics: Iterable[str],
    count: int,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    options: Mapping[str, object] | None = None,
) -> list[Message]:
    """Return the messages of the topics once there are ``count``; raises TimeoutError after the deadline."""
    return read_all(
        bootstrap_servers,
        topics,
        until=lambda messages: len(messages) >= count,
        deadline_seconds=deadline_seconds,
        options=options,
    )


def _consumer(bootstrap_servers: str, options: Mapping[str, object]) -> Any:
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "tests",  # required by the library; never joined
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
            "log_level": 0,
            **options,
        }
    )


def _ends(consumer: Any, partition: TopicPartition) -> tuple[int, int]:
    """Return a partition's first and next offset; one that is just changing its leader is asked again."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            low, high = consumer.get_watermark_offsets(partition, DEADLINE_SECONDS)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return low, high


def _partitions(consumer: Any, topic: str) -> list[int]:
    metadata = consumer.list_topics(topic, timeout=DEADLINE_SECONDS).topics[topic]
    if metadata.error is not None:
        raise KafkaException(metadata.error)
    return sorted(metadata.partitions)


def _poll(consumer: Any, done: Callable[[list[Message]], bool], deadline_seconds: float) -> list[Message]:
    messages: list[Message] = []
    deadline = time.monotonic() + deadline_seconds
    while not done(messages):
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {len(messages)} messages came within {deadline_seconds:g} s")
        raw = consumer.poll(0.1)
        if raw is not None:
            messages.append(_message(raw))
    return messages


def _message(raw: Any) -> Message:
    if raw.error() is not None:
        raise KafkaException(raw.error())
    place = raw.topic(), raw.partition(), raw.offset()
    return Message(*place, raw.key(), raw.value(), raw.timestamp()[1], tuple(raw.headers() or ()))
