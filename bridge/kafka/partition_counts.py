"""How many partitions the topics have, and whether they fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.errors import TopicConfigurationError
from bridge.topics import SUBSCRIBABLE, Topic

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bridge.kafka.producer import Producer


def partition_counts(producer: Producer, names: Mapping[Topic, str], topics: Collection[Topic]) -> dict[Topic, int]:
    """Return how many partitions each topic has.

    Raises ``TopicConfigurationError`` if a topic is missing, or if the data topics' counts differ: a symbol must have
    the same partition on each of them, or consumers could not join them.
    """
    counts = {topic: len(producer.partitions(names[topic])) for topic in topics}
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
