"""``aries-bridge topics``: create the topics that are missing, as design and consumers expect them."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager, suppress
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

from bridge.errors import TopicConfigurationError
from bridge.kafka.client_options import CONNECT_TIMEOUT_SECONDS, client_options, readable_errors, servers
from bridge.kafka.cluster import connected, find
from bridge.kafka.strimzi import StrimziApi, manifest
from bridge.kafka.topic_specification import (
    BROKERS_DEFAULT,
    DEFAULT_PARTITIONS,
    Design,
    counted,
    designed,
    drift,
    unequal,
)
from bridge.settings.kafka_side import kafka_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

    from aiokafka.client import AIOKafkaClient

    from bridge.kafka.cluster import Found
    from bridge.kafka.topic_specification import TopicDesign
    from bridge.settings import Settings
    from bridge.topics import Topic

CREATE_TIMEOUT_SECONDS = 20.0
CLOSE_TIMEOUT_SECONDS = 3.0
#: How long to wait until what was created is listed: `aries-bridge run` may be next.
LISTED_TIMEOUT_SECONDS = 10.0
_LIST_AGAIN_SECONDS = 0.1
_DESCRIBE_TIMEOUT_SECONDS = 15.0


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
    min_insync_replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Copies that must have a record before it counts as written (default: the brokers').",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Like --dry-run, but end with 1 if a topic is missing or differs.")
    ] = False,
    strimzi: Annotated[
        bool, typer.Option("--strimzi", help="Print Strimzi KafkaTopic YAML instead; asks no Kafka.")
    ] = False,
    cluster: Annotated[
        str | None, typer.Option(help="Name of Strimzi's Kafka resource, with --strimzi.", show_default=False)
    ] = None,
    strimzi_api: Annotated[
        StrimziApi, typer.Option(help="v1 is Strimzi 0.49 and newer, v1beta2 is older than 1.0.")
    ] = StrimziApi.V1,
    bootstrap_servers: Annotated[
        str | None, typer.Option("--bootstrap-servers", "-b", help="Instead of KAFKA_BOOTSTRAP_SERVERS.")
    ] = None,
) -> None:
    """Create the topics that are missing; list the others, and say where they differ.

    Connects by the KAFKA_* settings; KAFKA_TOPIC_PREFIX and KAFKA_TOPIC_<TYPE>
    name the topics. Those of Aries are not needed. The data topics (quotes,
    trades, timesales, l2, greeks) get equal numbers of partitions, so that a
    symbol has the same one on each; market-status is compacted, too. A topic
    that exists is never changed.
    """
    design = Design(partitions, replication_factor, retention_hours, min_insync_replicas)
    if strimzi:
        _print_manifest(design, cluster, strimzi_api)
    elif cluster is not None:
        raise typer.BadParameter("it has no meaning without --strimzi", param_hint="--cluster")
    else:
        asyncio.run(arrange(kafka_settings(bootstrap_servers), design, dry_run=dry_run, check=check))


def _print_manifest(design: Design, cluster: str | None, api: StrimziApi) -> None:
    if not cluster:
        raise typer.BadParameter(
            "--strimzi needs it: the name of the Kafka resource that the topics belong to", param_hint="--cluster"
        )
    # How to reach Kafka does not matter here, and may not be known.
    naming = {name: value for name, value in os.environ.items() if name.startswith("KAFKA_TOPIC_")}
    settings = kafka_settings("unused:9092", naming)
    typer.echo(manifest(designed(settings.topics, design, {}), cluster, api), nl=False)


async def arrange(settings: Settings, design: Design, *, dry_run: bool = False, check: bool = False) -> None:
    """Create what is missing, and print a line for each topic; with ``check`` or a dry run create nothing.

    Raises KafkaUnreachable, and TopicConfigurationError if Kafka did not create a topic, or ``check`` found one
    missing or different.
    """
    async with _client(settings) as client:
        with readable_errors(servers(settings)):
            found = await _found(client, settings.topics)
        existing = {name: len(topic.partitions) for name, topic in found.topics.items()}
        designs = designed(settings.topics, design, existing)
        missing = [topic for topic in designs if topic.name not in existing]
        differing = _tell_existing(designs, design, found)
        if dry_run or check:
            _tell("missing" if check else "would create", missing)
        elif missing:
            await _create(client, settings, missing)
    apart = _note_unequal(settings.topics, {topic.name: topic.partitions for topic in designs} | existing)
    if check and (missing or differing or apart):
        raise TopicConfigurationError(_summary(len(missing), differing, apart=apart))


def _summary(missing: int, differing: int, *, apart: bool) -> str:
    faults = [f"missing: {missing}"] * bool(missing) + [f"different: {differing}"] * bool(differing)
    return f"the topics are not as they should be ({', '.join([*faults, *['unequal partition counts'] * apart])})."


@asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[AIOKafkaClient]:
    """Hold a connected client; raises KafkaUnreachable."""
    async with AsyncExitStack() as stack:
        with readable_errors(servers(settings)):
            client = await stack.enter_async_context(connected(client_options(settings, "topics")))
        yield client


async def _found(client: AIOKafkaClient, names: Mapping[Topic, str]) -> Found:
    async with asyncio.timeout(_DESCRIBE_TIMEOUT_SECONDS):
        return await find(client, names.values())


def _tell_existing(designs: Iterable[TopicDesign], design: Design, found: Found) -> int:
    """Print a line for each topic that exists, and one for each difference; return how many differ."""
    differing = 0
    _note_untold(found)
    for wanted in designs:
        if (topic := found.topics.get(wanted.name)) is None:
            continue
        typer.echo(f"exists        {topic.name}: {counted(len(topic.partitions))}")
        differences = list(drift(design, wanted, topic))
        differing += bool(differences)
        for difference in differences:
            typer.echo(f"differs       {topic.name}: {difference}")
    if differing:
        typer.echo(
            "aries-bridge: topics that exist are left as they are: change them with Kafka's own means "
            "(kafka-configs.sh --alter, kafka-topics.sh --alter, or their KafkaTopic resources).",
            err=True,
        )
    return differing


def _note_untold(found: Found) -> None:
    if any(topic.config is None for topic in found.topics.values()):
        typer.echo(
            "aries-bridge: Kafka does not tell the settings of some topics, so only their partitions are compared "
            "(telling them takes the right DescribeConfigs on the topics).",
            err=True,
        )


def _note_unequal(names: Mapping[Topic, str], counts: Mapping[str, int]) -> bool:
    """Say it where the data topics' partition counts differ; return whether they do."""
    listed = unequal(names, counts)
    if listed:
        typer.echo(
            f"aries-bridge: the data topics differ in their numbers of partitions ({listed}): a symbol would not have "
            "the same partition on each, and `aries-bridge run` refuses that. Add partitions to the smaller ones "
            "while nothing is written or read, or delete them and run this again.",
            err=True,
        )
    return bool(listed)


# -- creating -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_options(settings, "topics"))
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            await admin.start()
        yield admin
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await admin.close()


async def _create(client: AIOKafkaClient, settings: Settings, missing: Sequence[TopicDesign]) -> None:
    with readable_errors(servers(settings)):
        async with _admin(settings) as admin:
            problems = await _refused(admin, settings, missing)
        created = [topic for topic in missing if topic.name not in problems]
        await _listed(client, [topic.name for topic in created])
    _tell("created", created)
    if problems:
        raise TopicConfigurationError("\n".join(f"{name} was not created: {why}" for name, why in problems.items()))


async def _refused(admin: AIOKafkaAdminClient, settings: Settings, missing: Sequence[TopicDesign]) -> dict[str, str]:
    """Have topics created; return those that Kafka did not create, and why."""
    cluster = await admin.describe_cluster()
    if cluster["controller_id"] not in {broker["node_id"] for broker in cluster["brokers"]}:
        raise TopicConfigurationError(
            f"Kafka at {servers(settings)} creates no topics, since it has no controller. An Apache Kafka is just "
            "electing one: try again. The embedded broker of `aries-bridge dev` has none: `dev` creates its topics."
        )
    new = [_new_topic(topic) for topic in missing]
    try:
        answer = await admin.create_topics(new, timeout_ms=int(CREATE_TIMEOUT_SECONDS * 1000))
    except IncompatibleBrokerVersion as error:
        raise TopicConfigurationError(
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


async def _listed(client: AIOKafkaClient, names: Collection[str]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LISTED_TIMEOUT_SECONDS):
            while not await _all_listed(client, names):  # noqa: ASYNC110 - Kafka tells nobody
                await asyncio.sleep(_LIST_AGAIN_SECONDS)


async def _all_listed(client: AIOKafkaClient, names: Collection[str]) -> bool:
    found = await find(client, names)
    return set(names) <= found.topics.keys() | found.hidden


def _tell(done: str, designs: Iterable[TopicDesign]) -> None:
    for topic in designs:
        typer.echo(f"{done:<13} {topic}")
