"""Strimzi manifests are valid YAML with names that Kubernetes accepts."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.kafka.strimzi import StrimziApi, manifest, resource_name
from bridge.kafka.topic_specification import TopicOptions, specify_topics
from bridge.topics import Topic, topic_names

#: As Kubernetes has it (``validation.IsDNS1123Subdomain``).
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
topics = st.text("abzABZ019._-", min_size=1, max_size=249)


def documents(options: TopicOptions, prefix: str = "aries", **more: Any) -> list[dict[str, Any]]:
    names = topic_names(prefix, {})
    return list(yaml.safe_load_all(manifest(specify_topics(names, options, {}), "main", **more)))


def test_each_topic_is_one_resource_of_the_cluster() -> None:
    """A resource has the label by which Strimzi's operator finds it, and the whole specification."""
    made = documents(TopicOptions(6, 3, 24, 2))

    assert [one["spec"]["topicName"] for one in made] == [f"aries.{topic}" for topic in Topic]
    assert made[5] == {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": "aries.market-status", "labels": {"strimzi.io/cluster": "main"}},
        "spec": {
            "topicName": "aries.market-status",
            "partitions": 1,
            "replicas": 3,
            "config": {"cleanup.policy": "compact,delete", "retention.ms": 86400000, "min.insync.replicas": 2},
        },
    }


def test_what_is_left_to_the_brokers_is_left_out() -> None:
    """Without options there are the default partitions, and neither a replication factor nor a retention."""
    made = documents(TopicOptions(), api=StrimziApi.V1BETA2)

    assert made[0]["apiVersion"] == "kafka.strimzi.io/v1beta2"
    assert made[0]["spec"] == {"topicName": "aries.quotes", "partitions": 12, "config": {"cleanup.policy": "delete"}}


@pytest.mark.parametrize(
    ("topic", "name"),
    [("aries.market-status", "aries.market-status"), ("Prod_Aries.quotes", "prod-aries.quotes-"), ("___", "topic-")],
)
def test_names_stay_readable(topic: str, name: str) -> None:
    """A valid name is kept; an invalid one is replaced, with 8 digits of a hash that keep it unique."""
    assert re.fullmatch(re.escape(name) + ("[0-9a-f]{8}" if name.endswith("-") else ""), resource_name(topic))


@given(topics)
def test_names_are_valid_in_kubernetes(topic: str) -> None:
    """Every valid topic name becomes a DNS subdomain."""
    name = resource_name(topic)

    assert SUBDOMAIN.fullmatch(name)
    assert len(name) <= 253


@given(st.sets(topics, min_size=2, max_size=5))
def test_names_are_unique(names: set[str]) -> None:
    """Different topics have different resources."""
    assert len({resource_name(name) for name in names}) == len(names)
