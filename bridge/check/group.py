"""Checks of what the bridges of a group share: the topic of their shards, and the consumer group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.errors import GroupAuthorizationFailedError, KafkaError

from bridge.check.kafka_login import account
from bridge.kafka.client_options import VERSION_ERRORS, VERSION_HINT
from bridge.kafka.consumer_groups import describe_group
from bridge.kafka.partition_counts import shards_topic_problem
from bridge.kafka.topic_specification import partition_count

if TYPE_CHECKING:
    from bridge.check.report import CheckReport
    from bridge.kafka.aiokafka_internals import Client
    from bridge.kafka.cluster import TopicDescription, TopicDescriptions
    from bridge.settings import Settings

GROUP, READING = "Kafka consumer group", "Kafka read permission"
_GROUP_ACTIONS = "kafka-cluster:AlterGroup and kafka-cluster:DescribeGroup on the group"
_TOPIC_ACTIONS = "kafka-cluster:ReadData, kafka-cluster:WriteData and kafka-cluster:DescribeTopic"
#: Where a coordinator is looked for: each group has one, and it is the leader of a partition of this topic.
_NO_COORDINATOR = "Check that the brokers are healthy, and that the partitions of __consumer_offsets have leaders."


def check_shards_topic(report: CheckReport, settings: Settings, described: TopicDescriptions) -> None:
    """Report whether the topic of the shards exists, with a partition for each shard."""
    name = settings.shards_topic
    check = f"Kafka topic {name}"
    existing = described.topics.get(name)
    partitions = len(existing.partitions) if existing is not None else 0
    if name in described.unauthorized:
        hint = f"Grant Read and Write on it to {account(settings, _TOPIC_ACTIONS)}, or name another with "
        report.fail(check, "not authorized to describe it", f"{hint}KAFKA_TOPIC_SHARDS.")
    elif problem := shards_topic_problem(partitions, settings.bridge_shards, name):
        finding, _, hint = problem.partition(". ")
        report.fail(check, finding, hint)
    elif existing is not None:
        shards = f"{settings.bridge_shards} shard{'' if settings.bridge_shards == 1 else 's'}"
        count = f"{partition_count(partitions)} for {shards}"
        report.ok(check, f"{count}, replication factor {existing.replication_factor}")
        _check_read_permission(report, settings, existing)


def _check_read_permission(report: CheckReport, settings: Settings, topic: TopicDescription) -> None:
    if topic.may_read is False:
        finding = f"none for {topic.name}, in which this bridge reads who owns a shard"
        report.fail(READING, finding, f"Grant Read on it to {account(settings, _TOPIC_ACTIONS)}.")
    elif topic.may_read is None:
        hint = f"Make sure that {account(settings, _TOPIC_ACTIONS)} has Read on it; Kafka 2.3 and newer report it."
        report.warn(READING, f"not reported by this Kafka for {topic.name}", hint)
    else:
        report.ok(READING, f"granted on {topic.name}, as the brokers report")


async def check_group(report: CheckReport, client: Client, settings: Settings, timeout_seconds: float) -> None:
    """Report whether the group has a coordinator, and whether this client may join."""
    name = settings.group_id
    hint = f"Grant Read on the group {name} to {account(settings, _GROUP_ACTIONS)}."
    try:
        group = await describe_group(client, name, timeout_seconds)
    except GroupAuthorizationFailedError:
        report.fail(GROUP, f"not authorized to describe {name}", hint)
    except VERSION_ERRORS as error:
        report.warn(GROUP, f"not reported by this Kafka for {name} ({error})", VERSION_HINT)
    except (KafkaError, TimeoutError) as error:
        reason = str(error) or f"none found within {timeout_seconds:g} s"
        report.fail(GROUP, f"{name} has no coordinator that answers: {reason}", _NO_COORDINATOR)
    else:
        if group.may_read is False:
            report.fail(GROUP, f"not authorized to join {name}", hint)
            return
        members = f"{len(group.members)} member{'' if len(group.members) == 1 else 's'}"
        unknown = "" if group.may_read else "; whether this client may join is not reported"
        report.ok(GROUP, f"{name} has a coordinator, and {members} at the moment{unknown}")
