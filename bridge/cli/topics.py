"""``aries-bridge topics``: create missing topics, compare existing ones, or print them as Strimzi resources."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from bridge.cli.options import BootstrapServers  # noqa: TC001 - typer reads annotations at run time
from bridge.cli.terminal import note
from bridge.errors import KafkaUnreachable, TopicConfigurationError
from bridge.kafka.strimzi import StrimziApi, manifest
from bridge.kafka.topic_admin import NoController, add_partitions, compare_topics, create_topics
from bridge.kafka.topic_specification import (
    BROKER_DEFAULT,
    DEFAULT_PARTITIONS,
    TopicOptions,
    partition_count,
    specify_shards_topic,
    specify_topics,
)
from bridge.network import event_loop
from bridge.settings import load_only
from bridge.settings.kafka_side import group_prefixes, kafka_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bridge.kafka.topic_admin import TopicComparison
    from bridge.kafka.topic_specification import TopicSpecification
    from bridge.settings import Settings

Result = TypeVar("Result")
RETRY_SECONDS: Final = 1.0


def topics(
    *,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Partitions of each data topic (default: as the existing ones, else {DEFAULT_PARTITIONS}). "
            "market-status, control and dlq get 1, shards gets BRIDGE_SHARDS.",
            show_default=False,
        ),
    ] = None,
    replication_factor: Annotated[
        int, typer.Option(min=BROKER_DEFAULT, help="Replicas of each partition; -1 = the brokers' default.")
    ] = BROKER_DEFAULT,
    retention_hours: Annotated[
        int | None, typer.Option(min=1, help="How long records are kept (default: the brokers').", show_default=False)
    ] = None,
    min_insync_replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Replicas that must have a record before it is acknowledged (default: the brokers').",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Like --dry-run, but end with 1 if a topic is missing or differs.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="SECONDS", min=0, help="How long to try if Kafka does not answer."),
    ] = 0.0,
    strimzi: Annotated[
        bool, typer.Option("--strimzi", help="Print Strimzi KafkaTopic YAML instead; does not connect to Kafka.")
    ] = False,
    cluster: Annotated[
        str | None, typer.Option(help="Name of the Strimzi Kafka resource, with --strimzi.", show_default=False)
    ] = None,
    strimzi_api: Annotated[
        StrimziApi, typer.Option(help="v1 needs Strimzi 0.49 or newer; 1.0 removed v1beta2.")
    ] = StrimziApi.V1,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Create the topics that are missing; list the others and their differences.

    Connects with the KAFKA_* settings; KAFKA_TOPIC_PREFIX and KAFKA_TOPIC_<TYPE>
    name the topics. The ARIES_* settings are not needed. The data topics (quotes,
    trades, timesales, l2, greeks) get equal partition counts, so that a symbol has
    the same partition on each; market-status is compacted, too. With
    BRIDGE_LATEST=true there are the compacted topics quotes.latest and
    trades.latest. With BRIDGE_SHARD=group there is the compacted topic shards, with
    a partition for each of BRIDGE_SHARDS, and missing partitions are added to it.
    No other topic that exists is changed.
    """
    options = TopicOptions(partitions, replication_factor, retention_hours, min_insync_replicas)
    if strimzi:
        _print_manifest(options, cluster, strimzi_api)
    elif cluster is not None:
        raise typer.BadParameter("only valid with --strimzi", param_hint="--cluster")
    else:
        settings = kafka_settings(bootstrap_servers)
        event_loop.run(create_or_compare(settings, options, dry_run=dry_run, check=check, wait_seconds=wait))


def _print_manifest(options: TopicOptions, cluster: str | None, api: StrimziApi) -> None:
    if not cluster:
        raise typer.BadParameter(
            "required with --strimzi: the name of the Kafka resource that the topics belong to", param_hint="--cluster"
        )
    # Only the topics' names matter: the connection settings may be unknown here.
    settings = load_only(os.environ, "KAFKA_TOPIC_", "BRIDGE_LATEST", *group_prefixes(os.environ))
    specifications = (*specify_topics(settings.written_topics, options, {}), *_of_group(settings, options))
    typer.echo(manifest(specifications, cluster, api), nl=False)


def _of_group(settings: Settings, options: TopicOptions) -> tuple[TopicSpecification, ...]:
    """Return the specification of the topic that only bridges of a group need."""
    if not settings.is_grouped:
        return ()
    return (specify_shards_topic(settings.shards_topic, settings.bridge_shards, options),)


async def create_or_compare(
    settings: Settings,
    options: TopicOptions,
    *,
    dry_run: bool = False,
    check: bool = False,
    wait_seconds: float = 0.0,
) -> None:
    """Create missing topics and print a line for each topic; create none with ``check`` or ``dry_run``.

    A Kafka that does not answer, or has no controller yet, is waited for.

    Raises KafkaUnreachable, and TopicConfigurationError if Kafka did not create a topic, or if ``check`` found a
    difference.
    """
    deadline = time.monotonic() + wait_seconds
    compared = await _retried(
        lambda: compare_topics(settings, settings.written_topics, options, _of_group(settings, options)), deadline
    )
    _print_existing(compared)
    if dry_run or check:
        _print_topics("missing" if check else "would create", compared.missing)
    elif compared.missing:
        await _create(settings, compared.missing, deadline)
    for topic in compared.too_small:
        has = partition_count(compared.partitions_of(topic.name))
        if check:
            _print_line("differs", f"{topic.name}: {has}, should be at least {topic.partitions}")
            continue
        if not dry_run:
            await _extend(settings, topic, deadline)
        _print_line("would extend" if dry_run else "extended", f"{topic.name}: {has}, then {topic.partitions}")
    if unequal := compared.unequal_partition_counts:
        note(
            f"the data topics have unequal partition counts ({unequal}): a symbol would not have the same partition on "
            "each, so `aries-bridge run` will not start. Add partitions to the smaller ones while nothing is written "
            "or read, or delete them and run this again."
        )
    if check and (problems := _problems(compared)):
        raise TopicConfigurationError(f"the topics are not as specified ({', '.join(problems)}).")


async def _retried(attempt: Callable[[], Awaitable[Result]], deadline: float) -> Result:
    """Try until it succeeds or the deadline (monotonic seconds) is over; note each new reason why it did not."""
    noted = ""
    while True:
        try:
            return await attempt()
        except (KafkaUnreachable, NoController) as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if str(error) != noted:
                noted = str(error)
                note(f"{noted} Trying again for {left:.0f} s (--wait).")
        await asyncio.sleep(min(RETRY_SECONDS, left))


async def _create(settings: Settings, missing: Sequence[TopicSpecification], deadline: float) -> None:
    problems = await _retried(lambda: create_topics(settings, missing), deadline)
    _print_topics("created", [topic for topic in missing if topic.name not in problems])
    if problems:
        raise TopicConfigurationError("\n".join(f"{name} was not created: {why}" for name, why in problems.items()))


async def _extend(settings: Settings, topic: TopicSpecification, deadline: float) -> None:
    if problem := await _retried(lambda: add_partitions(settings, topic), deadline):
        raise TopicConfigurationError(f"no partitions were added to {topic.name}: {problem}")


def _print_existing(compared: TopicComparison) -> None:
    if compared.is_config_hidden:
        note(
            "Kafka does not report the settings of some topics, so only their partitions are compared (the settings "
            "require the right DescribeConfigs on the topics)."
        )
    for name, differences in compared.differences.items():
        _print_line("exists", f"{name}: {partition_count(compared.partitions_of(name))}")
        for difference in differences:
            _print_line("differs", f"{name}: {difference}")
    if any(compared.differences.values()):
        note(
            "existing topics are not changed: change them with Kafka's own tools (kafka-configs.sh --alter, "
            "kafka-topics.sh --alter, or their KafkaTopic resources)."
        )


def _problems(compared: TopicComparison) -> list[str]:
    differing = {name for name, differences in compared.differences.items() if differences}
    missing, different = len(compared.missing), len(differing | {topic.name for topic in compared.too_small})
    problems = [f"missing: {missing}"] * bool(missing) + [f"different: {different}"] * bool(different)
    return problems + ["unequal partition counts"] * bool(compared.unequal_partition_counts)


def _print_topics(status: str, topics: Sequence[TopicSpecification]) -> None:
    for topic in topics:
        _print_line(status, str(topic))


def _print_line(status: str, text: str) -> None:
    typer.echo(f"{status:<13} {text}")
