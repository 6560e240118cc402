"""How the bridge's topics are to be, and where those that exist are otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.kafka.cluster import CLEANUP_POLICY, MIN_INSYNC_REPLICAS, RETENTION_MS
from bridge.topics import SUBSCRIBABLE, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.kafka.cluster import FoundTopic

DEFAULT_PARTITIONS = 12
#: What a broker takes for "your default" (KIP-464).
BROKERS_DEFAULT = -1
_HOUR_MS = 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Design:
    """Say how topics are to be; ``partitions`` None means as the data topics that are there, else our default.

    What else is None is left to the brokers.
    """

    partitions: int | None = None
    replication_factor: int = BROKERS_DEFAULT
    retention_hours: int | None = None
    min_insync_replicas: int | None = None


@dataclass(frozen=True, slots=True)
class TopicDesign:
    """Say how one topic is to be created."""

    topic: Topic
    name: str
    partitions: int
    replication_factor: int
    config: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        replicas = "" if self.replication_factor == BROKERS_DEFAULT else f"replication factor {self.replication_factor}"
        configured = [f"{name}={value}" for name, value in self.config]
        return ", ".join(filter(None, [f"{self.name}: {counted(self.partitions)}", replicas, *configured]))


def designed(names: Mapping[Topic, str], design: Design, existing: Mapping[str, int]) -> tuple[TopicDesign, ...]:
    """Return how each topic is to be created (design §4), were it missing; ``existing`` are partition counts."""
    partitions = design.partitions or _partitions_of_data(names, existing)
    return tuple(
        TopicDesign(
            topic,
            name,
            partitions if topic in SUBSCRIBABLE else 1,
            design.replication_factor,
            tuple(_config(topic, design)),
        )
        for topic, name in names.items()
    )


def drift(design: Design, wanted: TopicDesign, found: FoundTopic) -> Iterator[str]:
    """Yield in words each thing in which an existing topic differs from what was asked for.

    More partitions than one do no harm to the topics beside the data topics. What Kafka does not tell is passed over.
    """
    partitions = len(found.partitions)
    if design.partitions and wanted.topic in SUBSCRIBABLE and partitions != wanted.partitions:
        yield f"{counted(partitions)}, should be {wanted.partitions}"
    if wanted.replication_factor not in (BROKERS_DEFAULT, found.replication_factor):
        yield f"replication factor is {found.replication_factor}, should be {wanted.replication_factor}"
    for setting, value in wanted.config:
        actual = (found.config or {}).get(setting)
        if actual is not None and _words(actual) != _words(value):
            yield f"{setting} is {actual}, should be {value}"


def unequal(names: Mapping[Topic, str], counts: Mapping[str, int]) -> str:
    """Return the data topics with their partition counts where these differ; else nothing."""
    data = {names[topic]: counts[names[topic]] for topic in SUBSCRIBABLE if names[topic] in counts}
    return ", ".join(f"{name}: {count}" for name, count in data.items()) if len(set(data.values())) > 1 else ""


def counted(partitions: int) -> str:
    """Return a number of partitions in words."""
    return f"{partitions} partition{'s' if partitions != 1 else ''}"


def _config(topic: Topic, design: Design) -> Iterator[tuple[str, str]]:
    yield CLEANUP_POLICY, "compact,delete" if topic is Topic.MARKET_STATUS else "delete"
    if design.retention_hours is not None:
        yield RETENTION_MS, str(design.retention_hours * _HOUR_MS)
    if design.min_insync_replicas is not None:
        yield MIN_INSYNC_REPLICAS, str(design.min_insync_replicas)


def _partitions_of_data(names: Mapping[Topic, str], existing: Mapping[str, int]) -> int:
    counts = {existing[names[topic]] for topic in SUBSCRIBABLE if names[topic] in existing}
    return counts.pop() if len(counts) == 1 else DEFAULT_PARTITIONS


def _words(value: str) -> frozenset[str]:
    """Return the words of a list; Kafka keeps them in the order in which they were given."""
    return frozenset(word.strip() for word in value.split(","))
