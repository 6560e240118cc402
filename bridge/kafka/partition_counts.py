"""The topics' partition counts, which must be equal for all data topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.errors import TopicConfigurationError
from bridge.topics import SUBSCRIBABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bridge.kafka.producer import Producer
    from bridge.topics import AnyTopic, TopicCounts, TopicNames


def partition_counts(producer: Producer, names: TopicNames, topics: Collection[AnyTopic]) -> dict[AnyTopic, int]:
    """Return the partition count of each topic.

    Raises ``TopicConfigurationError`` if a topic is missing, or if the data topics have unequal counts.
    """
    counts = {topic: len(producer.partitions(names[topic])) for topic in topics}
    missing = [names[topic] for topic, count in counts.items() if not count]
    if missing:
        raise TopicConfigurationError(
            f"Kafka has no topic {', '.join(missing)} (or this user may not describe it). Topics are never created "
            "implicitly: create them with `aries-bridge topics`, or rename them with KAFKA_TOPIC_PREFIX and "
            "KAFKA_TOPIC_<TYPE>."
        )
    check_equal_partition_counts(names, counts)
    return counts


def check_equal_partition_counts(names: TopicNames, counts: TopicCounts) -> None:
    """Raise ``TopicConfigurationError`` if the data topics have unequal counts."""
    if unequal := unequal_partition_counts(names, {names[topic]: count for topic, count in counts.items()}):
        raise TopicConfigurationError(
            f"the data topics must have equal partition counts, so that a symbol has the same partition on each; "
            f"found {unequal}. Re-create the smaller ones, or add partitions to them while nothing is read."
        )


def unequal_partition_counts(names: TopicNames, counts: Mapping[str, int]) -> str:
    """Return the data topics with their partition counts if these differ, else an empty string.

    With unequal counts a symbol would not have the same partition on each data topic, and consumers could not join
    them.
    """
    data = {names[topic]: counts[names[topic]] for topic in SUBSCRIBABLE if names[topic] in counts}
    return ", ".join(f"{name}: {count}" for name, count in data.items()) if len(set(data.values())) > 1 else ""


def shards_topic_problem(partitions: int, shards: int, name: str) -> str | None:
    """Return why a group cannot use the topic of its shards, and what to do; None if it can.

    ``partitions`` is 0 if the topic does not exist.
    """
    if partitions >= shards:
        return None
    create = "`aries-bridge topics` with BRIDGE_SHARD=group and the same BRIDGE_SHARDS"
    if not partitions:
        return (
            f"Kafka has no topic {name} (or this user may not describe it), in which the bridges of a group mark who "
            f"owns a shard. Topics are never created implicitly: {create} creates it; or rename it with "
            "KAFKA_TOPIC_SHARDS."
        )
    return (
        f"the topic {name} has too few partitions: {partitions}, and each of BRIDGE_SHARDS ({shards}) needs its own. "
        f"{create} adds them."
    )
