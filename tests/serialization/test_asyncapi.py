"""The AsyncAPI document: valid, current, and in step with the schemas and the README."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from bridge.serialization import schemas
from bridge.topics import LATEST_OF, LatestTopic, Topic
from tests.programs.docs import asyncapi

Json = dict[str, Any]
SCHEMA: Final[Json] = json.loads(Path(__file__).with_name("asyncapi").joinpath("3.0.0.json").read_text("utf-8"))
DOCUMENT: Final[Json] = yaml.safe_load(asyncapi.DOCUMENT.read_text(encoding="utf-8"))
topics = pytest.mark.parametrize("topic", list(Topic))


def resolved(reference: Json) -> Any:
    """Return what a reference within the document points to."""
    found: Any = DOCUMENT
    for part in reference["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(node: object) -> list[Json]:
    if isinstance(node, dict):
        inner = [found for value in node.values() for found in references(value)]
        return [*inner, node] if "$ref" in node else inner
    return [found for item in node for found in references(item)] if isinstance(node, list) else []


def channel(topic: Topic) -> Json:
    [found] = [one for one in DOCUMENT["channels"].values() if one["address"] == f"{{prefix}}.{topic}"]
    return dict(found)


def test_the_document_is_current() -> None:
    """`make docs` writes it again after a change of a schema, a topic or a key."""
    assert asyncapi.main(["--check"]) is None


def test_the_document_is_valid() -> None:
    """It conforms to AsyncAPI's own schema of documents, and all that it refers to is there."""
    jsonschema.Draft7Validator(SCHEMA).validate(DOCUMENT)
    found = references(DOCUMENT)
    assert len(found) > 4 * len(Topic)
    assert all(resolved(one) for one in found)


@pytest.mark.parametrize(
    ("place", "mistake"),
    [
        (("channels", "quotes", "adress"), "x"),
        (("operations", "publishQuotes", "action"), "publish"),
        (("components", "messages", "Quote", "bindings", "kafka", "key"), 5),
        (("components", "schemas", "Quote", "schema", "fields", 0, "type"), 5),
    ],
)
def test_an_invalid_document_is_found(place: tuple[str | int, ...], mistake: object) -> None:
    """The validation sees channels, operations, Kafka's bindings and Avro schemas."""
    broken = copy.deepcopy(DOCUMENT)
    *path, last = place
    node: Any = broken
    for part in path:
        node = node[part]
    node[last] = mistake
    assert not jsonschema.Draft7Validator(SCHEMA).is_valid(broken)


@topics
def test_each_topic_has_a_channel_with_both_encodings(topic: Topic) -> None:
    """A channel's messages are its record in single-object encoding and in Confluent's wire format."""
    schema = schemas.load()[topic]
    messages = [resolved(one) for one in channel(topic)["messages"].values()]
    assert [message["name"] for message in messages] == [schema.name, schema.name]
    for message in messages:
        assert resolved(message["payload"])["schema"] == json.loads(schema.text)
    plain, registered = messages
    assert plain["x-crc-64-avro"] == schema.fingerprint.hex()
    assert resolved(plain["traits"][0])["description"].startswith("Single-object encoding: c3 01")
    binding = resolved(registered["traits"][0])["bindings"]["kafka"]
    assert (binding["schemaIdLocation"], binding["schemaIdPayloadEncoding"]) == ("payload", "confluent")


def test_latest_states_are_the_records_of_their_topic() -> None:
    """Their channels are compacted, and have the messages of quotes and trades."""
    for topic, latest in LATEST_OF.items():
        [found] = [one for one in DOCUMENT["channels"].values() if one["address"] == f"{{prefix}}.{latest}"]
        assert found["messages"] == channel(topic)["messages"]
        assert found["bindings"]["kafka"]["topicConfiguration"] == {"cleanup.policy": ["compact"]}


@topics
def test_keys_are_those_of_the_readme(topic: Topic) -> None:
    """A key is text, that of a dead letter may be missing, and its meaning is in the table of topics."""
    for one in channel(topic)["messages"].values():
        key = resolved(one)["bindings"]["kafka"]["key"]
        assert key["type"] == (["string", "null"] if topic is Topic.DLQ else "string")
        assert key["description"].startswith(asyncapi.keys()[topic])


def test_the_bridge_sends_what_each_channel_has() -> None:
    """From the bridge's point of view each channel is written."""
    operations = DOCUMENT["operations"].values()
    assert {one["action"] for one in operations} == {"send"}
    assert [resolved(one["channel"])["address"] for one in operations] == [
        f"{{prefix}}.{topic}" for topic in (*Topic, *LatestTopic)
    ]
