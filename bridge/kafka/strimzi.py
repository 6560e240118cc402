"""Topics as Strimzi's ``KafkaTopic`` resources.

Strimzi 0.49 introduced API version ``v1``, and 1.0 removed ``v1beta2``. The fields used here are the same in both
(Strimzi proposal 112).
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from bridge.kafka.topic_specification import BROKER_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.kafka.topic_specification import TopicSpecification

#: An object's name is a DNS subdomain (RFC 1123).
_MAX_NAME_LENGTH = 253
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class StrimziApi(StrEnum):
    """Version of Strimzi's API."""

    V1 = "v1"
    V1BETA2 = "v1beta2"


def manifest(specifications: Iterable[TopicSpecification], cluster: str, api: StrimziApi = StrimziApi.V1) -> str:
    """Return a YAML document for each topic of the Kafka cluster whose Strimzi resource is named ``cluster``."""
    return "".join(f"---\n{''.join(_lines(specification, cluster, api))}" for specification in specifications)


def resource_name(topic: str) -> str:
    """Return the name of a topic's resource: the topic's name if Kubernetes accepts it, else one derived from it."""
    if _NAME.fullmatch(topic):
        return topic
    # Two topics may differ only in characters that Kubernetes does not accept.
    digest = sha256(topic.encode()).hexdigest()[:8]
    labels = (re.sub(r"[^a-z0-9]+", "-", label).strip("-") for label in topic.lower().split("."))
    readable = ".".join(filter(None, labels))[: _MAX_NAME_LENGTH - len(digest) - 1].rstrip("-.")
    return f"{readable}-{digest}" if readable else f"topic-{digest}"


def _lines(specification: TopicSpecification, cluster: str, api: StrimziApi) -> Iterator[str]:
    # Every JSON string is a valid YAML string.
    yield f"apiVersion: kafka.strimzi.io/{api}\n"
    yield "kind: KafkaTopic\n"
    yield "metadata:\n"
    yield f"  name: {json.dumps(resource_name(specification.name))}\n"
    yield "  labels:\n"
    yield f"    strimzi.io/cluster: {json.dumps(cluster)}\n"
    yield "spec:\n"
    yield f"  topicName: {json.dumps(specification.name)}\n"
    yield f"  partitions: {specification.partitions}\n"
    if specification.replication_factor != BROKER_DEFAULT:
        yield f"  replicas: {specification.replication_factor}\n"
    yield "  config:\n"
    for setting, value in specification.config:
        yield f"    {setting}: {value if value.isdecimal() else json.dumps(value)}\n"
