"""What Kafka reports about topics: partitions, settings, and the operations that this client is authorized for.

These requests are read-only. In particular they never create a topic: each metadata request that names topics
disables auto-creation.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.admin import DescribeConfigsRequest

from bridge.kafka.aiokafka_internals import Client
from bridge.kafka.client_options import CLOSE_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS
from bridge.kafka.metadata_request import UNKNOWN_OPERATIONS, DescribeTopicsRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from aiokafka.client import AIOKafkaClient
    from aiokafka.protocol.api import Request

CLEANUP_POLICY, RETENTION_MS = "cleanup.policy", "retention.ms"
MIN_INSYNC_REPLICAS, MAX_MESSAGE_BYTES = "min.insync.replicas", "max.message.bytes"
#: Gone in Kafka 4.0, which has one format.
MESSAGE_FORMAT = "message.format.version"
_REQUESTED_SETTINGS = (CLEANUP_POLICY, RETENTION_MS, MIN_INSYNC_REPLICAS, MAX_MESSAGE_BYTES, MESSAGE_FORMAT)
_NO_ERROR = 0
#: A topic that was just created may have no leaders yet.
_EXISTS = (_NO_ERROR, LeaderNotAvailableError.errno)
#: Position of an operation's bit (``AclOperation`` of Kafka's clients; KIP-430).
READ, WRITE = 3, 4


@dataclass(frozen=True, slots=True)
class PartitionDescription:
    """The state of a partition; ``leader`` is None if it has none."""

    leader: int | None
    replicas: int
    in_sync: int


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as Kafka describes it; what is None is not reported by this Kafka."""

    name: str
    partitions: tuple[PartitionDescription, ...]
    config: Mapping[str, str] | None = None
    may_write: bool | None = None
    may_read: bool | None = None

    @property
    def replication_factor(self) -> int:
        """Return the lowest number of replicas of any partition."""
        return min((partition.replicas for partition in self.partitions), default=0)

    def config_number(self, setting: str) -> int | None:
        """Return the value of a numeric setting, None if it is not reported."""
        value = (self.config or {}).get(setting)
        return None if value is None else int(value)


@dataclass(frozen=True, slots=True)
class TopicDescriptions:
    """The topics that exist, and the names of those that this client may not describe."""

    topics: Mapping[str, TopicDescription] = field(default_factory=lambda: MappingProxyType({}))
    unauthorized: frozenset[str] = frozenset()


@asynccontextmanager
async def open_client(
    options: Mapping[str, object], timeout_seconds: float = CONNECT_TIMEOUT_SECONDS
) -> AsyncIterator[Client]:
    """Connect a client to a broker and close it at the end; raises what aiokafka raises, and TimeoutError."""
    client = Client(options)
    try:
        async with asyncio.timeout(timeout_seconds):
            await client.bootstrap()
        yield client
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await client.close()


async def describe_topics(client: AIOKafkaClient, names: Collection[str]) -> TopicDescriptions:
    """Return descriptions of those of the topics that exist; raises KafkaError."""
    topics = (await send_to_any_broker(client, DescribeTopicsRequest(sorted(names)))).to_object()["topics"]
    existing = {topic["topic"]: topic for topic in topics if topic["error_code"] in _EXISTS}
    configs = await _describe_configs(client, existing) if existing else {}
    return TopicDescriptions(
        {name: _describe(topic, configs.get(name)) for name, topic in existing.items()},
        frozenset(topic["topic"] for topic in topics if topic["error_code"] == TopicAuthorizationFailedError.errno),
    )


async def send_to_any_broker(client: AIOKafkaClient, request: Request) -> Any:
    """Send a request to the first broker that can be reached and return its response; raises KafkaError."""
    for broker in client.cluster.brokers():
        with suppress(NodeNotReadyError):
            return await client.send(broker.nodeId, request)
    raise KafkaConnectionError("no broker can be reached at its advertised address")


def _describe(topic: Mapping[str, Any], config: Mapping[str, str] | None) -> TopicDescription:
    operations = topic.get("topic_authorized_operations", UNKNOWN_OPERATIONS)
    is_reported = operations != UNKNOWN_OPERATIONS
    return TopicDescription(
        topic["topic"],
        tuple(
            PartitionDescription(
                None if partition["leader"] < 0 else partition["leader"],
                len(partition["replicas"]),
                len(partition["isr"]),
            )
            for partition in topic["partitions"]
        ),
        config,
        bool(operations >> WRITE & 1) if is_reported else None,
        bool(operations >> READ & 1) if is_reported else None,
    )


async def _describe_configs(client: AIOKafkaClient, names: Collection[str]) -> dict[str, Mapping[str, str]]:
    """Return the settings of topics, without those that the client may not see; empty if brokers do not support it."""
    resources = [(ConfigResourceType.TOPIC, name, list(_REQUESTED_SETTINGS)) for name in sorted(names)]
    try:
        response = await send_to_any_broker(client, DescribeConfigsRequest(resources))
    except (IncompatibleBrokerVersion, NotImplementedError):
        return {}
    return {
        resource["resource_name"]: {
            entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]
        }
        for resource in response.to_object()["resources"]
        if resource["error_code"] == _NO_ERROR
    }
