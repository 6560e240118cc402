"""How topics are to be, and in which words it is told that they are otherwise."""

from __future__ import annotations

import pytest

from bridge.kafka.cluster import PartitionDescription, TopicDescription
from bridge.kafka.topic_specification import (
    TopicOptions,
    TopicSpecification,
    find_differences,
    specify_topics,
    unequal_partition_counts,
)
from bridge.topics import Topic, topic_names

NAMES = topic_names("aries", {Topic.L2: "books"})


def wanted(topic: Topic, design: TopicOptions) -> TopicSpecification:
    return next(one for one in specify_topics(NAMES, design, {}) if one.topic is topic)


def found(topic: Topic, partitions: int, replicas: int = 3, **config: str) -> TopicDescription:
    settings = {name.replace("_", "."): value for name, value in config.items()}
    return TopicDescription(NAMES[topic], (PartitionDescription(1, replicas, replicas),) * partitions, settings)


class TestDesigned:
    def test_of_a_fresh_kafka(self) -> None:
        """Data topics have equal partitions, the others one; market status is compacted, too."""
        designs = {topic.name: topic for topic in specify_topics(NAMES, TopicOptions(), {})}

        assert {name: topic.partitions for name, topic in designs.items()} == {
            "aries.quotes": 12,
            "aries.trades": 12,
            "aries.timesales": 12,
            "books": 12,
            "aries.greeks": 12,
            "aries.market-status": 1,
            "aries.control": 1,
            "aries.dlq": 1,
        }
        assert {name for name, topic in designs.items() if topic.config == (("cleanup.policy", "compact,delete"),)} == {
            "aries.market-status"
        }

    def test_partitions_follow_the_data_topics_that_exist(self) -> None:
        """What is missing gets as many partitions as the rest, unless a number is asked for."""
        existing = {"aries.quotes": 4, "books": 4, "aries.dlq": 9}

        assert {topic.partitions for topic in specify_topics(NAMES, TopicOptions(), existing)} == {4, 1}
        assert {topic.partitions for topic in specify_topics(NAMES, TopicOptions(partitions=6), existing)} == {6, 1}

    def test_retention_and_min_insync_are_told_as_kafka_takes_them(self) -> None:
        """Hours become milliseconds; both stand on every topic."""
        configs = [
            dict(topic.config)
            for topic in specify_topics(NAMES, TopicOptions(retention_hours=24, min_insync_replicas=2), {})
        ]

        assert {(config["retention.ms"], config["min.insync.replicas"]) for config in configs} == {("86400000", "2")}


class TestDrift:
    def test_what_was_not_asked_for_may_be_anything(self) -> None:
        """Without options, only the cleanup policy has to be as designed."""
        topic = found(Topic.QUOTES, 5, 1, cleanup_policy="delete", retention_ms="1", min_insync_replicas="7")

        assert list(find_differences(TopicOptions(), wanted(Topic.QUOTES, TopicOptions()), topic)) == []

    @pytest.mark.parametrize(
        ("design", "words"),
        [
            (TopicOptions(partitions=6), "5 partitions, should be 6"),
            (TopicOptions(replication_factor=3), "replication factor is 1, should be 3"),
            (TopicOptions(retention_hours=1), "retention.ms is 1, should be 3600000"),
            (TopicOptions(min_insync_replicas=2), "min.insync.replicas is 7, should be 2"),
        ],
    )
    def test_what_was_asked_for_is_compared(self, design: TopicOptions, words: str) -> None:
        """Each option that is given is compared, and told in its own words."""
        topic = found(Topic.QUOTES, 5, 1, cleanup_policy="delete", retention_ms="1", min_insync_replicas="7")

        assert list(find_differences(design, wanted(Topic.QUOTES, design), topic)) == [words]

    def test_topics_beside_the_data_may_have_more_partitions(self) -> None:
        """Control and its like are designed with one partition, and work with more."""
        design = TopicOptions(partitions=6)

        assert (
            list(find_differences(design, wanted(Topic.DLQ, design), found(Topic.DLQ, 4, cleanup_policy="delete")))
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

    def test_what_kafka_does_not_tell_is_passed_over(self) -> None:
        """Without the right to see settings there is no difference to tell."""
        design = TopicOptions(retention_hours=1)
        topic = TopicDescription("aries.quotes", (PartitionDescription(1, 1, 1),))

        assert list(find_differences(design, wanted(Topic.QUOTES, design), topic)) == []


def test_unequal_data_topics_are_listed_by_name() -> None:
    """Only data topics count, and only those that are there."""
    assert unequal_partition_counts(NAMES, {"aries.quotes": 4, "books": 4, "aries.dlq": 1}) == ""
    assert unequal_partition_counts(NAMES, {"aries.quotes": 4, "books": 5}) == "aries.quotes: 4, books: 5"
