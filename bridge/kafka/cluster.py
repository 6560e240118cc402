"""A Kafka cluster as it tells of itself: its topics, their settings, and what we may do with them.

Nothing here writes, and nothing here creates a topic: one that is asked for by name comes with the word not to
create it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from bridge.kafka.client_options import CLOSE_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

CLEANUP_POLICY, RETENTION_MS = "cleanup.policy", "retention.ms"
MIN_INSYNC_REPLICAS, MAX_MESSAGE_BYTES = "min.insync.replicas", "max.message.bytes"
_TOLD = (CLEANUP_POLICY, RETENTION_MS, MIN_INSYNC_REPLICAS, MAX_MESSAGE_BYTES)
_NO_ERROR = 0
#: A topic that has just been created may have no leaders yet.
_THERE = (_NO_ERROR, LeaderNotAvailableError.errno)
#: Position of an operation's bit (``AclOperation`` of Kafka's clients; KIP-430).
_WRITE = 4
#: What stands for operations that the broker does not tell.
_NOT_TOLD = -(1 << 31)


@dataclass(frozen=True, slots=True)
class FoundPartition:
    """Hold how one partition stands; ``leader`` is None while it has none."""

    leader: int | None
    replicas: int
    in_sync: int


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """Hold how one topic is; ``config`` and ``may_write`` are None where Kafka does not tell us."""

    name: str
    partitions: tuple[FoundPartition, ...]
    config: Mapping[str, str] | None = None
    may_write: bool | None = None

    @property
    def replication_factor(self) -> int:
        """Return the copies of the partition that has fewest."""
        return min((partition.replicas for partition in self.partitions), default=0)

    def number(self, setting: str) -> int | None:
        """Return a setting that is a number, None where it is not told."""
        value = (self.config or {}).get(setting)
        return None if value is None else int(value)


@dataclass(frozen=True, slots=True)
class Found:
    """Hold the topics that are there, and the names of those that we may not even describe."""

    topics: Mapping[str, FoundTopic] = field(default_factory=lambda: MappingProxyType({}))
    hidden: frozenset[str] = frozenset()


@asynccontextmanager
async def connected(
    options: Mapping[str, object], timeout_seconds: float = CONNECT_TIMEOUT_SECONDS
) -> AsyncIterator[AIOKafkaClient]:
    """Hold a client that has reached a broker; raises what aiokafka raises, and TimeoutError."""
    client = AIOKafkaClient(**options)
    try:
        async with asyncio.timeout(timeout_seconds):
            await client.bootstrap()
        if not client.cluster.brokers():  # how a refused OAUTHBEARER token looks to aiokafka
            raise KafkaConnectionError("No broker metadata in the answer")
        yield client
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await client.close()


async def find(client: AIOKafkaClient, names: Collection[str]) -> Found:
    """Return how these topics are, as far as Kafka tells; raises KafkaError."""
    told = (await ask(client, _DescribeTopics(sorted(names)))).to_object()["topics"]
    there = {topic["topic"]: topic for topic in told if topic["error_code"] in _THERE}
    configs = await _configs(client, there) if there else {}
    return Found(
        {name: _found(topic, configs.get(name)) for name, topic in there.items()},
        frozenset(topic["topic"] for topic in told if topic["error_code"] == TopicAuthorizationFailedError.errno),
    )


async def ask(client: AIOKafkaClient, request: Request) -> Any:
    """Return the answer of the first broker that can be reached; raises KafkaError."""
    for broker in client.cluster.brokers():
        with suppress(NodeNotReadyError):
            return await client.send(broker.nodeId, request)
    raise KafkaConnectionError("none of the brokers can be reached at the address that it advertises")


def _found(topic: Mapping[str, Any], config: Mapping[str, str] | None) -> FoundTopic:
    operations = topic.get("topic_authorized_operations", _NOT_TOLD)
    return FoundTopic(
        topic["topic"],
        tuple(
            FoundPartition(
                None if partition["leader"] < 0 else partition["leader"],
                len(partition["replicas"]),
                len(partition["isr"]),
            )
            for partition in topic["partitions"]
        ),
        config,
        None if operations == _NOT_TOLD else bool(operations >> _WRITE & 1),
    )


async def _configs(client: AIOKafkaClient, names: Collection[str]) -> dict[str, Mapping[str, str]]:
    """Return the settings of topics; one is missing where we may not see it, all on brokers that tell none."""
    resources = [(ConfigResourceType.TOPIC, name, list(_TOLD)) for name in sorted(names)]
    try:
        answer = await ask(client, DescribeConfigsRequest(resources))
    except IncompatibleBrokerVersion:
        return {}
    return {
        resource["resource_name"]: {
            entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]
        }
        for resource in answer.to_object()["resources"]
        if resource["error_code"] == _NO_ERROR
    }


# -- Metadata version 8, which aiokafka does not have: the first that tells what we may do (KIP-430) ---------------


class _TopicsDescribed(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("topic_authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _DescribeTopicsNewer(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicsDescribed
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _DescribeTopics(Request[MetadataRequest_v5 | _DescribeTopicsNewer]):  # type: ignore[misc]  # likewise
    """Ask for topics by name, in the newest version that the broker knows; Kafka 1.0 is the oldest."""

    API_KEY = 3

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, version: type[RequestStruct]) -> RequestStruct:
        """Compose the request; it never creates what it asks for."""
        if version is _DescribeTopicsNewer:
            return version(self._names, False, False, True)  # noqa: FBT003 - in the order of the schema
        return version(self._names, False)  # noqa: FBT003 - likewise
