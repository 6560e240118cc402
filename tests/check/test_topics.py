"""Topics are checked, and each fault has its hint."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from bridge.check import group, topics
from bridge.check.report import Status
from bridge.kafka.cluster import PartitionDescription, TopicDescription, TopicDescriptions
from bridge.settings import Settings, load
from bridge.topics import LatestTopic, Topic
from tests.check.results import NO_ARIES, NO_KAFKA, Results

NEEDED = tuple(topic for topic in Topic if topic is not Topic.GREEKS)
WELL = PartitionDescription(leader=1, replicas=3, in_sync=3)
CONFIG = MappingProxyType(
    {
        "cleanup.policy": "delete",
        "retention.ms": "604800000",
        "min.insync.replicas": "2",
        "max.message.bytes": "1048588",
    }
)


def settings(**environ: str) -> Settings:
    return load({**NO_ARIES, **NO_KAFKA, **environ})


def good(topic: Topic) -> TopicDescription:
    """Return a topic without faults."""
    config = dict(CONFIG)
    if topic is Topic.MARKET_STATUS:
        config["cleanup.policy"] = "compact,delete"
    return TopicDescription(f"aries.{topic}", (WELL,) * 6, config, may_write=True)


def checked(*changed: TopicDescription, hidden: str = "", without: str = "", **environ: str) -> Results:
    """Check good topics, except those that are changed, hidden or missing."""
    there = {
        one.name: one for one in (*(good(topic) for topic in Topic), *changed) if one.name not in (hidden, without)
    }
    results = Results()
    topics.check_topics(
        results.report, settings(**environ), NEEDED, TopicDescriptions(there, frozenset(filter(None, [hidden])))
    )
    return results


def quotes(**changes: object) -> TopicDescription:
    return replace(good(Topic.QUOTES), **changes)  # type: ignore[arg-type]  # each test gives what the field takes


def configured(**changes: str) -> TopicDescription:
    return quotes(config={**CONFIG, **{name.replace("_", "."): value for name, value in changes.items()}})


def test_good_topics_are_all_ok() -> None:
    """There is a line for each topic, and one for each property."""
    results = checked()

    assert results.exit_code == 0
    assert {result.status for result in results.all} == {Status.OK}
    assert results["Kafka topic aries.quotes"].finding == "6 partitions, replication factor 3"
    assert [result.check for result in results.all[len(Topic) :]] == [
        topics.PARTITIONS,
        topics.LEADERS,
        topics.REPLICATION,
        topics.MIN_INSYNC,
        topics.BATCHES,
        topics.CLEANUP,
        topics.WRITING,
    ]


def test_topics_of_latest_states_are_checked_if_they_are_written() -> None:
    """With BRIDGE_LATEST a missing one is a failure, and one that is not compacted a warning."""
    loose = TopicDescription("aries.trades.latest", (WELL,) * 6, CONFIG, may_write=True)
    assert checked().exit_code == 0
    results = Results()
    there = {one.name: one for one in (*(good(topic) for topic in Topic), loose)}
    topics.check_topics(
        results.report, settings(BRIDGE_LATEST="true"), (*NEEDED, *LatestTopic), TopicDescriptions(there)
    )
    assert results["Kafka topic aries.quotes.latest"].status is Status.FAIL
    assert results[topics.CLEANUP].finding == "aries.trades.latest: cleanup.policy is delete, should be compact"


def test_a_missing_topic() -> None:
    """The hint is a command that creates it, or a setting that names another."""
    results = checked(without="aries.l2")

    results.expect("Kafka topic aries.l2", Status.FAIL, "does not exist", "`aries-bridge topics`", "KAFKA_TOPIC_L2")
    results.expect(topics.WRITING, Status.OK)


def test_a_topic_that_is_not_needed_may_be_missing() -> None:
    """Without options there are no greeks."""
    checked(without="aries.greeks").expect("Kafka topic aries.greeks", Status.OK, "not needed")


def test_a_topic_that_may_not_be_described() -> None:
    """The hint names the right and the account."""
    login = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "md",
        "KAFKA_SASL_PASSWORD": "secret",
    }
    results = checked(hidden="aries.dlq", **login)

    results.expect(
        "Kafka topic aries.dlq", Status.FAIL, "not authorized to describe", "Grant Write", "md (KAFKA_SASL_USERNAME)"
    )


def test_unequal_partition_counts() -> None:
    """The bridge does not start with these, since a symbol would be on different partitions."""
    results = checked(quotes(partitions=(WELL,) * 5))

    results.expect(topics.PARTITIONS, Status.FAIL, "aries.quotes: 5", "aries.trades: 6", "`aries-bridge topics`")


def test_a_partition_without_leader() -> None:
    """Nothing can be written to it, so it is a failure."""
    checked(quotes(partitions=(WELL, replace(WELL, leader=None)) * 3)).expect(
        topics.LEADERS, Status.FAIL, "in aries.quotes", "Restore the brokers"
    )


def test_a_single_replica() -> None:
    """A replication factor of 1 is a warning."""
    single = quotes(partitions=(PartitionDescription(1, 1, 1),) * 6, config={**CONFIG, "min.insync.replicas": "1"})

    results = checked(single)
    results.expect(topics.REPLICATION, Status.WARN, "aries.quotes", "--replication-factor 3")
    results.expect(topics.MIN_INSYNC, Status.OK)
    assert results.exit_code == 0


@pytest.mark.parametrize(
    ("topic", "status", "words"),
    [
        (configured(min_insync_replicas="3"), Status.WARN, "one less"),
        (configured(min_insync_replicas="1"), Status.WARN, "--min-insync-replicas 2"),
        (configured(min_insync_replicas="4"), Status.FAIL, "lower min.insync.replicas"),
        (quotes(partitions=(replace(WELL, in_sync=1),) * 6), Status.FAIL, "Restore the missing brokers"),
    ],
)
def test_min_insync_replicas(topic: TopicDescription, status: Status, words: str) -> None:
    """Too many prevent writes if a broker is down, or always; with one, acknowledged records can be lost."""
    checked(topic).expect(topics.MIN_INSYNC, status, "aries.quotes", words)


@pytest.mark.parametrize(("compression", "status"), [("none", Status.FAIL), ("zstd", Status.WARN)])
def test_batches_larger_than_a_topic_accepts(compression: str, status: Status) -> None:
    """This is a failure without compression, which may make them fit."""
    results = checked(configured(max_message_bytes="100000"), KAFKA_COMPRESSION=compression)

    results.expect(topics.BATCHES, status, "aries.quotes (100000)", "KAFKA_BATCH_BYTES to 100000 or less")


def test_a_wrong_cleanup_policy() -> None:
    """A compacted data topic loses its history, and a market status without compaction its newest record."""
    results = checked(configured(cleanup_policy="compact"), replace(good(Topic.MARKET_STATUS), config=CONFIG))

    results.expect(topics.CLEANUP, Status.WARN, "aries.quotes: cleanup.policy is compact", "kafka-configs.sh")
    results.expect(topics.CLEANUP, Status.WARN, "aries.market-status: cleanup.policy is delete, should be compact")


def test_settings_that_kafka_does_not_report() -> None:
    """The bridge does not need them, so that is a warning; the rest is checked."""
    results = checked(quotes(config=None))

    results.expect(topics.CONFIG, Status.WARN, "aries.quotes", "DescribeConfigs", "User:ANONYMOUS")
    results.expect(topics.WRITING, Status.OK)
    assert topics.MIN_INSYNC not in results


def test_no_write_permission() -> None:
    """Missing authorized operations are a failure."""
    results = checked(quotes(may_write=False), replace(good(Topic.L2), may_write=None))

    results.expect(topics.WRITING, Status.FAIL, "none for aries.quotes.", "Grant Write", "KAFKA_SECURITY_PROTOCOL")


def test_a_write_permission_that_is_not_reported() -> None:
    """It is not tried, since that would write; the line says so."""
    checked(quotes(may_write=None)).expect(topics.WRITING, Status.WARN, "aries.quotes", "not tried")


def test_without_any_topic_there_are_no_other_lines() -> None:
    """Eight missing topics are eight lines."""
    results = Results()
    topics.check_topics(results.report, settings(), tuple(Topic), TopicDescriptions())

    assert len(results.all) == len(Topic)


# -- the topic of a group's shards ------------------------------------------------------------------------------------

SHARDS = TopicDescription(
    "aries.shards", (WELL,) * 3, {**CONFIG, "cleanup.policy": "compact"}, may_write=True, may_read=True
)
GROUPED = {"BRIDGE_SHARD": "group", "BRIDGE_SHARDS": "3", "BRIDGE_GROUP": "g"}


def test_a_group_needs_a_topic_for_its_shards() -> None:
    """It is one of the topics that are used; a bridge with a shard of its own needs none."""
    results = checked(SHARDS, **GROUPED)
    results.expect("Kafka topic aries.shards", Status.OK, "3 partitions for 3 shards, replication factor 3")
    one = checked(SHARDS, **{**GROUPED, "BRIDGE_SHARDS": "1"})
    one.expect("Kafka topic aries.shards", Status.OK, "3 partitions for 1 shard, replication factor 3")
    results.expect(group.READING, Status.OK, "granted on aries.shards")
    results.expect(topics.CLEANUP, Status.OK)
    assert {result.status for result in results.all} == {Status.OK}
    assert "Kafka topic aries.shards" not in checked(SHARDS, BRIDGE_GROUP="g")


@pytest.mark.parametrize(
    ("topic", "hidden", "finding", "hint"),
    [
        (None, "", "has no topic aries.shards", "`aries-bridge topics`"),
        (None, "aries.shards", "not authorized", "Grant Read and Write"),
        (replace(SHARDS, partitions=(WELL,)), "", "too few partitions: 1", "adds them"),
    ],
)
def test_a_group_without_a_partition_for_each_shard(
    topic: TopicDescription | None, hidden: str, finding: str, hint: str
) -> None:
    """It cannot start, and the hint says who creates what is missing."""
    results = checked(*([topic] if topic else []), hidden=hidden, **GROUPED)
    results.expect("Kafka topic aries.shards", Status.FAIL, finding, hint)


def test_more_partitions_than_shards_are_fine() -> None:
    """The number of shards may be lowered again."""
    checked(replace(SHARDS, partitions=(WELL,) * 9), **GROUPED).expect("Kafka topic aries.shards", Status.OK)


@pytest.mark.parametrize("environ", [GROUPED, {"BRIDGE_GROUP": "g"}])
def test_other_bridges_must_be_seen(environ: dict[str, str]) -> None:
    """What they announce is read at the start, in a group and beside one."""
    control = good(Topic.CONTROL)
    checked(SHARDS, replace(control, may_read=True), **environ).expect(topics.CONTROL_READING, Status.OK, control.name)
    unreadable = checked(SHARDS, replace(control, may_read=False), **environ)
    unreadable.expect(topics.CONTROL_READING, Status.WARN, "does not wait for other bridges", "Grant Read on it")


def test_marks_must_be_read_written_and_compacted() -> None:
    """Each of them has its own line."""
    faulty = replace(SHARDS, may_read=False, may_write=False, config=CONFIG)
    results = checked(faulty, **GROUPED)
    results.expect(group.READING, Status.FAIL, "none for aries.shards", "Grant Read")
    results.expect(topics.WRITING, Status.FAIL, "none for aries.shards")
    results.expect(topics.CLEANUP, Status.WARN, "aries.shards: cleanup.policy is delete, should be compact")
    checked(replace(SHARDS, may_read=None), **GROUPED).expect(group.READING, Status.WARN, "not reported")
