"""What the bridge needs of a Kafka cluster, and what one lacks by the versions of requests that it announces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRODUCE, FETCH, LIST_OFFSETS, METADATA, INIT_PRODUCER_ID = 0, 1, 2, 3, 22
#: The first version of Produce that may carry zstd (KIP-110).
_ZSTD_PRODUCE_VERSION: Final = 7
_NEWER_KAFKA: Final = "Use Apache Kafka 2.1 or newer, or a service that is compatible with it."
_NEWER_BRIDGE: Final = "Use a newer aries-bridge."


class UnusableBrokers(KafkaError):  # type: ignore[misc]  # aiokafka ships no types
    """Brokers that the bridge cannot use; the text says why, and better than what the client has logged."""


class _Need(NamedTuple):
    key: int
    name: str
    #: The versions that the bridge speaks.
    oldest: int
    newest: int
    why: str


WRITING: Final = (
    _Need(METADATA, "Metadata", 0, 5, "to find the topics"),
    _Need(PRODUCE, "Produce", 3, 8, "to send record batches of format 2"),
    _Need(INIT_PRODUCER_ID, "InitProducerId", 0, 0, "to write without duplicates (idempotent producer)"),
)
READING: Final = (
    _Need(METADATA, "Metadata", 0, 5, "to find the topics"),
    _Need(FETCH, "Fetch", 4, 11, "to read record batches of format 2"),
    _Need(LIST_OFFSETS, "ListOffsets", 1, 3, "to find where topics begin and end"),
)


class Lack(NamedTuple):
    """Something that a cluster does not support, and what to do about it."""

    finding: str
    hint: str

    def __str__(self) -> str:
        return f"{self.finding}. {self.hint}"


def missing_request(versions: Mapping[int, tuple[int, int]], needs: Sequence[_Need] = WRITING) -> Lack | None:
    """Return the first request that the brokers lack and that the bridge cannot do without."""
    for need in needs:
        oldest, newest = versions.get(need.key, (0, -1))
        spoken = f"{need.oldest} to {need.newest}" if need.newest > need.oldest else f"{need.oldest}"
        wanted = f"the bridge needs {need.name} requests of version {spoken} {need.why}"
        if oldest > need.newest:
            return Lack(f"{wanted}, and the brokers support them only from version {oldest}", _NEWER_BRIDGE)
        if newest < need.oldest:
            found = f"support them only up to version {newest}" if newest >= 0 else "do not support them"
            return Lack(f"{wanted}, and the brokers {found}", _NEWER_KAFKA)
    return None


def unsupported_compression(versions: Mapping[int, tuple[int, int]], compression: str) -> Lack | None:
    """Return what the brokers lack to take batches with this compression."""
    newest = versions.get(PRODUCE, (0, -1))[1]
    if compression != "zstd" or newest >= _ZSTD_PRODUCE_VERSION:
        return None
    finding = f"the brokers support Produce requests up to version {newest}, and zstd needs {_ZSTD_PRODUCE_VERSION}"
    return Lack(finding, "Set KAFKA_COMPRESSION to lz4, snappy, gzip or none, or use Apache Kafka 2.1 or newer.")
