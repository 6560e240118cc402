"""Checks of the topics: existence, partitions, replicas, settings, and the right to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.check.group import check_shards_topic
from bridge.check.kafka_login import account
from bridge.kafka.cluster import MAX_MESSAGE_BYTES, MESSAGE_FORMAT, MIN_INSYNC_REPLICAS
from bridge.kafka.partition_counts import unequal_partition_counts
from bridge.kafka.topic_specification import (
    TopicOptions,
    find_differences,
    partition_count,
    specify_shards_topic,
    specify_topics,
)
from bridge.topics import SUBSCRIBABLE, Topic

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bridge.check.report import CheckReport
    from bridge.kafka.cluster import TopicDescription, TopicDescriptions
    from bridge.settings import Settings
    from bridge.topics import AnyTopic

PARTITIONS, LEADERS, REPLICATION = "Kafka partition counts", "Kafka leaders", "Kafka replication"
MIN_INSYNC, BATCHES, CLEANUP = "Kafka min.insync.replicas", "Kafka max.message.bytes", "Kafka cleanup policy"
CONFIG, WRITING, FORMAT = "Kafka topic settings", "Kafka write permission", "Kafka message format"
CONTROL_READING = "Kafka read permission on control"


def check_topics(
    report: CheckReport, settings: Settings, needed: Collection[AnyTopic], described: TopicDescriptions
) -> None:
    """Report on each topic, and then on the properties of all that are needed."""
    for topic in settings.written_topics:
        _check_existence(report, settings, topic, described, needed=topic in needed)
    if settings.is_grouped:
        check_shards_topic(report, settings, described)
    existing = {
        topic: described.topics[name] for topic, name in settings.written_topics.items() if name in described.topics
    }
    used = [description for topic, description in existing.items() if topic in needed]
    if not used:
        return
    _check_partitions(report, settings, used)
    data = list(used)
    if settings.is_grouped and (shards := described.topics.get(settings.shards_topic)) is not None:
        used.append(shards)  # its marks are tiny
    _check_leaders(report, used)
    _check_replication(report, used)
    if hidden := [topic for topic in used if topic.config is None]:
        hint = (
            "To have min.insync.replicas, max.message.bytes and cleanup.policy checked, grant DescribeConfigs on the "
            f"topics to {account(settings)}; the bridge itself does not need it."
        )
        report.warn(CONFIG, f"not reported for {_names(hidden, used)}", hint)
    else:
        _check_min_insync(report, used)
        _check_max_message_bytes(report, settings, data)
        _check_cleanup(report, settings, described)
        _check_format(report, used)
    _check_write_permission(report, settings, used)
    if settings.group is not None and Topic.CONTROL in existing:
        _check_read_permission(report, settings, existing[Topic.CONTROL])


def _check_existence(
    report: CheckReport, settings: Settings, topic: AnyTopic, described: TopicDescriptions, *, needed: bool
) -> None:
    name = settings.written_topics[topic]
    check = f"Kafka topic {name}"
    rename = f"name another with KAFKA_TOPIC_PREFIX or KAFKA_TOPIC_{topic.setting}."
    if (existing := described.topics.get(name)) is not None:
        count = partition_count(len(existing.partitions))
        report.ok(check, f"{count}, replication factor {existing.replication_factor}")
    elif not needed:
        report.ok(check, "does not exist or is not visible, and is not needed by these subscriptions")
    elif name in described.unauthorized:
        report.fail(check, "not authorized to describe it", f"Grant Write on it to {account(settings)}, or {rename}")
    else:
        report.fail(check, "it does not exist", f"Create it with `aries-bridge topics`, or {rename}")


def _check_partitions(report: CheckReport, settings: Settings, used: Sequence[TopicDescription]) -> None:
    counts = {topic.name: len(topic.partitions) for topic in used}
    data = [counts[name] for topic in SUBSCRIBABLE if (name := settings.topics[topic]) in counts]
    if unequal := unequal_partition_counts(settings.written_topics, counts):
        report.fail(
            PARTITIONS,
            f"the data topics differ ({unequal}), so a symbol does not have the same partition on each",
            "Add partitions to the smaller ones while nothing is written or read, or delete them and create them again "
            "with `aries-bridge topics`.",
        )
    elif data:
        report.ok(PARTITIONS, f"{data[0]} on each data topic")


def _check_leaders(report: CheckReport, used: Sequence[TopicDescription]) -> None:
    if leaderless := [topic for topic in used if any(partition.leader is None for partition in topic.partitions)]:
        hint = "Restore the brokers that have their replicas: these partitions cannot be written to until then."
        report.fail(LEADERS, f"partitions without a leader in {_names(leaderless, used)}", hint)
    else:
        report.ok(LEADERS, "every partition has one")


def _check_replication(report: CheckReport, used: Sequence[TopicDescription]) -> None:
    if single := [topic for topic in used if topic.replication_factor == 1]:
        report.warn(
            REPLICATION,
            f"only one replica of {_names(single, used)}",
            "It cannot be written to while its broker is down, and is lost with its disk: create it again with "
            "`aries-bridge topics --replication-factor 3`, or reassign the partitions.",
        )
    else:
        report.ok(REPLICATION, f"at least {min(topic.replication_factor for topic in used)} replicas of each topic")


def _check_min_insync(report: CheckReport, used: Sequence[TopicDescription]) -> None:
    minimum = {topic.name: topic.config_number(MIN_INSYNC_REPLICAS) or 1 for topic in used}
    replicated = [topic for topic in used if topic.replication_factor > 1]
    if short := [topic for topic in used if any(part.in_sync < minimum[topic.name] for part in topic.partitions)]:
        hint = "Restore the missing brokers, or lower min.insync.replicas: Kafka rejects all records until then."
        report.fail(MIN_INSYNC, f"not enough in-sync replicas: {_names(short, used)}", hint)
    elif strict := [topic for topic in replicated if minimum[topic.name] == topic.replication_factor]:
        hint = "Set it to one less (kafka-configs.sh --alter), or nothing can be written while any broker is down."
        report.warn(MIN_INSYNC, f"equal to the replication factor: {_names(strict, used)}", hint)
    elif loose := [topic for topic in replicated if minimum[topic.name] == 1]:
        finding = f"1, so that an acknowledged record can be lost with one broker: {_names(loose, used)}"
        hint = "Set it to 2 (kafka-configs.sh --alter; for new topics `aries-bridge topics --min-insync-replicas 2`)."
        report.warn(MIN_INSYNC, finding, hint)
    else:
        report.ok(MIN_INSYNC, "every topic has enough in-sync replicas")


def _check_max_message_bytes(report: CheckReport, settings: Settings, used: Sequence[TopicDescription]) -> None:
    batch = settings.kafka_batch_bytes
    small = {topic.name: limit for topic in used if (limit := topic.config_number(MAX_MESSAGE_BYTES) or batch) < batch}
    if not small:
        report.ok(BATCHES, f"every topic accepts batches of KAFKA_BATCH_BYTES ({batch})")
        return
    listed = ", ".join(f"{name} ({limit})" for name, limit in small.items())
    finding = f"less than KAFKA_BATCH_BYTES ({batch}) on {listed}"
    hint = f"Set KAFKA_BATCH_BYTES to {min(small.values())} or less, or raise max.message.bytes of the topics."
    if settings.kafka_compression == "none":
        report.fail(BATCHES, finding, hint)
    else:
        report.warn(BATCHES, f"{finding}; compressed batches may still fit", hint)


def _check_cleanup(report: CheckReport, settings: Settings, described: TopicDescriptions) -> None:
    options = TopicOptions()
    specifications = list(specify_topics(settings.written_topics, options, {}))
    if settings.is_grouped:
        specifications.append(specify_shards_topic(settings.shards_topic, settings.bridge_shards, options))
    differences = [
        f"{wanted.name}: {difference}"
        for wanted in specifications
        if wanted.name in described.topics
        for difference in find_differences(options, wanted, described.topics[wanted.name])
    ]
    if differences:
        hint = "Set it with kafka-configs.sh --alter: compaction keeps only the newest record of a symbol or shard."
        report.warn(CLEANUP, "; ".join(differences), hint)
    else:
        report.ok(CLEANUP, "as specified on every topic")


def _check_format(report: CheckReport, used: Sequence[TopicDescription]) -> None:
    """Report topics of old brokers that take no idempotent batches; newer ones report no such setting."""
    if old := [topic for topic in used if _is_old_format((topic.config or {}).get(MESSAGE_FORMAT, ""))]:
        hint = "Set it to 0.11.0 or newer (kafka-configs.sh --alter): Kafka rejects every record until then."
        report.fail(FORMAT, f"message.format.version is older than 0.11 on {_names(old, used)}", hint)


def _is_old_format(version: str) -> bool:
    return version.startswith(("0.8", "0.9", "0.10"))


def _check_write_permission(report: CheckReport, settings: Settings, used: Sequence[TopicDescription]) -> None:
    """Report the authorized operations (KIP-430): trying them would write."""
    if forbidden := [topic for topic in used if topic.may_write is False]:
        hint = f"Grant Write on the topics to {account(settings)}."
        report.fail(WRITING, f"none for {_names(forbidden, used)}", hint)
    elif unknown := [topic for topic in used if topic.may_write is None]:
        finding = f"not reported by this Kafka for {_names(unknown, used)}, and not tried, since that would write"
        hint = f"Make sure that {account(settings)} has Write on the topics; Kafka 2.3 and newer report it."
        report.warn(WRITING, finding, hint)
    else:
        report.ok(WRITING, "granted on every topic, as the brokers report")


def _check_read_permission(report: CheckReport, settings: Settings, control: TopicDescription) -> None:
    """Report whether a start can wait for other bridges of the same symbols."""
    if control.may_read is False:
        finding = f"none for {control.name}, so a start does not wait for other bridges of the same symbols"
        unless = "" if settings.is_grouped else ", or leave BRIDGE_GROUP unset"
        report.warn(CONTROL_READING, finding, f"Grant Read on it to {account(settings)}{unless}.")
    elif control.may_read:
        report.ok(CONTROL_READING, f"granted on {control.name}, as the brokers report")


def _names(some: Sequence[TopicDescription], used: Sequence[TopicDescription]) -> str:
    return "every topic" if len(some) == len(used) else ", ".join(topic.name for topic in some)
