"""Every example is accepted by Helm and Kubernetes."""

from __future__ import annotations

import re
import tarfile
from typing import TYPE_CHECKING

import kubernetes_validate
import pytest
import yaml

import bridge
from bridge.kafka import strimzi
from bridge.kafka.topic_specification import TopicOptions, specify_topics
from bridge.topics import Topic, latest_topic_names, topic_names
from tests.helm import custom_resources
from tests.helm.chart import CHART, EXAMPLES, NEWEST_KUBERNETES, Helm, example

if TYPE_CHECKING:
    from pathlib import Path

#: The oldest whose schemas are looked at, by two examples that have all there is of Kubernetes' own.
OLDEST_KUBERNETES = "1.27"
OLDEST = (example("full"), example("shards"), example("standby"))
each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem.removesuffix("-values"))


@each_example
def test_helm_finds_no_fault(helm: Helm, path: Path) -> None:
    """`helm lint --strict` passes for each example."""
    helm.run("lint", "--strict", str(CHART), "--values", str(path))


@each_example
def test_helm_4_agrees(helm: Helm, helm_4: Helm, path: Path) -> None:
    """Helm 4 finds no fault either, and renders the same objects."""
    helm_4.run("lint", "--strict", str(CHART), "--values", str(path))
    by_name = [
        {(one["kind"], one["metadata"]["name"]): one for one in rendering.render(path)} for rendering in (helm, helm_4)
    ]
    assert by_name[0] == by_name[1]


@pytest.mark.parametrize("version", ["helm", "helm_4"])
def test_a_chart_above_this_one_needs_no_null(request: pytest.FixtureRequest, tmp_path: Path, version: str) -> None:
    """As a subchart for OpenShift it is set by values alone, since not every Helm takes a null from a parent."""
    helm: Helm = request.getfixturevalue(version)
    values = {
        **yaml.safe_load(example("minimal").read_text(encoding="utf-8")),
        "openshift": {"enabled": True},
        "lostNodeSeconds": 300,
        "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
    }
    objects = helm.render_subchart(
        tmp_path, {"aries-bridge": values, "global": {"imageRegistry": "mirror.example", "imagePullSecrets": ["all"]}}
    )
    spec = objects.pod.spec
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & spec["securityContext"].keys()
    assert spec["imagePullSecrets"] == [{"name": "all"}]
    assert objects.pod.container()["image"].startswith("mirror.example/aries-bridge:")
    assert "maxUnavailable" not in objects.one("PodDisruptionBudget")["spec"]


def test_helm_finds_no_fault_with_the_defaults(helm: Helm) -> None:
    """`helm lint --strict` passes without any values, as a chart repository may run it."""
    helm.run("lint", "--strict", str(CHART))


@each_example
def test_objects_satisfy_the_schemas_of_kubernetes(helm: Helm, path: Path) -> None:
    """No object has a field that its schema does not have."""
    for document in helm.render(path):
        if f"{document['apiVersion']} {document['kind']}" in custom_resources.SPECS:
            custom_resources.validate(document)
            continue
        for version in (NEWEST_KUBERNETES, OLDEST_KUBERNETES) if path in OLDEST else (NEWEST_KUBERNETES,):
            kubernetes_validate.validate(document, version, strict=True)


@each_example
def test_names_are_unique_and_valid(helm: Helm, path: Path) -> None:
    """No two objects have the same name, and each is labelled with its release."""
    objects = helm.render(path)
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    for document in objects:
        name = document["metadata"]["name"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name), name
        assert len(name) <= (63 if document["kind"] == "Service" else 253)


@pytest.mark.parametrize("name", ["minimal", "shards"])
def test_long_names_leave_room_for_those_of_pods(helm: Helm, name: str) -> None:
    """A label has 63 characters, of which that of a revision needs 19; alerts match pods by the rest."""
    rendered = helm.run("template", "a" * 53, str(CHART), "--values", str(example(name)))
    objects = [one for one in yaml.safe_load_all(rendered) if one]
    [workload] = [one["metadata"]["name"] for one in objects if one["kind"] in ("Deployment", "StatefulSet")]
    assert len(workload.removesuffix("-of-3")) <= 63 - len("-of-1024-5d8f9c7b6d")
    assert max(len(one["metadata"]["name"]) for one in objects) <= 63


def test_a_helm_of_unknown_version_renders_the_chart(helm: Helm) -> None:
    """A Helm built by `go install` assumes Kubernetes v1.20, and is still accepted."""
    assert "kind: Deployment" in helm.run("template", "r", str(CHART), "--values", str(example("minimal")))


def test_ten_lines_are_enough() -> None:
    """The smallest example has ten lines at most."""
    lines = example("minimal").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if not line.startswith("#")]) <= 10


def test_the_chart_has_the_programs_version() -> None:
    """Chart and program are released together."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == chart["version"] == bridge.__version__
    assert chart["name"] == "aries-bridge"
    assert yaml.safe_load(chart["annotations"]["artifacthub.io/changes"])
    assert chart["annotations"]["artifacthub.io/license"] == "Apache-2.0"


def test_the_package_has_only_what_is_needed(helm: Helm, tmp_path: Path) -> None:
    """The packaged chart renders as the folder does, without the examples."""
    helm.run("package", str(CHART), "--destination", str(tmp_path))
    [package] = tmp_path.glob("*.tgz")
    assert "PrometheusRule" in helm.run("template", "r", str(package), "--values", str(example("monitoring")))
    assert "## " in helm.run("show", "readme", str(package))
    with tarfile.open(package) as archive:
        assert not [name for name in archive.getnames() if "/ci/" in name]


def test_strimzi_gets_the_topics_that_the_command_prints(helm: Helm) -> None:
    """`strimzi.topics` and `aries-bridge topics --strimzi` agree, also on names that Kubernetes rejects."""
    names = {"quotes": "MD_Quotes", "l2": "md.l2_v1", "dlq": "_._"}
    values = {
        "kafka": {"topics": {"names": names}},
        "strimzi": {"topics": {"partitions": 7, "replicas": 2, "minInsyncReplicas": 1, "retentionHours": 24}},
    }
    rendered = helm.render(example("strimzi"), values).of("KafkaTopic")
    renamed = {Topic(topic): name for topic, name in names.items()}
    designs = specify_topics(topic_names("aries", renamed), TopicOptions(7, 2, 24, 1), {})
    printed = list(yaml.safe_load_all(strimzi.manifest(designs, "market")))
    assert len(printed) == len(rendered) == len(Topic)
    specs = {one["metadata"]["name"]: one["spec"] for one in rendered}
    assert specs == {one["metadata"]["name"]: one["spec"] for one in printed}


def test_strimzi_gets_the_topics_of_latest_states_if_they_are_on(helm: Helm) -> None:
    """`bridge.latest` adds them as the command prints them, to the topics and to the user's rights."""
    values = {
        "bridge": {"latest": True},
        "strimzi": {"topics": {"partitions": 7, "replicas": 2, "minInsyncReplicas": 1, "retentionHours": 24}},
    }
    objects = helm.render(example("strimzi"), values)
    names = latest_topic_names("aries", {})
    designs = specify_topics(names, TopicOptions(7, 2, 24, 1), {})
    printed = {one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all(strimzi.manifest(designs, "market"))}
    rendered = {one["metadata"]["name"]: one["spec"] for one in objects.of("KafkaTopic")}
    assert {name: spec for name, spec in rendered.items() if name.endswith(".latest")} == printed
    assert len(rendered) == len(Topic) + len(names)
    acls = objects.one("KafkaUser")["spec"]["authorization"]["acls"]
    assert {acl["resource"]["name"] for acl in acls if "Write" in acl["operations"]} == set(rendered)


def test_strimzis_user_may_write_to_every_topic_and_no_more(helm: Helm) -> None:
    """It has Write and Describe on each topic, and idempotent writing; and it may see a group of the same symbols."""
    objects = helm.render(example("strimzi"))
    acls = objects.one("KafkaUser")["spec"]["authorization"]["acls"]
    topics = {one["spec"]["topicName"] for one in objects.of("KafkaTopic")}
    assert {acl["resource"]["name"] for acl in acls if "Write" in acl["operations"]} == topics
    assert {operation for acl in acls for operation in acl["operations"]} == {
        "Describe",
        "DescribeConfigs",
        "IdempotentWrite",
        "Read",
        "Write",
    }
    readable = [acl["resource"]["name"] for acl in acls if "Read" in acl["operations"]]
    assert readable == ["aries.control", "aries.shards"]
