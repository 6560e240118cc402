"""What is judged of topics: each fault of theirs is told with its remedy."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from bridge.check import topics
from bridge.check.report import Status
from bridge.kafka.cluster import PartitionDescription, TopicDescription, TopicDescriptions
from bridge.settings import Settings, load
from bridge.topics import Topic
from tests.check.findings import NO_ARIES, NO_KAFKA, Findings

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
    """Return a topic as it should be."""
    config = dict(CONFIG)
    if topic is Topic.MARKET_STATUS:
        config["cleanup.policy"] = "compact,delete"
    return TopicDescription(f"aries.{topic}", (WELL,) * 6, config, may_write=True)


def judged(*changed: TopicDescription, hidden: str = "", without: str = "", **environ: str) -> Findings:
    """Judge good topics but for those that are given, hidden or missing."""
    there = {
        one.name: one for one in (*(good(topic) for topic in Topic), *changed) if one.name not in (hidden, without)
    }
    findings = Findings()
    topics.judge(
        findings.report, settings(**environ), NEEDED, TopicDescriptions(there, frozenset(filter(None, [hidden])))
    )
    return findings


def quotes(**changes: object) -> TopicDescription:
    return replace(good(Topic.QUOTES), **changes)  # type: ignore[arg-type]  # each test gives what the field takes


def configured(**changes: str) -> TopicDescription:
    return quotes(config={**CONFIG, **{name.replace("_", "."): value for name, value in changes.items()}})


def test_good_topics_are_all_ok() -> None:
    """A line for each topic, and one for each property."""
    findings = judged()

    assert findings.exit_code == 0
    assert {finding.status for finding in findings.all} == {Status.OK}
    assert findings["Kafka topic aries.quotes"].finding == "6 partitions, replication factor 3"
    assert [finding.check for finding in findings.all[len(Topic) :]] == [
        topics.PARTITIONS,
        topics.LEADERS,
        topics.REPLICATION,
        topics.MIN_INSYNC,
        topics.BATCHES,
        topics.CLEANUP,
        topics.WRITING,
    ]


def test_a_missing_topic() -> None:
    """It is created by a command, or another is named by a setting."""
    findings = judged(without="aries.l2")

    findings.must("Kafka topic aries.l2", Status.FAIL, "does not exist", "`aries-bridge topics`", "KAFKA_TOPIC_L2")
    findings.must(topics.WRITING, Status.OK)


def test_a_topic_that_is_not_needed_may_be_missing() -> None:
    """Without options there are no greeks."""
    judged(without="aries.greeks").must("Kafka topic aries.greeks", Status.OK, "not needed")


def test_a_topic_that_we_may_not_see() -> None:
    """It takes a right, and the remedy says whose."""
    login = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "md",
        "KAFKA_SASL_PASSWORD": "secret",
    }
    findings = judged(hidden="aries.dlq", **login)

    findings.must("Kafka topic aries.dlq", Status.FAIL, "may not see", "Grant Write", "md (KAFKA_SASL_USERNAME)")


def test_unequal_partition_counts() -> None:
    """The bridge refuses that, as a symbol would be on different partitions."""
    findings = judged(quotes(partitions=(WELL,) * 5))

    findings.must(topics.PARTITIONS, Status.FAIL, "aries.quotes: 5", "aries.trades: 6", "`aries-bridge topics`")


def test_a_partition_without_leader() -> None:
    """Nothing can be written there."""
    judged(quotes(partitions=(WELL, replace(WELL, leader=None)) * 3)).must(
        topics.LEADERS, Status.FAIL, "in aries.quotes", "Bring the brokers back"
    )


def test_a_single_copy() -> None:
    """It works, and is a warning."""
    single = quotes(partitions=(PartitionDescription(1, 1, 1),) * 6, config={**CONFIG, "min.insync.replicas": "1"})

    findings = judged(single)
    findings.must(topics.REPLICATION, Status.WARN, "aries.quotes", "--replication-factor 3")
    findings.must(topics.MIN_INSYNC, Status.OK)
    assert findings.exit_code == 0


@pytest.mark.parametrize(
    ("topic", "status", "words"),
    [
        (configured(min_insync_replicas="3"), Status.WARN, "one less"),
        (configured(min_insync_replicas="1"), Status.WARN, "--min-insync-replicas 2"),
        (configured(min_insync_replicas="4"), Status.FAIL, "lower min.insync.replicas"),
        (quotes(partitions=(replace(WELL, in_sync=1),) * 6), Status.FAIL, "Bring the missing brokers back"),
    ],
)
def test_min_insync_replicas(topic: TopicDescription, status: Status, words: str) -> None:
    """Too many stop writing when one broker is down, or at once; one alone promises little."""
    judged(topic).must(topics.MIN_INSYNC, status, "aries.quotes", words)


@pytest.mark.parametrize(("compression", "status"), [("none", Status.FAIL), ("zstd", Status.WARN)])
def test_batches_larger_than_a_topic_takes(compression: str, status: Status) -> None:
    """Compression may make them fit; without it they never do."""
    findings = judged(configured(max_message_bytes="100000"), KAFKA_COMPRESSION=compression)

    findings.must(topics.BATCHES, status, "aries.quotes (100000)", "KAFKA_BATCH_BYTES to 100000 or less")


def test_a_cleanup_policy_that_is_not_as_designed() -> None:
    """Compacted data topics lose their history, and a market status that is not compacted its newest record."""
    findings = judged(configured(cleanup_policy="compact"), replace(good(Topic.MARKET_STATUS), config=CONFIG))

    findings.must(topics.CLEANUP, Status.WARN, "aries.quotes: cleanup.policy is compact", "kafka-configs.sh")
    findings.must(topics.CLEANUP, Status.WARN, "aries.market-status: cleanup.policy is delete, should be compact")


def test_settings_that_kafka_does_not_tell() -> None:
    """The bridge works without seeing them, so that is a warning; the rest is judged."""
    findings = judged(quotes(config=None))

    findings.must(topics.CONFIG, Status.WARN, "aries.quotes", "DescribeConfigs", "User:ANONYMOUS")
    findings.must(topics.WRITING, Status.OK)
    assert topics.MIN_INSYNC not in findings


def test_no_write_permission() -> None:
    """The brokers say so themselves."""
    findings = judged(quotes(may_write=False), replace(good(Topic.L2), may_write=None))

    findings.must(topics.WRITING, Status.FAIL, "none for aries.quotes.", "Grant Write", "KAFKA_SECURITY_PROTOCOL")


def test_a_write_permission_that_is_not_told() -> None:
    """It is not tried, as that would write; the line says so."""
    judged(quotes(may_write=None)).must(topics.WRITING, Status.WARN, "aries.quotes", "not tried")


def test_without_any_topic_there_is_nothing_more_to_say() -> None:
    """Eight missing topics are eight lines, and no more."""
    findings = Findings()
    topics.judge(findings.report, settings(), tuple(Topic), TopicDescriptions())

    assert len(findings.all) == len(Topic)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_SASL_USERNAME": "md", "KAFKA_SASL_PASSWORD": "pw"}, "md ("),
        (
            {
                "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
                "KAFKA_OAUTH_TOKEN_URL": "https://idp.example/token",
                "KAFKA_OAUTH_CLIENT_ID": "md-client",
                "KAFKA_OAUTH_CLIENT_SECRET": "pw",
            },
            "md-client (KAFKA_OAUTH_CLIENT_ID)",
        ),
    ],
)
def test_accounts_are_named(environ: dict[str, str], words: str) -> None:
    """A remedy says to whom a right is to be granted."""
    assert words in topics.account(settings(KAFKA_SECURITY_PROTOCOL="SASL_SSL", **environ))
