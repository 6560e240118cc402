"""Topics are specified, and existing topics compared with their specifications."""

from __future__ import annotations

import pytest

from bridge.kafka.cluster import PartitionDescription, TopicDescription
from bridge.kafka.partition_counts import shards_topic_problem, unequal_partition_counts
from bridge.kafka.topic_specification import (
    TopicOptions,
    TopicSpecification,
    find_differences,
    specify_topics,
)
from bridge.topics import Topic, topic_names

NAMES = topic_names("aries", {Topic.L2: "books"})


def wanted(topic: Topic, options: TopicOptions) -> TopicSpecification:
    return next(one for one in specify_topics(NAMES, options, {}) if one.topic is topic)


def found(topic: Topic, partitions: int, replicas: int = 3, **config: str) -> TopicDescription:
    settings = {name.replace("_", "."): value for name, value in config.items()}
    return TopicDescription(NAMES[topic], (PartitionDescription(1, replicas, replicas),) * partitions, settings)


class TestSpecifyTopics:
    def test_of_a_fresh_kafka(self) -> None:
        """Data topics have equal partition counts, the others one partition; market status is compacted, too."""
        specifications = {topic.name: topic for topic in specify_topics(NAMES, TopicOptions(), {})}

        assert {name: topic.partitions for name, topic in specifications.items()} == {
            "aries.quotes": 12,
            "aries.trades": 12,
            "aries.timesales": 12,
            "books": 12,
            "aries.greeks": 12,
            "aries.market-status": 1,
            "aries.control": 1,
            "aries.dlq": 1,
        }
        assert {
            name for name, topic in specifications.items() if topic.config == (("cleanup.policy", "compact,delete"),)
        } == {"aries.market-status"}

    def test_partitions_follow_the_data_topics_that_exist(self) -> None:
        """A missing topic gets as many partitions as the existing ones, unless a number is requested."""
        existing = {"aries.quotes": 4, "books": 4, "aries.dlq": 9}

        assert {topic.partitions for topic in specify_topics(NAMES, TopicOptions(), existing)} == {4, 1}
        assert {topic.partitions for topic in specify_topics(NAMES, TopicOptions(partitions=6), existing)} == {6, 1}

    def test_retention_and_min_insync_are_topic_settings(self) -> None:
        """Hours become milliseconds; both are set on every topic."""
        configs = [
            dict(topic.config)
            for topic in specify_topics(NAMES, TopicOptions(retention_hours=24, min_insync_replicas=2), {})
        ]

        assert {(config["retention.ms"], config["min.insync.replicas"]) for config in configs} == {("86400000", "2")}


class TestFindDifferences:
    def test_what_was_not_requested_is_not_compared(self) -> None:
        """Without options, only the cleanup policy is compared."""
        topic = found(Topic.QUOTES, 5, 1, cleanup_policy="delete", retention_ms="1", min_insync_replicas="7")

        assert list(find_differences(TopicOptions(), wanted(Topic.QUOTES, TopicOptions()), topic)) == []

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (TopicOptions(partitions=6), "5 partitions, should be 6"),
            (TopicOptions(replication_factor=3), "replication factor is 1, should be 3"),
            (TopicOptions(retention_hours=1), "retention.ms is 1, should be 3600000"),
            (TopicOptions(min_insync_replicas=2), "min.insync.replicas is 7, should be 2"),
        ],
    )
    def test_what_was_requested_is_compared(self, options: TopicOptions, words: str) -> None:
        """Each given option is compared, and its difference described."""
        topic = found(Topic.QUOTES, 5, 1, cleanup_policy="delete", retention_ms="1", min_insync_replicas="7")

        assert list(find_differences(options, wanted(Topic.QUOTES, options), topic)) == [words]

    def test_topics_beside_the_data_may_have_more_partitions(self) -> None:
        """Control and dead letters are created with one partition, and work with more."""
        options = TopicOptions(partitions=6)

        assert (
            list(find_differences(options, wanted(Topic.DLQ, options), found(Topic.DLQ, 4, cleanup_policy="delete")))
            == []
        )

    def test_the_order_of_policies_does_not_matter(self) -> None:
        """``delete,compact`` is ``compact,delete``."""
        status = wanted(Topic.MARKET_STATUS, TopicOptions())

        assert not list(
            find_differences(TopicOptions(), status, found(Topic.MARKET_STATUS, 1, cleanup_policy="delete, compact"))
        )
        assert list(
            find_differences(TopicOptions(), status, found(Topic.MARKET_STATUS, 1, cleanup_policy="compact"))
        ) == ["cleanup.policy is compact, should be compact,delete"]

    def test_what_kafka_does_not_report_is_skipped(self) -> None:
        """Without the right to see settings no difference is reported."""
        options = TopicOptions(retention_hours=1)
        topic = TopicDescription("aries.quotes", (PartitionDescription(1, 1, 1),))

        assert list(find_differences(options, wanted(Topic.QUOTES, options), topic)) == []


def test_unequal_data_topics_are_listed_by_name() -> None:
    """Only data topics that exist are compared."""
    assert unequal_partition_counts(NAMES, {"aries.quotes": 4, "books": 4, "aries.dlq": 1}) == ""
    assert unequal_partition_counts(NAMES, {"aries.quotes": 4, "books": 5}) == "aries.quotes: 4, books: 5"


def test_each_shard_needs_a_partition_of_its_own() -> None:
    """More are fine; a missing topic and missing partitions are told apart, and both problems name the command."""
    assert shards_topic_problem(3, 3, "md.shards") is shards_topic_problem(9, 3, "md.shards") is None
    missing, few = shards_topic_problem(0, 3, "md.shards"), shards_topic_problem(2, 3, "md.shards")
    assert missing is not None
    assert few is not None
    assert "Kafka has no topic md.shards" in missing
    assert "too few partitions: 2, and each of BRIDGE_SHARDS (3)" in few
    assert all("`aries-bridge topics` with BRIDGE_SHARD=group" in problem for problem in (missing, few))
