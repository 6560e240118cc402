"""Invalid values are rejected at once, all of them, with what to set instead."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.chart import ChartRefused, Helm, example

EMPTY_DIGEST = {"repository": "x", "digest": "sha256:abc"}


def refusal(helm: Helm, base: str, values: dict[str, Any]) -> str:
    """Return Helm's error for an example with some other values."""
    with pytest.raises(ChartRefused) as refused:
        helm.render(example(base), values)
    return str(refused.value)


def test_all_missing_values_are_reported_at_once(helm: Helm) -> None:
    """Without any values one message names everything that a first installation needs."""
    with pytest.raises(ChartRefused) as refused:
        helm.render()
    for name in ("image.repository", "aries.symbols", "aries.existingSecret", "kafka.bootstrapServers"):
        assert f"- {name} is " in str(refused.value)
    assert "kubectl create secret generic aries" in str(refused.value)


SASL = {"protocol": "SASL_SSL"}
BEARER = {"mechanism": "OAUTHBEARER"}
MISTAKES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "grace too short": (
        {"terminationGracePeriodSeconds": 30},
        ("terminationGracePeriodSeconds is 30", "set it to 35 or more"),
    ),
    "grace shorter than a long drain": (
        {"terminationGracePeriodSeconds": 60, "bridge": {"drainSeconds": 120}},
        ("135",),
    ),
    "memory too small": ({"resources": {"limits": {"memory": "300Mi"}}}, ("resources.limits.memory is 300Mi", "406Mi")),
    "buffer too large": ({"bridge": {"bufferBytes": 1 << 30}}, ("resources.limits.memory is 512Mi", "1174Mi")),
    "memory in decimal units": ({"resources": {"limits": {"memory": "0.4G"}}}, ("is 0.4G",)),
    "memory without the flight recorder": (
        {
            "resources": {"limits": {"memory": "407Mi"}},
            "bridge": {"capture": {"dir": "/captures", "maxBytes": 100 << 20}},
        },
        ("resources.limits.memory is 407Mi", "422Mi"),
    ),
    "captures larger than the pod's storage": (
        {"bridge": {"capture": {"dir": "/captures"}}},
        ("ephemeral-storage is 512Mi, but bridge.capture.maxBytes (1073741824) in an emptyDir", "1088Mi"),
    ),
    "captures of nothing": (
        {"bridge": {"capture": {"dir": "/captures", "mode": "incidents", "flightRecorderBytes": 0}}},
        ("nothing would be written",),
    ),
    "incidents larger than all captures": (
        {"bridge": {"capture": {"maxBytes": 16 << 20, "flightRecorderBytes": 9 << 20}}},
        ("bridge.capture.flightRecorderBytes (9437184) exceeds half of bridge.capture.maxBytes (16777216)",),
    ),
    "invalid memory": ({"resources": {"limits": {"memory": "lots"}}}, ("write it like 512Mi",)),
    "shards that roll": ({"shards": 3, "strategy": {"type": "RollingUpdate"}}, ("Leave strategy.type empty",)),
    "pods that are no group": ({"replicas": 2}, ("replicas is 2, but standby.enabled is false",)),
    "a group of one name": (
        {"standby": {"enabled": True}, "bridge": {"instance": "one"}},
        ("bridge.instance is one, but standby.enabled is true",),
    ),
    "a group that nobody may evict": (
        {"standby": {"enabled": True}, "podDisruptionBudget": {"minAvailable": 2}},
        ("podDisruptionBudget.minAvailable is 2, but there are 2 pods", "Set it to 1 or less"),
    ),
    "fewer partitions than shards": (
        {
            "shards": 3,
            "standby": {"enabled": True},
            "strimzi": {"cluster": "market", "topics": {"enabled": True, "shardPartitions": 2}},
        },
        ("strimzi.topics.shardPartitions is 2, but shards is 3",),
    ),
    "a topic of shards that is another, too": (
        {"standby": {"enabled": True}, "kafka": {"topics": {"names": {"shards": "aries.control"}}}},
        ("each kind of record needs its own topic",),
    ),
    "shards of one name": ({"shards": 3, "bridge": {"instance": "one"}}, ("bridge.instance is one",)),
    "symbols that YAML reads otherwise": (
        {"aries": {"symbols": ["AAPL", True, 1.5, None]}},
        ("aries.symbols[1] is not a string, but true", "aries.symbols[2]", "aries.symbols[3]", 'quote it, like "ON"'),
    ),
    "invalid symbols": (
        {"aries": {"symbols": ["AAPL MSFT", "", "X:stock"]}},
        ("aries.symbols[0]", "aries.symbols[1]", "aries.symbols[2]", "which is not a valid symbol"),
    ),
    "a symbol of two types": (
        {"aries": {"symbols": ["SPX", "SPX:equity"]}},
        ("aries.symbols[1] is SPX:equity, but the list also has SPX",),
    ),
    "a symbol with two entries": (
        {"aries": {"subscriptions": [{"symbol": "A"}, {"symbol": "A", "events": ["l2"]}, {"symbol": False}]}},
        ("aries.subscriptions[1] is for A", "aries.subscriptions[2].symbol is not a string"),
    ),
    "a list for which the environment is too small": (
        {"aries": {"symbols": [f"AAPL300119C{number:08}" for number in range(7000)]}},
        ("set subscriptions.hotReload to true",),
    ),
    "a list for which a ConfigMap is too small": (
        {
            "aries": {"symbols": [f"{number:064}" for number in range(15_000)]},
            "subscriptions": {"hotReload": True},
        },
        ("split them over several releases",),
    ),
    "a refresh token without client": ({"aries": {"credentials": "refreshToken"}}, ("aries.clientId is not set",)),
    "a client without refresh token": ({"aries": {"clientId": "me"}}, ("set aries.credentials to refreshToken",)),
    "a key that is not named": (
        {"aries": {"secretKeys": {"accessToken": ""}}},
        ("aries.secretKeys.accessToken is empty",),
    ),
    "delays in the wrong order": ({"aries": {"backoff": {"minSeconds": 60}}}, ("swap them",)),
    "a batch beyond the buffer": ({"kafka": {"producer": {"batchBytes": 1 << 29}}}, ("must fit into the buffer",)),
    "a login without protocol": (
        {"kafka": {"security": {"sasl": {"mechanism": "PLAIN", "username": "me"}}}},
        ("set the protocol to SASL_SSL",),
    ),
    "a protocol without login": ({"kafka": {"security": SASL}}, ("kafka.security.sasl.mechanism is not set",)),
    "a login without user and password": (
        {"kafka": {"security": {**SASL, "sasl": {"mechanism": "PLAIN"}, "oauth": {"clientId": "me"}}}},
        ("sasl.username is not set: PLAIN needs it", "kafka.existingSecret", "kafka.security.oauth has no effect"),
    ),
    "a token without endpoint": (
        {"kafka": {"security": {**SASL, "sasl": {"mechanism": "OAUTHBEARER", "username": "me"}}}},
        ("oauth.tokenUrl is not set", "oauth.clientId is not set", "client secret of OAUTHBEARER", "leave it empty"),
    ),
    "a token that is given and requested": (
        {
            "kafka": {
                "existingSecret": "k",
                "security": {**SASL, "sasl": BEARER, "oauth": {"tokenAudience": "kafka", "tokenUrl": "https://idp/t"}},
            }
        },
        ("tokenAudience is set, and so is what requests a token",),
    ),
    "a client with secret and assertion": (
        {
            "kafka": {
                "existingSecret": "k",
                "security": {**SASL, "sasl": BEARER, "oauth": {"assertionAudience": "a", "tokenUrl": "https://idp/t"}},
            }
        },
        ("assertionAudience and kafka.existingSecret are both set",),
    ),
    "an assertion without endpoint": (
        {"kafka": {"security": {**SASL, "sasl": BEARER, "oauth": {"assertionAudience": "a"}}}},
        ("oauth.tokenUrl is not set",),
    ),
    "another login beside the IAM role": (
        {
            "kafka": {
                "existingSecret": "k",
                "security": {**SASL, "sasl": {"mechanism": "AWS_MSK_IAM", "username": "me"}},
            }
        },
        ("have no effect with AWS_MSK_IAM", "serviceAccount.annotations"),
    ),
    "a region without IAM": (
        {"kafka": {"security": {**SASL, "sasl": {"mechanism": "PLAIN", "awsRegion": "eu-central-1"}}}},
        ("awsRegion has no effect without AWS_MSK_IAM",),
    ),
    "certificates without TLS": (
        {"kafka": {"security": {"tls": {"ca": {"secret": "a", "configMap": "b"}, "client": {"secret": "c"}}}}},
        ("are both set: keep one", "set it to SSL or SASL_SSL"),
    ),
    "two topics of one name": (
        {"kafka": {"topics": {"names": {"quotes": "same", "l2": "same"}}}},
        ("each kind of record needs its own topic",),
    ),
    "a registry without URL": (
        {"schemaRegistry": {"username": "me", "autoRegister": True}},
        ("schemaRegistry.url is not set", "name the Secret with the password of me"),
    ),
    "authorities for a registry without TLS": (
        {"schemaRegistry": {"url": "http://registry", "ca": {"secret": "a", "configMap": "b"}, "existingSecret": "c"}},
        ("use https://", "keep one", "schemaRegistry.username is not set"),
    ),
    "two logins of a registry": (
        {
            "schemaRegistry": {
                "url": "http://registry",
                "secretKeys": {"bearerToken": "t"},
                "oauth": {"tokenUrl": "https://idp"},
                "client": {"secret": "c"},
            }
        },
        (
            "schemaRegistry.secretKeys.bearerToken, schemaRegistry.oauth.tokenUrl are 2 logins: keep one",
            "schemaRegistry.oauth.clientId is not set",
            "name the Secret with the key t",
            "name the Secret with the client secret",
            "schemaRegistry.client is set, but schemaRegistry.url is http://",
        ),
    ),
    "identities without a token for a registry": (
        {"schemaRegistry": {"url": "http://registry", "confluentCloud": {"identityPoolId": "pool-1"}}},
        ("there is no token to use for it",),
    ),
    "authorities for the feed in two places": (
        {"aries": {"ca": {"secret": "a", "configMap": "b"}}},
        ("aries.ca.secret and aries.ca.configMap are both set: keep one",),
    ),
    "probes that cannot arrive": ({"bridge": {"http": {"host": "127.0.0.1"}}}, ("cannot reach it: use ::",)),
    "a secret as a plain value": (
        {"extraEnv": [{"name": name, "value": "x"} for name in ("KAFKA_SASL_PASSWORD", "KAFKA_OAUTH_TOKEN")]},
        ("extraEnv[0] has KAFKA_SASL_PASSWORD as a plain value", "extraEnv[1] has KAFKA_OAUTH_TOKEN as a plain value"),
    ),
    "external secrets without a source": (
        {"externalSecrets": {"enabled": True}},
        ("secretStoreRef.name is not set", "set what to fetch"),
    ),
    "two sources of a secret": (
        {"externalSecrets": {"enabled": True, "secretStoreRef": {"name": "s"}, "aries": {"dataFrom": [{"find": {}}]}}},
        ("aries.existingSecret and externalSecrets.aries are both set",),
    ),
    "two monitors": (
        {"monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
        ("scraped twice: keep one",),
    ),
    "alerts without runbooks": ({"monitoring": {"prometheusRule": {"enabled": True}}}, ("runbookUrl is not set",)),
    "a budget without bounds": (
        {"podDisruptionBudget": {"enabled": True, "maxUnavailable": None}},
        ("has neither minAvailable nor maxUnavailable",),
    ),
    "two ways to create topics": (
        {
            "topics": {"create": True, "replicas": 1, "minInsyncReplicas": 2},
            "strimzi": {"cluster": "market", "topics": {"enabled": True}},
        },
        ("both create the topics: keep one", "topics.minInsyncReplicas (2) exceeds topics.replicas (1)"),
    ),
    "topics before their user": (
        {"topics": {"create": True}, "strimzi": {"cluster": "market", "user": {"enabled": True}}},
        ("strimzi.user is installed with it",),
    ),
    "topics before their identity": (
        {"topics": {"create": True}, "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn"}}},
        ("needs the service account before the release is installed", "serviceAccount.create: false"),
    ),
    "topics before their password": (
        {
            "topics": {"create": True},
            "externalSecrets": {
                "enabled": True,
                "secretStoreRef": {"name": "s"},
                "kafka": {"dataFrom": [{"find": {}}]},
            },
        },
        ("externalSecrets.kafka is installed with it",),
    ),
    "a port that is none": ({"networkPolicy": {"ports": {"proxy": ["http"]}}}, ("/networkPolicy/ports/proxy",)),
    "a liveness probe that needs two successes": (
        {"probes": {"liveness": {"successThreshold": 2}}},
        ("/probes/liveness/successThreshold",),
    ),
    "Strimzi without cluster": (
        {"strimzi": {"topics": {"enabled": True, "replicas": 1}}},
        ("strimzi.cluster is not set", "no record could be written"),
    ),
}


@pytest.mark.parametrize(("values", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_reported_with_a_hint(helm: Helm, values: dict[str, Any], parts: tuple[str, ...]) -> None:
    """The templates reject what the schema cannot."""
    message = refusal(helm, "minimal", values)
    for part in parts:
        assert part in message


def test_mistakes_are_reported_together(helm: Helm) -> None:
    """One message has a line for each."""
    message = refusal(helm, "minimal", {"terminationGracePeriodSeconds": 20, "shards": 2, "bridge": {"instance": "x"}})
    assert [line.split(" is ")[0] for line in message.splitlines() if line.startswith("- ")] == [
        "- bridge.instance",
        "- terminationGracePeriodSeconds",
    ]


def test_the_schema_rejects_what_it_does_not_know(helm: Helm) -> None:
    """Misspelt names are rejected at every level, and so are wrong types, words and numbers."""
    message = refusal(
        helm,
        "minimal",
        {
            "aires": {},
            "aries": {"symbls": [], "dialect": "fix", "pingIntervalSeconds": 0, "url": "https://api.aries.com"},
            "kafka": {"bootstrapServers": "kafka:9092", "producer": {"compresion": "lz4", "lingerMs": 0.5}},
            "image": EMPTY_DIGEST,
            "monitoring": {"prometheusRule": {"alerts": {"feedDown": {"fro": "1m"}}}},
            "probes": {"readiness": {"periodSeconds": "5s"}},
        },
    )
    for part in (
        "'aires' not allowed",
        "'symbls' not allowed",
        "'compresion' not allowed",
        "'fro' not allowed",
        "/aries/dialect",
        "/aries/pingIntervalSeconds",
        "/aries/url",
        "/kafka/bootstrapServers': got string, want array",
        "/kafka/producer/lingerMs",
        "/image/digest",
        "/probes/readiness/periodSeconds",
    ):
        assert part in message


def test_a_subscription_is_checked_whole(helm: Helm) -> None:
    """Keys, events and types of a subscription are checked as by the program."""
    entries = [{"symbol": "A", "event": ["quotes"]}, {"symbol": "B", "events": ["quote"]}, {"events": ["quotes"]}]
    message = refusal(helm, "minimal", {"aries": {"subscriptions": entries}})
    for number in range(3):
        assert f"/aries/subscriptions/{number}" in message


@pytest.mark.parametrize("secret", ["ARIES_ACCESS_TOKEN_FILE", "ARIES_REFRESH_TOKEN_FILE"])
def test_credentials_from_elsewhere_need_no_secret(helm: Helm, secret: str) -> None:
    """If a variable provides the credentials, no Secret is required."""
    values = {"aries": {"existingSecret": ""}, "extraEnv": [{"name": secret, "value": "/vault/token"}]}
    assert "volumes" not in helm.render(example("minimal"), values).pod.spec


def test_a_kafka_password_from_elsewhere_needs_no_secret(helm: Helm) -> None:
    """The same applies to Kafka's password, for example from a Secret in the environment."""
    values = {
        "kafka": {"security": {**SASL, "sasl": {"mechanism": "PLAIN", "username": "me"}}},
        "extraEnvFrom": [{"secretRef": {"name": "kafka"}}],
    }
    assert [volume["name"] for volume in helm.render(example("minimal"), values).pod.spec["volumes"]] == ["aries"]


def test_a_limit_that_is_just_enough_is_accepted(helm: Helm) -> None:
    """The bounds of memory and grace period are exact."""
    values = {"resources": {"limits": {"memory": "406Mi"}}, "terminationGracePeriodSeconds": 35}
    assert helm.render(example("minimal"), values).pod.spec["terminationGracePeriodSeconds"] == 35
    without = {"resources": {"limits": {"memory": None}}}
    assert "memory" not in helm.render(example("minimal"), without).pod.container()["resources"]["limits"]
