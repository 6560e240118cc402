"""Small schemas of the operators' objects that the chart creates, with only the fields that it may use.

From the operators' API references: Prometheus operator (monitoring.coreos.com/v1), External Secrets
(external-secrets.io/v1) and Strimzi (kafka.strimzi.io/v1).
"""

from __future__ import annotations

from typing import Any, Final

import jsonschema

Json = dict[str, Any]
TEXT: Final[Json] = {"type": "string", "minLength": 1}
TEXTS: Final[Json] = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION: Final[Json] = {
    "type": "string",
    "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?)$",
}


def _object(required: Json, optional: Json | None = None) -> Json:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Json, least: int = 1) -> Json:
    return {"type": "array", "items": items, "minItems": least}


_SELECTOR: Final = _object({"matchLabels": TEXTS})
_ENDPOINT: Final = _object(
    {"port": TEXT, "path": TEXT, "interval": DURATION, "scrapeTimeout": DURATION},
    {"relabelings": _list({"type": "object"}), "metricRelabelings": _list({"type": "object"})},
)
_ALERT: Final = _object(
    {"alert": TEXT, "expr": TEXT, "for": DURATION, "labels": TEXTS, "annotations": TEXTS},
)
_RECORD: Final = _object({"record": TEXT, "expr": TEXT})
_REMOTE: Final = _object({"key": TEXT}, {"property": TEXT, "version": TEXT})
_SCALAR: Final[Json] = {"type": ["string", "integer", "number", "boolean"]}

SPECS: Final[dict[str, Json]] = {
    "monitoring.coreos.com/v1 PodMonitor": _object({"selector": _SELECTOR, "podMetricsEndpoints": _list(_ENDPOINT)}),
    "monitoring.coreos.com/v1 ServiceMonitor": _object({"selector": _SELECTOR, "endpoints": _list(_ENDPOINT)}),
    "monitoring.coreos.com/v1 PrometheusRule": _object(
        {"groups": _list(_object({"name": TEXT, "rules": _list({"anyOf": [_ALERT, _RECORD]})}))}
    ),
    "external-secrets.io/v1 ExternalSecret": _object(
        {
            "refreshInterval": DURATION,
            "secretStoreRef": _object({"name": TEXT, "kind": {"enum": ["SecretStore", "ClusterSecretStore"]}}),
            "target": _object({"name": TEXT, "creationPolicy": {"const": "Owner"}}),
        },
        {
            "data": _list(_object({"secretKey": TEXT, "remoteRef": _REMOTE})),
            "dataFrom": _list(_object({}, {"extract": _REMOTE, "find": {"type": "object"}})),
        },
    ),
    "kafka.strimzi.io/v1 KafkaTopic": _object(
        {
            "topicName": TEXT,
            "partitions": {"type": "integer", "minimum": 1},
            "replicas": {"type": "integer", "minimum": 1},
            "config": {"type": "object", "additionalProperties": _SCALAR},
        }
    ),
    "kafka.strimzi.io/v1 KafkaUser": _object(
        {
            "authentication": _object({"type": {"enum": ["tls", "scram-sha-512"]}}),
            "authorization": _object(
                {
                    "type": {"const": "simple"},
                    "acls": _list(
                        _object(
                            {
                                "resource": _object(
                                    {"type": {"enum": ["topic", "group", "cluster"]}},
                                    {"name": TEXT, "patternType": {"const": "literal"}},
                                ),
                                "operations": _list(
                                    {"enum": ["Describe", "DescribeConfigs", "Read", "Write", "IdempotentWrite"]}
                                ),
                            }
                        )
                    ),
                }
            ),
        }
    ),
}


def validate(document: Json) -> None:
    """Raise an error if an operator's object violates its schema, or is of an unknown kind."""
    spec = SPECS[f"{document['apiVersion']} {document['kind']}"]
    whole = _object({"apiVersion": TEXT, "kind": TEXT, "metadata": {"type": "object"}, "spec": spec})
    jsonschema.validate(document, whole)
