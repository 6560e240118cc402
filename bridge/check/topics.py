"""Are the topics as the bridge needs them, and may it write to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.kafka.cluster import MAX_MESSAGE_BYTES, MIN_INSYNC_REPLICAS
from bridge.kafka.topic_specification import TopicOptions, specify_topics
from bridge.topics import SUBSCRIBABLE, Topic

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bridge.check.report import Report
    from bridge.kafka.cluster import TopicDescription, TopicDescriptions
    from bridge.settings import Settings

PARTITIONS, LEADERS, REPLICATION = "Kafka partition counts", "Kafka leaders", "Kafka replication"
MIN_INSYNC, BATCHES, CLEANUP = "Kafka min.insync.replicas", "Kafka max.message.bytes", "Kafka cleanup policy"
CONFIG, WRITING = "Kafka topic settings", "Kafka write permission"


def judge(report: Report, settings: Settings, needed: Collection[Topic], found: TopicDescriptions) -> None:
    """Report on each topic, and then on what they have in common."""
    for topic in settings.topics:
        _judge_existence(report, settings, topic, found, needed=topic in needed)
    there = {topic: found.topics[name] for topic, name in settings.topics.items() if name in found.topics}
    used = [one for topic, one in there.items() if topic in needed]
    if not used:
        return
    _judge_partitions(report, settings, used)
    _judge_leaders(report, used)
    _judge_replication(report, used)
    if not (untold := [topic for topic in used if topic.config is None]):
        _judge_min_insync(report, used)
        _judge_batches(report, settings, used)
        _judge_cleanup(report, settings, there)
    else:
        report.warn(
            CONFIG,
            f"not told for {_names(untold, used)}",
            f"To have min.insync.replicas, max.message.bytes and cleanup.policy checked, grant DescribeConfigs on the "
            f"topics to {account(settings)}; the bridge itself does not need it.",
        )
    _judge_writing(report, settings, used)


def account(settings: Settings) -> str:
    """Return in words as whom we log in."""
    if settings.kafka_sasl_username is not None:
        return f"{settings.kafka_sasl_username} (KAFKA_SASL_USERNAME)"
    if settings.kafka_oauth_client_id is not None:
        return f"{settings.kafka_oauth_client_id} (KAFKA_OAUTH_CLIENT_ID)"
    if settings.kafka_ssl_certfile is not None:
        return "the subject of the certificate in KAFKA_SSL_CERTFILE"
    return "User:ANONYMOUS (we do not log in: KAFKA_SECURITY_PROTOCOL)"


def _judge_existence(
    report: Report, settings: Settings, topic: Topic, found: TopicDescriptions, *, needed: bool
) -> None:
    name = settings.topics[topic]
    check = f"Kafka topic {name}"
    if (there := found.topics.get(name)) is not None:
        report.ok(check, f"{partition_count(len(there.partitions))}, replication factor {there.replication_factor}")
    elif not needed:
        report.ok(check, "not there (or not for us to see), and not needed by these subscriptions")
    elif name in found.hidden:
        report.fail(
            check,
            "we may not see it",
            f"Grant Write on it to {account(settings)}, or name another with KAFKA_TOPIC_PREFIX or "
            f"KAFKA_TOPIC_{topic.setting}.",
        )
    else:
        report.fail(
            check,
            "it does not exist",
            f"Create it with `aries-bridge topics`, or name another with KAFKA_TOPIC_PREFIX or "
            f"KAFKA_TOPIC_{topic.setting}.",
        )


def _judge_partitions(report: Report, settings: Settings, used: Sequence[TopicDescription]) -> None:
    counts = {topic.name: len(topic.partitions) for topic in used}
    data = [count for topic in SUBSCRIBABLE if (count := counts.get(settings.topics[topic])) is not None]
    if listed := unequal_partition_counts(settings.topics, counts):
        report.fail(
            PARTITIONS,
            f"the data topics differ ({listed}), so a symbol has not the same partition on each",
            "Add partitions to the smaller ones while nothing is written or read, or delete them and create them anew "
            "with `aries-bridge topics`.",
        )
    elif data:
        report.ok(PARTITIONS, f"{data[0]} on each data topic")


def _judge_leaders(report: Report, used: Sequence[TopicDescription]) -> None:
    leaderless = [topic for topic in used if any(partition.leader is None for partition in topic.partitions)]
    if leaderless:
        report.fail(
            LEADERS,
            f"partitions without a leader in {_names(leaderless, used)}",
            "Bring the brokers back that hold them: until then nothing is written to these partitions.",
        )
        return
    report.ok(LEADERS, "every partition has one")


def _judge_replication(report: Report, used: Sequence[TopicDescription]) -> None:
    if single := [topic for topic in used if topic.replication_factor == 1]:
        report.warn(
            REPLICATION,
            f"only one copy of {_names(single, used)}",
            "With its broker down nothing is written there, and with its disk gone the records are: re-create with "
            "`aries-bridge topics --replication-factor 3`, or reassign the partitions.",
        )
    else:
        report.ok(REPLICATION, f"at least {min(topic.replication_factor for topic in used)} copies of each topic")


def _judge_min_insync(report: Report, used: Sequence[TopicDescription]) -> None:
    needs = {topic.name: topic.number(MIN_INSYNC_REPLICAS) or 1 for topic in used}
    short = [topic for topic in used if any(part.in_sync < needs[topic.name] for part in topic.partitions)]
    copied = [topic for topic in used if topic.replication_factor > 1]
    if short:
        report.fail(
            MIN_INSYNC,
            f"fewer copies in sync than it asks for: {_names(short, used)}",
            "Bring the missing brokers back, or lower min.insync.replicas: until then Kafka takes no record.",
        )
    elif strict := [topic for topic in copied if needs[topic.name] == topic.replication_factor]:
        report.warn(
            MIN_INSYNC,
            f"as many as there are copies: {_names(strict, used)}",
            "With any one broker down nothing is written: set it to one less (kafka-configs.sh --alter).",
        )
    elif loose := [topic for topic in copied if needs[topic.name] == 1]:
        report.warn(
            MIN_INSYNC,
            f"1, so that a record can be acknowledged and lost with one broker: {_names(loose, used)}",
            "Set it to 2 (kafka-configs.sh --alter, or `aries-bridge topics --min-insync-replicas 2` for new topics).",
        )
    else:
        report.ok(MIN_INSYNC, "there are copies enough for it on every topic")


def _judge_batches(report: Report, settings: Settings, used: Sequence[TopicDescription]) -> None:
    batch = settings.kafka_batch_bytes
    small = {topic.name: most for topic in used if (most := topic.number(MAX_MESSAGE_BYTES) or batch) < batch}
    if not small:
        report.ok(BATCHES, f"every topic takes batches of KAFKA_BATCH_BYTES ({batch})")
        return
    said = f"less than KAFKA_BATCH_BYTES ({batch}) on {', '.join(f'{name} ({most})' for name, most in small.items())}"
    remedy = f"Set KAFKA_BATCH_BYTES to {min(small.values())} or less, or raise max.message.bytes of the topics."
    if settings.kafka_compression == "none":
        report.fail(BATCHES, said, remedy)
    else:
        report.warn(BATCHES, f"{said}; compression may still make them fit", remedy)


def _judge_cleanup(report: Report, settings: Settings, there: Mapping[Topic, TopicDescription]) -> None:
    as_designed = specify_topics(settings.topics, TopicOptions(), {})
    differences = [
        f"{wanted.name}: {difference}"
        for wanted in as_designed
        if wanted.topic in there
        for difference in find_differences(TopicOptions(), wanted, there[wanted.topic])
    ]
    if differences:
        report.warn(
            CLEANUP,
            "; ".join(differences),
            "Set it with kafka-configs.sh --alter: compaction keeps the newest record of a symbol alone.",
        )
    else:
        report.ok(CLEANUP, "as designed on every topic")


def _judge_writing(report: Report, settings: Settings, used: Sequence[TopicDescription]) -> None:
    """Report what the brokers say that we may do (KIP-430): to try it, one would have to write."""
    if forbidden := [topic for topic in used if topic.may_write is False]:
        report.fail(
            WRITING, f"none for {_names(forbidden, used)}", f"Grant Write on the topics to {account(settings)}."
        )
    elif untold := [topic for topic in used if topic.may_write is None]:
        report.warn(
            WRITING,
            f"not told by this Kafka for {_names(untold, used)}, and not tried, as that would write",
            f"See to it that {account(settings)} has Write on the topics; Kafka 2.3 and newer tell.",
        )
    else:
        report.ok(WRITING, "granted on every topic, by the brokers' own words")


def _names(some: Sequence[TopicDescription], used: Sequence[TopicDescription]) -> str:
    return "every topic" if len(some) == len(used) else ", ".join(topic.name for topic in some)
