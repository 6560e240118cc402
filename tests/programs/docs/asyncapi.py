"""Keep ``avro/asyncapi.yaml``, the AsyncAPI document of the topics, equal to schemas, topics and ``avro/README.md``.

``python -m tests.programs.docs.asyncapi --write`` updates it; ``--check`` (the default) only compares.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Final

import yaml

import bridge
from bridge.serialization import schemas
from bridge.topics import LATEST_OF, AnyTopic, LatestTopic, Topic
from tests.programs.docs.reference import meaning_and_unit
from tests.support import generated as generated_part
from tests.support.paths import ROOT

Json = dict[str, Any]
DOCUMENT: Final = ROOT / "avro/asyncapi.yaml"
README: Final = ROOT / "avro/README.md"
SCHEMAS: Final = schemas.load()
BINDING_VERSION: Final = "0.5.0"
#: How a value starts, by the bridge's setting: with and without a schema registry.
SINGLE_OBJECT, CONFLUENT = "singleObject", "confluent"
#: The rows of the README's first table: topic, record, file, key.
_TOPIC_ROW: Final = re.compile(r"\| `aries\.(?P<topic>[\w-]+)` \| `\w+` \| `[\w.]+` \| (?P<key>.*) \|")
_SCHEMA_FORMAT: Final = "application/vnd.apache.avro;version=1.9.0"
_DESCRIPTION: Final = """\
Aries market data in Kafka: the topics that aries-bridge writes.
Keys are UTF-8 text. Values are Avro in single-object encoding, or with a schema registry in the Confluent wire format.
README.md beside this document has the semantics (null and cleared, gaps, order), REFERENCE.md examples of all fields.
"""


def document() -> Json:
    """Return the document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "aries-bridge",
            "version": bridge.__version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "avro/binary",
        "servers": _servers(),
        "channels": {
            **{_camel(topic): _channel(topic) for topic in Topic},
            **{_camel(latest): _latest_channel(topic, latest) for topic, latest in LATEST_OF.items()},
        },
        "operations": {
            **{f"publish{_camel(topic, first=True)}": _operation(topic, topic) for topic in Topic},
            **{f"publish{_camel(latest, first=True)}": _operation(latest, of) for of, latest in LATEST_OF.items()},
        },
        "components": {
            "schemas": {_record(topic): _schema(topic) for topic in Topic},
            "messages": {name: message for topic in Topic for name, message in _messages(topic).items()},
            "messageTraits": _traits(),
        },
    }


def keys() -> dict[Topic, str]:
    """Return what the README says of each topic's key."""
    found = _TOPIC_ROW.finditer(README.read_text(encoding="utf-8"))
    return {Topic(row["topic"]): row["key"].replace("`", "") for row in found}


def _servers() -> Json:
    cluster = {
        "host": "{bootstrap}",
        "protocol": "kafka",
        "variables": {"bootstrap": {"default": "kafka:9092", "description": "KAFKA_BOOTSTRAP_SERVERS of the bridge."}},
    }
    registry = {"schemaRegistryUrl": "http://registry:8081", "schemaRegistryVendor": "confluent"}
    return {
        "kafka": cluster | {"description": "The bridge runs without SCHEMA_REGISTRY_URL: single-object encoding."},
        "kafkaWithRegistry": cluster
        | {
            "description": "The bridge runs with SCHEMA_REGISTRY_URL: Confluent wire format.",
            "bindings": {"kafka": registry | {"bindingVersion": BINDING_VERSION}},
        },
    }


def _channel(topic: Topic) -> Json:
    meaning, unit = _doc(topic)
    return {
        "address": f"{{prefix}}.{topic}",
        "title": topic.value,
        "description": f"{meaning}. A record is {unit}. KAFKA_TOPIC_{topic.setting} renames the topic.",
        "parameters": {"prefix": {"default": "aries", "description": "KAFKA_TOPIC_PREFIX of the bridge."}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(topic)},
        "bindings": {"kafka": {"bindingVersion": BINDING_VERSION}},
    }


def _latest_channel(topic: Topic, latest: LatestTopic) -> Json:
    description = (
        f"The merged latest state of each symbol on {topic}, compacted, if BRIDGE_LATEST is on; after_gap says that it "
        "is not complete, a null value that the symbol was unsubscribed. "
        f"KAFKA_TOPIC_{latest.setting} renames the topic."
    )
    return _channel(topic) | {
        "address": f"{{prefix}}.{latest}",
        "title": latest.value,
        "description": description,
        "bindings": {
            "kafka": {"topicConfiguration": {"cleanup.policy": ["compact"]}, "bindingVersion": BINDING_VERSION}
        },
    }


def _operation(topic: AnyTopic, of: Topic) -> Json:
    channel = f"#/channels/{_camel(topic)}"
    return {
        "action": "send",
        "channel": {"$ref": channel},
        "summary": f"The bridge publishes a record of {topic}.",
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in _messages(of)],
    }


def _messages(topic: Topic) -> dict[str, Json]:
    return {
        _record(topic): _message(topic, SINGLE_OBJECT),
        f"{_record(topic)}WithRegistry": _message(topic, CONFLUENT),
    }


def _message(topic: Topic, encoding: str) -> Json:
    key = keys()[topic]
    key_type = ["string", "null"] if "null" in key else "string"
    message: Json = {
        "name": SCHEMAS[topic].name,
        "title": _record(topic),
        "summary": f"{_doc(topic)[0]}.",
        "payload": {"$ref": f"#/components/schemas/{_record(topic)}"},
        "traits": [{"$ref": f"#/components/messageTraits/{encoding}"}],
        "bindings": {
            "kafka": {"key": {"type": key_type, "description": f"{key}, as UTF-8."}, "bindingVersion": BINDING_VERSION}
        },
    }
    if encoding == SINGLE_OBJECT:
        message["x-crc-64-avro"] = SCHEMAS[topic].fingerprint.hex()
    return message


def _traits() -> Json:
    return {
        SINGLE_OBJECT: {
            "contentType": "avro/binary",
            "description": "Single-object encoding: c3 01, the 8 bytes of the schema's CRC-64-AVRO fingerprint "
            "(x-crc-64-avro, little-endian), Avro binary.",
            "externalDocs": {"url": "https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding"},
        },
        CONFLUENT: {
            "contentType": "avro/binary",
            "description": "Confluent wire format: 00, 4 bytes of the schema's id (big-endian), Avro binary. "
            "Subjects are <topic>-value.",
            "bindings": {
                "kafka": {
                    "schemaIdLocation": "payload",
                    "schemaIdPayloadEncoding": "confluent",
                    "schemaLookupStrategy": "TopicNameStrategy",
                    "bindingVersion": BINDING_VERSION,
                }
            },
        },
    }


def _schema(topic: Topic) -> Json:
    return {"schemaFormat": _SCHEMA_FORMAT, "schema": json.loads(SCHEMAS[topic].text)}


def _doc(topic: Topic) -> tuple[str, str]:
    return meaning_and_unit(json.loads(SCHEMAS[topic].text)["doc"])


def _record(topic: Topic) -> str:
    return SCHEMAS[topic].name.rpartition(".")[2]


def _camel(topic: AnyTopic, *, first: bool = False) -> str:
    """Return a topic's short name as a word, for a reference."""
    start, *rest = re.split("[-.]", topic)
    return "".join((start.capitalize() if first else start, *(part.capitalize() for part in rest)))


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Write what is repeated in full: readers of JSON know no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Write several lines as such."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def generated(_: str) -> str:
    """Return the text of the document as it is now."""
    text = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)
    return f"# Generated by `make docs`.\n{text}"


def main(arguments: list[str] | None = None) -> str | None:
    """Write or check the document; return what is wrong with it."""
    return generated_part.main("tests.programs.docs.asyncapi", DOCUMENT, generated, arguments)


if __name__ == "__main__":
    sys.exit(main())
