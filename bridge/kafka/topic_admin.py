"""Comparing the bridge's topics with their specifications, and creating those that are missing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationAssignmentError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from bridge.errors import TopicConfigurationError
from bridge.kafka.aiokafka_internals import AdminClient
from bridge.kafka.client_options import (
    CLOSE_TIMEOUT_SECONDS,
    CONNECT_TIMEOUT_SECONDS,
    VERSION_ERRORS,
    KafkaSettings,
    bootstrap_servers,
    client_options,
    readable_errors,
)
from bridge.kafka.cluster import TopicDescriptions, describe_topics, open_client
from bridge.kafka.partition_counts import unequal_partition_counts
from bridge.kafka.topic_specification import (
    BROKER_DEFAULT,
    TopicOptions,
    TopicSpecification,
    find_differences,
    lacks_partitions,
    specify_topics,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from aiokafka.client import AIOKafkaClient

    from bridge.topics import TopicNames

CREATE_TIMEOUT_SECONDS = 20.0
#: How long to wait until created topics appear in metadata, so that `aries-bridge run` finds them.
LISTED_TIMEOUT_SECONDS = 10.0
_LIST_INTERVAL_SECONDS = 0.1
_DESCRIBE_TIMEOUT_SECONDS = 15.0


#: How brokers answer that only a number of replicas will do (KIP-464).
_NO_DEFAULT_REPLICATION = (InvalidReplicationFactorError, InvalidReplicationAssignmentError, InvalidRequestError)


_NOT_AUTHORIZED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
_TO_ACCOUNT = "to the account of KAFKA_SASL_USERNAME (or of the client certificate), or let an administrator run this."


class NoController(TopicConfigurationError):
    """A cluster without a controller, which creates no topics: it may be electing one."""


@dataclass(frozen=True)
class TopicComparison:
    """The bridge's topics as they are specified and as they exist; ``also`` are further ones."""

    names: TopicNames
    options: TopicOptions
    existing: TopicDescriptions
    also: tuple[TopicSpecification, ...] = ()

    @cached_property
    def specifications(self) -> tuple[TopicSpecification, ...]:
        """Return the specification of every topic."""
        return (*specify_topics(self.names, self.options, self._partition_counts), *self.also)

    @property
    def missing(self) -> list[TopicSpecification]:
        """Return the specifications of the topics that do not exist."""
        return [wanted for wanted in self.specifications if wanted.name not in self.existing.topics]

    @property
    def too_small(self) -> list[TopicSpecification]:
        """Return the specifications of the topics to which partitions are to be added."""
        topics = self.existing.topics
        return [one for one in self.also if one.name in topics and lacks_partitions(one, topics[one.name])]

    @property
    def differences(self) -> dict[str, list[str]]:
        """Return the differences of each existing topic by name, none if it is as specified."""
        return {
            wanted.name: list(find_differences(self.options, wanted, topic))
            for wanted in self.specifications
            if (topic := self.existing.topics.get(wanted.name)) is not None
        }

    def partitions_of(self, name: str) -> int:
        """Return how many partitions an existing topic has."""
        return len(self.existing.topics[name].partitions)

    @property
    def unequal_partition_counts(self) -> str:
        """Return the data topics with their partition counts if these will differ, else an empty string."""
        specified = {wanted.name: wanted.partitions for wanted in self.specifications}
        return unequal_partition_counts(self.names, specified | self._partition_counts)

    @property
    def is_config_hidden(self) -> bool:
        """Return whether Kafka does not report the settings of a topic."""
        return any(topic.config is None for topic in self.existing.topics.values())

    @property
    def _partition_counts(self) -> dict[str, int]:
        return {name: len(topic.partitions) for name, topic in self.existing.topics.items()}


async def compare_topics(
    settings: KafkaSettings, names: TopicNames, options: TopicOptions, also: tuple[TopicSpecification, ...] = ()
) -> TopicComparison:
    """Return how existing topics compare with their specifications; raises KafkaUnreachable."""
    every = [*names.values(), *(topic.name for topic in also)]
    connection = client_options(settings, "topics")
    async with (
        readable_errors(connection),
        open_client(connection) as client,
        asyncio.timeout(_DESCRIBE_TIMEOUT_SECONDS),
    ):
        return TopicComparison(names, options, await describe_topics(client, every), also)


async def create_topics(settings: KafkaSettings, missing: Sequence[TopicSpecification]) -> dict[str, str]:
    """Create topics; return the names of those that Kafka rejected, with the reasons.

    Raises KafkaUnreachable, and TopicConfigurationError if this Kafka cannot create topics.
    """
    connection = client_options(settings, "topics")
    async with readable_errors(connection):
        async with _open_admin_client(connection) as admin:
            problems = await _create(admin, bootstrap_servers(settings), missing)
        async with open_client(connection) as client:
            await _wait_until_listed(client, {one.name: one.partitions for one in missing if one.name not in problems})
    return problems


async def add_partitions(settings: KafkaSettings, topic: TopicSpecification) -> str:
    """Add partitions to a topic until it has as many as specified; return why Kafka rejected that, empty if not.

    Raises KafkaUnreachable, and TopicConfigurationError if this Kafka cannot add partitions.
    """
    connection = client_options(settings, "topics")
    async with readable_errors(connection):
        async with _open_admin_client(connection) as admin:
            await _check_controller(admin, bootstrap_servers(settings))
            try:
                await admin.create_partitions(
                    {topic.name: NewPartitions(topic.partitions)}, timeout_ms=int(CREATE_TIMEOUT_SECONDS * 1000)
                )
            except VERSION_ERRORS as error:
                raise TopicConfigurationError(
                    f"Kafka at {bootstrap_servers(settings)} does not support requests to add partitions: add them to "
                    f"{topic.name} with its own tools."
                ) from error
            except _NOT_AUTHORIZED:
                return f"not authorized. Grant Alter on the topic {_TO_ACCOUNT}"
            except KafkaError as error:
                return f"{str(error).rstrip('.')}."
        async with open_client(connection) as client:
            await _wait_until_listed(client, {topic.name: topic.partitions})
    return ""


def creation_problem(code: int, message: str | None = None, *, replicas: int = BROKER_DEFAULT) -> str:
    """Return why Kafka did not create a topic with so many replicas, and what to do; empty if it exists now."""
    error = for_code(code)
    if error in {NoError, TopicAlreadyExistsError}:
        return ""
    if error in _NOT_AUTHORIZED:
        return f"not authorized. Grant Create on the topic (or the cluster) {_TO_ACCOUNT}"
    problem = f"{(message or error.description).rstrip('.')} ({error.__name__})."
    if replicas == BROKER_DEFAULT and error in _NO_DEFAULT_REPLICATION:
        return (
            f"{problem} If this Kafka has no default for it (Apache Kafka before 2.4), set --replication-factor: "
            "usually 3, or 1 with a single broker."
        )
    if error is InvalidReplicationFactorError:
        return f"{problem} Set --replication-factor to at most the number of brokers."
    return problem


@asynccontextmanager
async def _open_admin_client(options: Mapping[str, object]) -> AsyncIterator[AdminClient]:
    admin = AdminClient(options)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            await admin.start()
        yield admin
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await admin.close()


async def _check_controller(admin: AdminClient, servers: str) -> None:
    cluster = await admin.describe_cluster()
    if cluster["controller_id"] not in {broker["node_id"] for broker in cluster["brokers"]}:
        raise NoController(
            f"Kafka at {servers} cannot create topics, because it has no controller. If this is Apache Kafka, it is "
            "electing one: try again. The embedded broker of `aries-bridge dev` has none: `dev` creates its topics."
        )


async def _create(admin: AdminClient, servers: str, missing: Sequence[TopicSpecification]) -> dict[str, str]:
    await _check_controller(admin, servers)
    try:
        response = await admin.create_topics(
            [_new_topic(topic) for topic in missing], timeout_ms=int(CREATE_TIMEOUT_SECONDS * 1000)
        )
    except VERSION_ERRORS as error:
        raise TopicConfigurationError(
            f"Kafka at {servers} does not support requests to create topics: create them with its own tools "
            "(`aries-bridge topics --dry-run` lists them)."
        ) from error
    replicas = {topic.name: topic.replication_factor for topic in missing}
    return {
        name: problem
        for name, *error in response.topic_errors
        if (problem := creation_problem(*error, replicas=replicas[name]))
    }


def _new_topic(topic: TopicSpecification) -> NewTopic:
    # aiokafka accepts the brokers' default only together with a replica assignment, which may be empty.
    assignment: dict[int, list[int]] | None = {} if topic.replication_factor == BROKER_DEFAULT else None
    return NewTopic(topic.name, topic.partitions, topic.replication_factor, assignment, dict(topic.config))


async def _wait_until_listed(client: AIOKafkaClient, partitions: Mapping[str, int]) -> None:
    """Wait until metadata has topics with so many partitions."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LISTED_TIMEOUT_SECONDS):
            while not await _are_listed(client, partitions):  # noqa: ASYNC110 - Kafka sends no notification
                await asyncio.sleep(_LIST_INTERVAL_SECONDS)


async def _are_listed(client: AIOKafkaClient, partitions: Mapping[str, int]) -> bool:
    described = await describe_topics(client, partitions)
    listed = {name for name, topic in described.topics.items() if len(topic.partitions) >= partitions[name]}
    return set(partitions) <= listed | described.unauthorized
