"""``aries-bridge topics``: create the topics that are missing, as design and consumers expect them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from bridge.errors import TopicsUnfit
from bridge.kafka.access import CONNECT_TIMEOUT_SECONDS, client_options, kafka_settings, reaching, servers
from bridge.topics import SUBSCRIBABLE, Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

    from bridge.settings import Settings

DEFAULT_PARTITIONS = 12
#: What a broker takes for "your default" (KIP-464).
BROKERS_DEFAULT = -1
CREATE_TIMEOUT_SECONDS = 20.0
CLOSE_TIMEOUT_SECONDS = 3.0
#: How long to wait until what was created is listed: `aries-bridge run` may be next.
LISTED_TIMEOUT_SECONDS = 10.0
_LIST_AGAIN_SECONDS = 0.1
_HOUR_MS = 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Design:
    """Say how topics are to be; ``partitions`` None means as the data topics that are there."""

    partitions: int | None = None
    replication_factor: int = BROKERS_DEFAULT
    retention_hours: int | None = None


@dataclass(frozen=True, slots=True)
class TopicDesign:
    """Say how one topic is to be created."""

    name: str
    partitions: int
    replication_factor: int
    config: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        replicas = "" if self.replication_factor == BROKERS_DEFAULT else f"replication factor {self.replication_factor}"
        configured = [f"{name}={value}" for name, value in self.config]
        return ", ".join(filter(None, [f"{self.name}: {_counted(self.partitions)}", replicas, *configured]))


def topics(
    *,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Partitions of each data topic (default: as those that exist, else {DEFAULT_PARTITIONS}). "
            "market-status, control and dlq get 1.",
            show_default=False,
        ),
    ] = None,
    replication_factor: Annotated[
        int, typer.Option(min=BROKERS_DEFAULT, help="Copies of each partition; -1 = the brokers' default.")
    ] = BROKERS_DEFAULT,
    retention_hours: Annotated[
        int | None, typer.Option(min=1, help="How long records are kept (default: the brokers').", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    bootstrap_servers: Annotated[
        str | None, typer.Option("--bootstrap-servers", "-b", help="Instead of KAFKA_BOOTSTRAP_SERVERS.")
    ] = None,
) -> None:
    """Create the topics that are missing; list the others and leave them alone.

    Connects by the KAFKA_* settings; KAFKA_TOPIC_PREFIX and KAFKA_TOPIC_<TYPE>
    name the topics. Those of Aries are not needed. The data topics (quotes,
    trades, timesales, l2, greeks) get equal numbers of partitions, so that a
    symbol has the same one on each; market-status is compacted, too.
    """
    design = Design(partitions, replication_factor, retention_hours)
    asyncio.run(arrange(kafka_settings(bootstrap_servers), design, dry_run=dry_run))


async def arrange(settings: Settings, design: Design, *, dry_run: bool = False) -> None:
    """Create what is missing, and print a line for each topic.

    Raises KafkaUnreachable, and TopicsUnfit where Kafka did not create a topic.
    """
    async with _admin(settings) as admin:
        with reaching(servers(settings)):
            existing = await _partition_counts(admin)
        designs = designed(settings.topics, design, existing)
        missing = [topic for topic in designs if topic.name not in existing]
        for topic in designs:
            if topic not in missing:
                typer.echo(f"exists        {topic.name}: {_counted(existing[topic.name])}")
        if dry_run:
            _tell("would create", missing)
        elif missing:
            await _create(admin, settings, missing)
    _note_unequal(settings.topics, {topic.name: topic.partitions for topic in designs} | existing)


def designed(names: Mapping[Topic, str], design: Design, existing: Mapping[str, int]) -> tuple[TopicDesign, ...]:
    """Return how each topic is to be created (design §4), were it missing."""
    partitions = design.partitions or _partitions_of_data(names, existing)
    return tuple(
        TopicDesign(
            name,
            partitions if topic in SUBSCRIBABLE else 1,
            design.replication_factor,
            tuple(_config(topic, design.retention_hours)),
        )
        for topic, name in names.items()
    )


def _config(topic: Topic, retention_hours: int | None) -> Iterable[tuple[str, str]]:
    yield "cleanup.policy", "compact,delete" if topic is Topic.MARKET_STATUS else "delete"
    if retention_hours is not None:
        yield "retention.ms", str(retention_hours * _HOUR_MS)


def _partitions_of_data(names: Mapping[Topic, str], existing: Mapping[str, int]) -> int:
    counts = {existing[names[topic]] for topic in SUBSCRIBABLE if names[topic] in existing}
    return counts.pop() if len(counts) == 1 else DEFAULT_PARTITIONS


def _note_unequal(names: Mapping[Topic, str], counts: Mapping[str, int]) -> None:
    data = {names[topic]: counts[names[topic]] for topic in SUBSCRIBABLE}
    if len(set(data.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in data.items())
        typer.echo(
            f"aries-bridge: the data topics differ in their numbers of partitions ({listed}): a symbol would not have "
            "the same partition on each, and `aries-bridge run` refuses that. Add partitions to the smaller ones "
            "while nothing is written or read, or delete them and run this again.",
            err=True,
        )


# -- Kafka --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Hold a started admin client; raises KafkaUnreachable."""
    admin = AIOKafkaAdminClient(**client_options(settings, "topics"))
    try:
        with reaching(servers(settings)):
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await admin.start()
        yield admin
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await admin.close()


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Return the topics that exist; none is named in the request, which would create it on some brokers."""
    async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
        return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}


async def _create(admin: AIOKafkaAdminClient, settings: Settings, missing: Sequence[TopicDesign]) -> None:
    with reaching(servers(settings)):
        problems = await _refused(admin, settings, missing)
        created = [topic for topic in missing if topic.name not in problems]
        await _listed(admin, {topic.name for topic in created})
    _tell("created", created)
    if problems:
        raise TopicsUnfit("\n".join(f"{name} was not created: {why}" for name, why in problems.items()))


async def _refused(admin: AIOKafkaAdminClient, settings: Settings, missing: Sequence[TopicDesign]) -> dict[str, str]:
    """Have topics created; return those that Kafka did not create, and why."""
    cluster = await admin.describe_cluster()
    if cluster["controller_id"] not in {broker["node_id"] for broker in cluster["brokers"]}:
        raise TopicsUnfit(
            f"Kafka at {servers(settings)} creates no topics, since it has no controller. An Apache Kafka is just "
            "electing one: try again. The embedded broker of `aries-bridge dev` has none: `dev` creates its topics."
        )
    new = [_new_topic(topic) for topic in missing]
    try:
        answer = await admin.create_topics(new, timeout_ms=int(CREATE_TIMEOUT_SECONDS * 1000))
    except IncompatibleBrokerVersion as error:
        raise TopicsUnfit(
            f"Kafka at {servers(settings)} takes no request to create topics: create them by its own means "
            "(`aries-bridge topics --dry-run` tells how they should be)."
        ) from error
    return {name: why for name, *error in answer.topic_errors if (why := problem(*error))}


def _new_topic(topic: TopicDesign) -> NewTopic:
    # aiokafka takes the brokers' default only beside an assignment of replicas, which may be empty.
    assignment: dict[int, list[int]] | None = {} if topic.replication_factor == BROKERS_DEFAULT else None
    return NewTopic(topic.name, topic.partitions, topic.replication_factor, assignment, dict(topic.config))


def problem(code: int, message: str | None = None) -> str:
    """Return why Kafka did not create a topic, empty where it did or somebody else has just done so."""
    error = for_code(code)
    if error in {NoError, TopicAlreadyExistsError}:
        return ""
    if error in {TopicAuthorizationFailedError, ClusterAuthorizationFailedError}:
        return (
            "not authorised. Grant Create on the topic (or the cluster) to the account of KAFKA_SASL_USERNAME "
            "(or of the client certificate), or let an administrator run this."
        )
    return f"{(message or error.description).rstrip('.')} ({error.__name__})."


async def _listed(admin: AIOKafkaAdminClient, names: Collection[str]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LISTED_TIMEOUT_SECONDS):
            while not (await _partition_counts(admin)).keys() >= set(names):  # noqa: ASYNC110 - Kafka tells nobody
                await asyncio.sleep(_LIST_AGAIN_SECONDS)


def _tell(done: str, designs: Iterable[TopicDesign]) -> None:
    for topic in designs:
        typer.echo(f"{done:<13} {topic}")


def _counted(partitions: int) -> str:
    return f"{partitions} partition{'s' if partitions != 1 else ''}"
