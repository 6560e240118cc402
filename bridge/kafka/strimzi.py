"""Topics as Strimzi's ``KafkaTopic`` resources.

Served as ``v1`` from Strimzi 0.49 on, and as nothing else from 1.0 on; ``v1beta2`` before that. The two differ in
nothing that stands here (Strimzi proposal 112).
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from bridge.kafka.topic_specification import BROKERS_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.kafka.topic_specification import TopicDesign

#: An object's name is a DNS subdomain (RFC 1123).
_LONGEST_NAME = 253
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class StrimziApi(StrEnum):
    """Name a version of Strimzi's API."""

    V1 = "v1"
    V1BETA2 = "v1beta2"


def manifest(designs: Iterable[TopicDesign], cluster: str, api: StrimziApi = StrimziApi.V1) -> str:
    """Return YAML documents for the topics of the Kafka that Strimzi knows as ``cluster``."""
    return "".join(f"---\n{''.join(_lines(design, cluster, api))}" for design in designs)


def resource_name(topic: str) -> str:
    """Return the object's name for a topic: the topic's own, where Kubernetes takes it, else one made from it."""
    if _NAME.fullmatch(topic):
        return topic
    # Two topics may differ only in what Kubernetes does not take.
    mark = sha256(topic.encode()).hexdigest()[:8]
    labels = (re.sub(r"[^a-z0-9]+", "-", label).strip("-") for label in topic.lower().split("."))
    readable = ".".join(filter(None, labels))[: _LONGEST_NAME - len(mark) - 1].rstrip("-.")
    return f"{readable}-{mark}" if readable else f"topic-{mark}"


def _lines(design: TopicDesign, cluster: str, api: StrimziApi) -> Iterator[str]:
    # A JSON string is a YAML string, whatever is in it.
    yield f"apiVersion: kafka.strimzi.io/{api}\n"
    yield "kind: KafkaTopic\n"
    yield "metadata:\n"
    yield f"  name: {json.dumps(resource_name(design.name))}\n"
    yield "  labels:\n"
    yield f"    strimzi.io/cluster: {json.dumps(cluster)}\n"
    yield "spec:\n"
    yield f"  topicName: {json.dumps(design.name)}\n"
    yield f"  partitions: {design.partitions}\n"
    if design.replication_factor != BROKERS_DEFAULT:
        yield f"  replicas: {design.replication_factor}\n"
    yield "  config:\n"
    for setting, value in design.config:
        yield f"    {setting}: {value if value.isdecimal() else json.dumps(value)}\n"
