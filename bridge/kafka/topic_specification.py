"""How the bridge's topics should be configured, and how existing topics differ from that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.kafka.cluster import CLEANUP_POLICY, MIN_INSYNC_REPLICAS, RETENTION_MS
from bridge.topics import SUBSCRIBABLE, LatestTopic, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.kafka.cluster import TopicDescription
    from bridge.topics import AnyTopic, TopicNames

DEFAULT_PARTITIONS = 12
#: Makes a broker use its own default (KIP-464).
BROKER_DEFAULT = -1
_HOUR_MS = 60 * 60 * 1000
#: Topics whose partitions depend on the symbol, the same on each.
_BY_SYMBOL = frozenset({*SUBSCRIBABLE, *LatestTopic})


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """Choices that apply to all topics; the brokers decide on what is None.

    ``partitions`` None means the partition count of the existing data topics, or ``DEFAULT_PARTITIONS``.
    """

    partitions: int | None = None
    replication_factor: int = BROKER_DEFAULT
    retention_hours: int | None = None
    min_insync_replicas: int | None = None


@dataclass(frozen=True, slots=True)
class TopicSpecification:
    """How one topic is created if it is missing; ``topic`` is None for that of the shards, which has no records."""

    topic: AnyTopic | None
    name: str
    partitions: int
    replication_factor: int
    config: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        replicas = "" if self.replication_factor == BROKER_DEFAULT else f"replication factor {self.replication_factor}"
        configured = [f"{name}={value}" for name, value in self.config]
        return ", ".join(filter(None, [f"{self.name}: {partition_count(self.partitions)}", replicas, *configured]))


def specify_topics(
    names: TopicNames, options: TopicOptions, existing: Mapping[str, int]
) -> tuple[TopicSpecification, ...]:
    """Return the specification of each topic (design §4); ``existing`` maps topic names to partition counts."""
    partitions = options.partitions or _data_partitions(names, existing)
    return tuple(
        TopicSpecification(
            topic,
            name,
            partitions if topic in _BY_SYMBOL else 1,
            options.replication_factor,
            tuple(_config(topic, options)),
        )
        for topic, name in names.items()
    )


def specify_shards_topic(name: str, shards: int, options: TopicOptions) -> TopicSpecification:
    """Return the specification of the topic in which a group marks the owners of its shards, a partition for each.

    Only a shard's newest marks are read, so that segments, a megabyte an hour, need not roll earlier than by default:
    not every service lets ``segment.ms`` be set (docs.aws.amazon.com/msk/latest/developerguide/serverless-config.html).
    """
    config = [(CLEANUP_POLICY, "compact")]
    if options.min_insync_replicas is not None:
        config.append((MIN_INSYNC_REPLICAS, str(options.min_insync_replicas)))
    return TopicSpecification(None, name, shards, options.replication_factor, tuple(config))


def lacks_partitions(wanted: TopicSpecification, existing: TopicDescription) -> bool:
    """Return whether partitions are to be added: only to the topic of the shards, where no key depends on them."""
    return wanted.topic is None and len(existing.partitions) < wanted.partitions


def find_differences(options: TopicOptions, wanted: TopicSpecification, existing: TopicDescription) -> Iterator[str]:
    """Yield a description of each difference between an existing topic and its specification.

    The topics beside the data topics may have any number of partitions (see also ``lacks_partitions``). Settings that
    Kafka does not report are skipped.
    """
    partitions = len(existing.partitions)
    if options.partitions and wanted.topic in _BY_SYMBOL and partitions != wanted.partitions:
        yield f"{partition_count(partitions)}, should be {wanted.partitions}"
    if wanted.replication_factor not in (BROKER_DEFAULT, existing.replication_factor):
        yield f"replication factor is {existing.replication_factor}, should be {wanted.replication_factor}"
    for setting, value in wanted.config:
        actual = (existing.config or {}).get(setting)
        if actual is not None and _list_items(actual) != _list_items(value):
            yield f"{setting} is {actual}, should be {value}"


def partition_count(partitions: int) -> str:
    """Return a number of partitions as text."""
    return f"{partitions} partition{'s' if partitions != 1 else ''}"


def _config(topic: AnyTopic, options: TopicOptions) -> Iterator[tuple[str, str]]:
    is_latest = isinstance(topic, LatestTopic)  # kept however old: a quiet symbol has no newer state
    yield CLEANUP_POLICY, "compact" if is_latest else "compact,delete" if topic is Topic.MARKET_STATUS else "delete"
    if options.retention_hours is not None and not is_latest:
        yield RETENTION_MS, str(options.retention_hours * _HOUR_MS)
    if options.min_insync_replicas is not None:
        yield MIN_INSYNC_REPLICAS, str(options.min_insync_replicas)


def _data_partitions(names: TopicNames, existing: Mapping[str, int]) -> int:
    counts = {existing[names[topic]] for topic in SUBSCRIBABLE if names[topic] in existing}
    return counts.pop() if len(counts) == 1 else DEFAULT_PARTITIONS


def _list_items(value: str) -> frozenset[str]:
    """Return the items of a list; Kafka keeps them in the order in which they were set."""
    return frozenset(item.strip() for item in value.split(","))
