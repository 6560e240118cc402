"""Hot standby: pods of a Deployment that share the shards, and the way from and to bridges that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bridge.kafka import strimzi
from bridge.kafka.topic_specification import TopicOptions, specify_shards_topic
from tests.helm.chart import Helm, Objects, example
from tests.helm.test_notes import notes

if TYPE_CHECKING:
    Json = dict[str, Any]

STANDBY = {"standby": {"enabled": True}}


def test_pods_that_share_shards_are_a_deployment(helm: Helm) -> None:
    """For any number of shards there is one Deployment of one name and selector, without a StatefulSet."""
    one, three = (helm.render(example("minimal"), {**STANDBY, "shards": count}) for count in (1, 3))
    for objects in (one, three):
        assert objects.of("StatefulSet") == []
        assert [service["metadata"]["name"] for service in objects.of("Service")] == ["r-aries-bridge"]
    assert one.workload["metadata"]["name"] == three.workload["metadata"]["name"] == "r-aries-bridge"
    assert one.workload["spec"]["selector"] == three.workload["spec"]["selector"]
    plain = helm.render(example("minimal")).workload
    assert plain["spec"]["selector"] == one.workload["spec"]["selector"]


@pytest.mark.parametrize(
    ("values", "replicas"),
    [({}, 2), ({"shards": 3}, 4), ({"shards": 3, "replicas": 2}, 2), ({"replicas": 0}, 0), ({"replicas": 1}, 1)],
)
def test_there_is_a_pod_more_than_shards(helm: Helm, values: Json, replicas: int) -> None:
    """One standby is the default; more or fewer pods can be set, also fewer than shards."""
    objects = helm.render(example("minimal"), {**STANDBY, **values})
    assert objects.workload["spec"]["replicas"] == replicas
    assert objects.settings["BRIDGE_SHARD"] == "group"
    assert objects.settings["BRIDGE_SHARDS"] == str(values.get("shards", 1))
    assert objects.settings["BRIDGE_GROUP"] == "market-data/r-aries-bridge"


def test_an_upgrade_uses_the_hand_over(helm: Helm) -> None:
    """A new pod is there, and ready for a moment, before an old one ends, which then has time to drain."""
    spec = helm.render(example("standby")).workload["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert spec["minReadySeconds"] == 5
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 20 + 15


def test_pods_are_spread_and_not_all_evicted(helm: Helm) -> None:
    """By default pods run on different nodes and in different zones, if there is room, and one is evicted at a time."""
    objects = helm.render(example("standby"))
    spreads = objects.pod.spec["topologySpreadConstraints"]
    assert [spread["topologyKey"] for spread in spreads] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for spread in spreads:
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
        assert spread["labelSelector"]["matchLabels"] == objects.workload["spec"]["selector"]["matchLabels"]
    assert objects.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_spread_and_budget_can_be_replaced(helm: Helm) -> None:
    """What the values say takes the place of the defaults; without standby there are neither."""
    own = {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
    values = {"topologySpreadConstraints": [own], "podDisruptionBudget": {"enabled": False}}
    objects = helm.render(example("standby"), values)
    [spread] = objects.pod.spec["topologySpreadConstraints"]
    assert spread.items() >= own.items()
    assert objects.of("PodDisruptionBudget") == []
    plain = helm.render(example("minimal"))
    assert "topologySpreadConstraints" not in plain.pod.spec
    assert plain.of("PodDisruptionBudget") == []


def test_the_check_is_of_the_group(helm: Helm) -> None:
    """The preflight and `helm test` have the settings of the pods, as no shard is theirs."""
    for pod in helm.render(example("standby")).pods:
        for container in pod.containers:
            assert "BRIDGE_SHARD" not in {one["name"] for one in container.get("env", ())}


def test_a_changed_list_is_mounted_in_all_pods(helm: Helm) -> None:
    """With hot reload other symbols change the mounted list and nothing in the pods, as without standby."""
    before, after = (
        helm.render(example("standby"), {"aries": {"symbols": symbols}}) for symbols in (["AAPL"], ["AAPL", "MSFT"])
    )
    assert before.workload == after.workload
    assert before.config_map("r-aries-bridge-subscriptions") != after.config_map("r-aries-bridge-subscriptions")


# -- Strimzi ----------------------------------------------------------------------------------------------------------


def test_strimzi_gets_the_topic_of_shards(helm: Helm) -> None:
    """It has a partition for each shard, as `aries-bridge topics --strimzi` prints it, or as many as it once had."""
    topic = helm.render(example("standby")).one("KafkaTopic", "aries.owners")
    options = TopicOptions(replication_factor=3, min_insync_replicas=2)
    printed = yaml.safe_load(strimzi.manifest([specify_shards_topic("aries.owners", 3, options)], "market"))
    assert topic["spec"] == printed["spec"]
    more = helm.render(example("standby"), {"shards": 2, "strimzi": {"topics": {"shardPartitions": 3}}})
    assert more.one("KafkaTopic", "aries.owners")["spec"]["partitions"] == 3
    default = helm.render(example("standby"), {"kafka": {"topics": {"names": {"shards": ""}}}})
    assert default.one("KafkaTopic", "aries.shards")["spec"]["topicName"] == "aries.shards"
    plain = helm.render(example("standby"), {"standby": {"enabled": False}})
    assert "aries.owners" not in {one["spec"]["topicName"] for one in plain.of("KafkaTopic")}


def test_strimzis_user_may_be_a_member(helm: Helm) -> None:
    """It has the rights on the topic and on the one consumer group; without standby it may only see both."""
    objects = helm.render(example("standby"))
    acls = objects.one("KafkaUser")["spec"]["authorization"]["acls"]
    [topic] = [acl for acl in acls if acl["resource"].get("name") == "aries.owners"]
    assert set(topic["operations"]) == {"Describe", "DescribeConfigs", "Read", "Write"}
    [group] = [acl for acl in acls if acl["resource"]["type"] == "group"]
    assert group["resource"]["name"] == f"{objects.settings['BRIDGE_GROUP']}.shards"
    assert group["resource"]["patternType"] == "literal"
    assert set(group["operations"]) == {"Describe", "Read"}
    plain = helm.render(example("standby"), {"standby": {"enabled": False}})
    acls = plain.one("KafkaUser")["spec"]["authorization"]["acls"]
    [topic] = [acl for acl in acls if acl["resource"].get("name") == "aries.owners"]
    assert set(topic["operations"]) == {"Describe", "Read"}
    [seen] = [acl for acl in acls if acl["resource"]["type"] == "group"]
    assert seen == {**group, "operations": ["Describe"]}


# -- from and to bridges without standby ------------------------------------------------------------------------------


def strategy(objects: Objects) -> str:
    """Return how the Deployment replaces pods."""
    found: str = objects.workload["spec"]["strategy"]["type"]
    return found


def test_pods_with_standby_start_beside_those_before(helm: Helm) -> None:
    """They wait for them; a bridge without standby is not ready while it waits, and so the pods before it end first."""
    assert strategy(helm.render(example("minimal"), STANDBY)) == "RollingUpdate"
    assert strategy(helm.render(example("minimal"))) == "Recreate"


def test_the_strategy_can_be_set(helm: Helm) -> None:
    """The notes say what it costs."""
    assert strategy(helm.render(example("minimal"), {**STANDBY, "strategy": {"type": "Recreate"}})) == "Recreate"
    assert "an upgrade ends all pods" in notes(helm, "minimal", {**STANDBY, "strategy": {"type": "Recreate"}})


@pytest.mark.parametrize("shards", [1, 3])
def test_bridges_with_and_without_standby_know_each_other(helm: Helm, shards: int) -> None:
    """By the name of the group, and by the topic of its shards."""
    names = {"kafka": {"topics": {"names": {"shards": "aries.owners"}}}, "shards": shards}
    with_standby, without = (helm.render(example("minimal"), {**names, **more}) for more in (STANDBY, {}))
    for name in ("BRIDGE_GROUP", "KAFKA_TOPIC_SHARDS", "KAFKA_TOPIC_PREFIX"):
        assert with_standby.settings.get(name) == without.settings.get(name)


# -- notes ------------------------------------------------------------------------------------------------------------


def test_the_notes_know_the_group(helm: Helm) -> None:
    """They say how many pods there are, how to see the owners, and where all logs are."""
    text = notes(helm, "standby")
    assert "4 pods for 3 shards" in text
    assert "kubectl --namespace market-data exec deployment/r-aries-bridge -- aries-bridge group\n" in text
    assert "rollout status deployment/r-aries-bridge\n" in text
    assert "logs --selector app.kubernetes.io/instance=r,app.kubernetes.io/component=bridge --prefix" in text
    assert "NOTE there is no standby" not in text
    assert "NOTE an upgrade ends all pods" not in text


def test_the_notes_warn_of_too_few_pods(helm: Helm) -> None:
    """One pod has no standby, and none publishes nothing."""
    assert "NOTE there is no standby (replicas is 1)" in notes(helm, "minimal", {**STANDBY, "replicas": 1})
    none = notes(helm, "minimal", {**STANDBY, "replicas": 0})
    assert "NOTE there is no pod" in none
    assert "aries-bridge group" not in none
