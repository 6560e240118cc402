"""The pods: how they run, and how they are replaced, secured and selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.settings import Settings
from tests.helm.chart import EXAMPLES, Helm, example

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helm.chart import Objects, Pod

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem.removesuffix("-values"))
#: The volumes of the restricted Pod Security Standard (kubernetes.io/docs/concepts/security/pod-security-standards).
SAFE_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def unsafe(pod: Pod) -> list[str]:
    """Return how a pod violates the restricted Pod Security Standard, or our own rules beyond it."""
    spec, security = pod.spec, pod.spec["securityContext"]
    rules = {
        "host namespaces": not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(),
        "token": spec["automountServiceAccountToken"] is False,
        "service links": spec["enableServiceLinks"] is False,
        "non-root": security["runAsNonRoot"] is True and security.get("runAsUser") != 0,
        "seccomp": security["seccompProfile"] == {"type": "RuntimeDefault"},
        "volumes": all(volume.keys() & SAFE_VOLUMES for volume in spec.get("volumes", ())),
    }
    broken = [rule for rule, kept in rules.items() if not kept]
    return broken + [fault for container in pod.containers for fault in _unsafe(container)]


def _unsafe(container: dict[str, Any]) -> list[str]:
    security, resources = container["securityContext"], container["resources"]
    rules = {
        "escalation": security["allowPrivilegeEscalation"] is False,
        "capabilities": security["capabilities"] == {"drop": ["ALL"]},
        "read-only root": security["readOnlyRootFilesystem"] is True,
        "non-root": security["runAsNonRoot"] is True,
        "privileged": "privileged" not in security,
        "host ports": not [port for port in container.get("ports", ()) if "hostPort" in port],
        "requests": resources["requests"].keys() >= {"cpu", "memory"},
        "memory limit": "memory" in resources["limits"],
        "no throttling": "cpu" not in resources["limits"],
    }
    return [f"{container['name']}: {rule}" for rule, kept in rules.items() if not kept]


@each_example
def test_pods_are_restricted(helm: Helm, path: Path) -> None:
    """Each pod of each example complies with the restricted Pod Security Standard, and has no token."""
    for pod in helm.render(path).pods:
        assert unsafe(pod) == []


def test_the_user_is_a_number_unless_the_cluster_chooses(helm: Helm) -> None:
    """The kubelet can only verify a numeric user not to be root; OpenShift assigns it, for every pod."""
    assert helm.render(example("minimal")).pod.spec["securityContext"]["runAsUser"] == 10001
    for pod in helm.render(example("openshift"), {"preflight": {"enabled": True}, "topics": {"create": True}}).pods:
        assert pod.spec["securityContext"].keys() == {"fsGroupChangePolicy", "runAsNonRoot", "seccompProfile"}


def test_one_bridge_is_a_deployment_that_never_doubles(helm: Helm) -> None:
    """One replica, and the old session ends before the new one starts."""
    spec = helm.render(example("minimal")).one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_two_sessions_can_be_allowed(helm: Helm) -> None:
    """With RollingUpdate the new pod is ready before the old one ends."""
    spec = helm.render(example("full")).one("Deployment")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_shards_are_a_stateful_set_with_names(helm: Helm) -> None:
    """Several shards are the pods of a StatefulSet with a headless Service, without a Deployment."""
    objects = helm.render(example("shards"))
    assert objects.of("Deployment") == []
    spec = objects.one("StatefulSet", "r-aries-bridge-of-3")["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"]) == (3, "Parallel")
    headless = objects.one("Service", spec["serviceName"])["spec"]
    assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", True)


def test_another_number_of_shards_shares_nothing_that_counts(helm: Helm) -> None:
    """It is another workload with its own settings and labels, so that the old pods do not change before they end."""
    renders = [helm.render(example("shards"), {"shards": count}) for count in (1, 3, 4)]
    for part in (
        [one.workload["metadata"]["name"] for one in renders],
        [one.pod.container()["envFrom"][0]["configMapRef"]["name"] for one in renders],
        [str(one.workload["spec"]["selector"]) for one in renders],
    ):
        assert len(set(part)) == len(renders)
    assert {one.settings["BRIDGE_GROUP"] for one in renders} == {"market-data/r-aries-bridge"}
    assert [one.settings["BRIDGE_SHARDS"] for one in renders] == ["1", "3", "4"]


@each_example
def test_selectors_find_the_bridge_and_nothing_else(helm: Helm, path: Path) -> None:
    """Workload, services, budget and monitors select the pods of the bridge, not that of `helm test`."""
    objects = helm.render(path)
    bridge = objects.pod
    others = [pod for pod in objects.pods if pod.owner in ("Job", "Pod")]
    selectors = [objects.workload["spec"]["selector"]["matchLabels"]]
    selectors += [one["spec"]["selector"] for one in objects.of("Service")]
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        selectors += [one["spec"]["selector"]["matchLabels"] for one in objects.of(kind)]
    for selector in selectors:
        assert selector.items() <= bridge.labels.items()
        assert not any(selector.items() <= pod.labels.items() for pod in others)
    for monitor in objects.of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert len([one for one in objects.of("Service") if wanted <= one["metadata"]["labels"].items()]) == 1


@each_example
def test_the_selector_never_changes(helm: Helm, path: Path) -> None:
    """A workload's selector is immutable, so it depends on names alone."""
    selector = helm.render(path).workload["spec"]["selector"]["matchLabels"]
    shards = {"aries-bridge/shards": "3"} if path == example("shards") else {}
    assert selector == shards | {
        "app.kubernetes.io/name": "bridge" if path == example("full") else "aries-bridge",
        "app.kubernetes.io/instance": "r",
        "app.kubernetes.io/component": "bridge",
    }


@each_example
def test_probes_ask_the_port_on_which_the_program_answers(helm: Helm, path: Path) -> None:
    """Startup and liveness use /livez, readiness uses /readyz, on the configured port."""
    objects = helm.render(path)
    container = objects.pod.container()
    [port] = container["ports"]
    assert (port["name"], str(port["containerPort"])) == ("http", objects.settings["BRIDGE_HTTP_PORT"])
    probes = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    asked = {name: {key: probe[key] for key in ("path", "port")} for name, probe in probes.items()}
    assert asked == {
        "startup": {"path": "/livez", "port": "http"},
        "liveness": {"path": "/livez", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
    }
    assert container["args"] == ["run"]


def test_a_probe_can_have_all_that_kubernetes_allows(helm: Helm) -> None:
    """Each field can be set, also the request; another kind of probe replaces it. The first probe is not too early."""
    container = helm.render(example("full")).pod.container()
    assert container["startupProbe"].items() >= {"initialDelaySeconds": 5, "terminationGracePeriodSeconds": 10}.items()
    assert container["livenessProbe"]["httpGet"]["httpHeaders"] == [{"name": "X-Probe", "value": "liveness"}]
    assert container["readinessProbe"]["successThreshold"] == 2
    command = {"exec": {"command": ["python", "-m", "bridge.observability.healthcheck"]}}
    other = helm.render(example("minimal"), {"probes": {"liveness": command}}).pod.container()
    assert other["livenessProbe"]["exec"] == command["exec"]
    assert "httpGet" not in other["livenessProbe"]
    assert other["startupProbe"]["initialDelaySeconds"] == 3


def _grace_seconds(objects: Objects) -> int:
    grace: int = objects.pod.spec["terminationGracePeriodSeconds"]
    return grace


def test_there_is_time_to_drain(helm: Helm) -> None:
    """The grace period is the drain, rounded up, plus 15 s; a longer one can be set."""
    assert _grace_seconds(helm.render(example("minimal"))) == 20 + 15
    assert _grace_seconds(helm.render(example("minimal"), {"bridge": {"drainSeconds": 60.2}})) == 61 + 15
    assert _grace_seconds(helm.render(example("full"))) == 90


def test_memory_holds_the_buffer(helm: Helm) -> None:
    """The default memory limit is larger than the default buffer."""
    limit = helm.render(example("minimal")).pod.container()["resources"]["limits"]["memory"]
    assert limit == "512Mi"
    assert Settings.model_fields["bridge_buffer_bytes"].default + (150 << 20) <= 512 << 20


def test_captures_have_a_volume_of_their_own(helm: Helm) -> None:
    """An emptyDir unless another is named, which is the bridge's alone; without a directory there is none."""
    assert "captures" not in [volume["name"] for volume in helm.render(example("minimal")).pod.spec["volumes"]]
    claim = {"persistentVolumeClaim": {"claimName": "captures"}}
    storage = {"resources": {"limits": {"ephemeral-storage": "2Gi"}}}
    for volume, source in (({}, {"emptyDir": {}}), (claim, claim)):
        values = {"bridge": {"capture": {"dir": "/captures", "volume": volume}}, **storage}
        pod = helm.render(example("minimal"), values).pod
        assert {"name": "captures", **source} in pod.spec["volumes"]
        assert {"name": "captures", "mountPath": "/captures"} in pod.container()["volumeMounts"]
        others = [other for other in helm.render(example("minimal"), values).pods if other.spec != pod.spec]
        assert others, "the pod of helm test"
        for other in others:
            assert {"name": "captures", "emptyDir": {}} in other.spec["volumes"]


# -- what rolls a pod -------------------------------------------------------------------------------------------------


def _template(helm: Helm, values: dict[str, Any]) -> dict[str, Any]:
    template: dict[str, Any] = helm.render(example("minimal"), values).workload["spec"]["template"]
    return template


def test_a_changed_setting_rolls_the_pod(helm: Helm) -> None:
    """The pod has the ConfigMap's checksum, so that a new pod reads the new symbols."""
    before = _template(helm, {"aries": {"symbols": ["AAPL"]}})
    after = _template(helm, {"aries": {"symbols": ["AAPL", "MSFT"]}})
    assert before["metadata"]["annotations"]["checksum/config"] != after["metadata"]["annotations"]["checksum/config"]
    assert before["spec"] == after["spec"]


def test_hot_reload_does_not_restart_the_pod(helm: Helm) -> None:
    """With hot reload other symbols change the mounted list and nothing in the pod; another setting restarts it."""
    hot = {"subscriptions": {"hotReload": True}}
    before = _template(helm, {**hot, "aries": {"symbols": ["AAPL"]}})
    assert _template(helm, {**hot, "aries": {"symbols": ["AAPL", "MSFT"]}}) == before
    assert _template(helm, {**hot, "aries": {"symbols": ["AAPL"]}, "log": {"level": "DEBUG"}}) != before


def test_the_list_is_mounted_as_a_directory(helm: Helm) -> None:
    """Kubernetes updates mounted directories only, never single files (subPath)."""
    container = helm.render(example("hotreload")).pod.container()
    assert [mount for mount in container["volumeMounts"] if mount["name"] == "subscriptions"] == [
        {"name": "subscriptions", "mountPath": "/etc/aries-bridge/subscriptions", "readOnly": True}
    ]


# -- preflight and `helm test` ----------------------------------------------------------------------------------------


def hook(one: dict[str, Any]) -> dict[str, str]:
    """Return what Helm reads of an object, by the names after `helm.sh/hook`."""
    annotations = one["metadata"].get("annotations", {})
    return {
        name.removeprefix("helm.sh/hook").removeprefix("-"): text
        for name, text in annotations.items()
        if name.startswith("helm.sh/hook")
    }


@pytest.fixture(params=["helm", "helm_4"])
def either_helm(request: pytest.FixtureRequest) -> Helm:
    """Return Helm 3, then Helm 4."""
    found: Helm = request.getfixturevalue(request.param)
    return found


def test_preflight_runs_before_the_old_pod_is_stopped(either_helm: Helm) -> None:
    """A Job checks before an upgrade, with the settings and files of the bridge; it costs no gap, and no session."""
    objects = either_helm.render(example("shards"))
    job = objects.one("Job")
    assert hook(job) == {
        "": "pre-install,pre-upgrade",
        "weight": "5",
        "delete-policy": "before-hook-creation,hook-succeeded",
        "output-log-policy": "hook-failed",
    }
    assert "initContainers" not in objects.pod.spec
    [check] = job["spec"]["template"]["spec"]["containers"]
    assert (check["command"], check["args"]) == (["aries-bridge"], ["check", "--no-session"])
    for part in ("image", "volumeMounts", "resources", "securityContext"):
        assert check[part] == objects.pod.container()[part]
    assert check["env"][0] == {"name": "BRIDGE_SHARD", "value": "0"}
    assert either_helm.render(example("minimal")).of("Job") == []


def test_hooks_need_nothing_of_the_release(either_helm: Helm) -> None:
    """ConfigMaps and service account of hooks are hooks before them, equal to the release's own."""
    values = {"preflight": {"enabled": True}, "topics": {"create": True}}
    objects = either_helm.render(example("hotreload"), values)
    before = [one for one in objects if hook(one).get("weight") == "-10"]
    assert {hook(one)[""] for one in before} == {"pre-install,pre-upgrade"}
    named = {(one["kind"], one["metadata"]["name"]) for one in before}
    assert len(named) == 3
    for job in objects.of("Job"):
        spec = job["spec"]["template"]["spec"]
        [container] = spec["containers"]
        used = {("ServiceAccount", spec["serviceAccountName"])}
        used |= {("ConfigMap", one["configMapRef"]["name"]) for one in container["envFrom"]}
        used |= {("ConfigMap", one["configMap"]["name"]) for one in spec.get("volumes", ()) if "configMap" in one}
        assert used <= named
    assert objects.config_map("r-aries-bridge-hooks") == objects.settings
    listed = objects.config_map("r-aries-bridge-subscriptions")
    assert objects.config_map("r-aries-bridge-hooks-subscriptions") == listed


def test_the_check_waits_for_what_the_release_creates(helm: Helm) -> None:
    """Secrets and topics that the release itself creates exist from the first upgrade on."""
    for name in ("oauth", "strimzi"):
        job = helm.render(example(name), {"preflight": {"enabled": True}}).one("Job")
        assert hook(job)[""] == "pre-upgrade"


@pytest.mark.parametrize("name", ["service-account-token", "workload-identity"])
def test_a_hook_logs_in_as_the_bridge_does(helm: Helm, name: str) -> None:
    """If the login depends on the service account, a hook has the same, which exists from the first upgrade on."""
    objects = helm.render(example(name), {"preflight": {"enabled": True}})
    job = objects.one("Job")
    assert hook(job)[""] == "pre-upgrade"
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == objects.pod.spec["serviceAccountName"]
    existing = {"preflight": {"enabled": True}, "serviceAccount": {"create": False, "name": "known"}}
    assert hook(helm.render(example(name), existing).one("Job"))[""] == "pre-install,pre-upgrade"


def test_topics_are_created_before_the_bridge_starts(either_helm: Helm) -> None:
    """The Job has the options of the values and the files for Kafka, and runs before the check."""
    objects = either_helm.render(example("mtls"), {"preflight": {"enabled": True}})
    topics = objects.one("Job", "r-aries-bridge-topics")
    [container] = topics["spec"]["template"]["spec"]["containers"]
    assert container["args"] == [
        "topics",
        "--min-insync-replicas=2",
        "--partitions=24",
        "--replication-factor=3",
        "--retention-hours=48",
    ]
    assert {mount["name"] for mount in container["volumeMounts"]} == {"kafka-ca", "kafka-client"}
    assert int(hook(topics)["weight"]) < int(hook(objects.one("Job", "r-aries-bridge-preflight"))["weight"])
    [default] = either_helm.render(example("minimal"), {"topics": {"create": True}}).of("Job")
    assert default["spec"]["template"]["spec"]["containers"][0]["args"] == ["topics"]


@each_example
def test_helm_test_runs_the_preflight(helm: Helm, path: Path) -> None:
    """`helm test` starts a pod that runs the check and ends; the next one replaces it."""
    pod = helm.render(path).one("Pod")
    assert hook(pod)[""] == "test"
    assert pod["spec"]["restartPolicy"] == "Never"
    [container] = pod["spec"]["containers"]
    assert container["args"] == ["check", "--no-session"]


def test_the_log_of_helm_test_can_be_read(either_helm: Helm) -> None:
    """Helm 3 reads it after it has deleted what its policy says: the pod is kept until the next test."""
    assert hook(either_helm.render(example("minimal")).one("Pod"))["delete-policy"] == "before-hook-creation"


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_a_digest_pins_the_image(helm: Helm) -> None:
    """With a digest the tag does not matter; without one it is the chart's version unless set."""
    digest = "sha256:" + "0123456789abcdef" * 4
    images = {container["image"] for pod in helm.render(example("full")).pods for container in pod.containers}
    assert images == {f"registry.example.com/aries-bridge@{digest}"}
    minimal = helm.render(example("minimal"), {"image": {"tag": "edge"}})
    assert minimal.pod.container()["image"] == "registry.example.com/aries-bridge:edge"


def test_everything_about_scheduling_reaches_the_pod(helm: Helm) -> None:
    """Scheduling, names and pull secrets are those of the values; a spread without a selector gets the bridge's."""
    spec = helm.render(example("full")).pod.spec
    assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "mirror"}]
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert [one["key"].split("/")[-1] for one in spec["tolerations"]] == ["dedicated", "not-ready", "unreachable"]
    assert "nodeAffinity" in spec["affinity"]
    assert spec["priorityClassName"] == "market-data"
    assert spec["schedulerName"] == "default-scheduler"
    assert spec["hostAliases"][0]["ip"] == "192.0.2.7"
    assert spec["dnsConfig"]["options"] == [{"name": "ndots", "value": "2"}]
    [spread] = spec["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "bridge"
    assert spread["maxSkew"] == 1


def test_a_pod_of_a_lost_node_is_replaced_soon(helm: Helm) -> None:
    """Within 30 s unless set otherwise, by a number or by the tolerations themselves."""
    lost = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    waits = {
        0: helm.render(example("minimal"), {"lostNodeSeconds": 0}),
        30: helm.render(example("minimal")),
        60: helm.render(example("minimal"), {"tolerations": [{**lost, "tolerationSeconds": 60}]}),
    }
    for seconds, objects in waits.items():
        assert [one for one in objects.pod.spec["tolerations"] if one["key"] == lost["key"]] == [
            {**lost, "tolerationSeconds": seconds}
        ]


@pytest.mark.parametrize(
    ("registry", "repository", "image"),
    [
        ("mirror.example", "registry.example.com/team/aries-bridge", "mirror.example/team/aries-bridge:0.1.0"),
        ("mirror.example/hub/", "aries-bridge", "mirror.example/hub/aries-bridge:0.1.0"),
        ("mirror.example:5000", "localhost:5000/aries-bridge", "mirror.example:5000/aries-bridge:0.1.0"),
        ("", "team/aries-bridge", "team/aries-bridge:0.1.0"),
    ],
)
def test_a_registry_for_all_charts_is_used(helm: Helm, registry: str, repository: str, image: str) -> None:
    """`global.imageRegistry` replaces the registry, and `global.imagePullSecrets` are added."""
    secrets = {"imagePullSecrets": ["mirror", {"name": "team"}]}
    values = {
        "global": {"imageRegistry": registry, **secrets},
        "image": {"repository": repository},
        "imagePullSecrets": ["own", "team"],
    }
    for pod in helm.render(example("shards"), values).pods:
        assert {container["image"] for container in pod.containers} == {image}
        assert pod.spec["imagePullSecrets"] == [{"name": "mirror"}, {"name": "team"}, {"name": "own"}]


def test_services_can_have_both_address_families(helm: Helm) -> None:
    """Families and their policy are those of the values, and otherwise left to the cluster."""
    values = {"service": {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]}}
    for service in helm.render(example("shards"), values).of("Service"):
        assert service["spec"]["ipFamilyPolicy"] == "PreferDualStack"
        assert service["spec"]["ipFamilies"] == ["IPv6", "IPv4"]
    assert "ipFamilies" not in helm.render(example("minimal")).one("Service")["spec"]


def test_what_is_added_reaches_the_pod(helm: Helm) -> None:
    """Additional labels, annotations, variables, volumes and objects are rendered."""
    objects = helm.render(example("full"))
    pod = objects.pod
    assert pod.labels["sidecar"] == "no"
    annotations = objects.workload["spec"]["template"]["metadata"]["annotations"]
    assert annotations.items() >= {"example.com/note": "yes", "example.com/owner": "market-data"}.items()
    container = pod.container()
    assert {"name": "scratch", "mountPath": "/tmp"} in container["volumeMounts"]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"} in container["env"]
    assert container["envFrom"][-1] == {"configMapRef": {"name": "more", "optional": True}}
    assert objects.config_map("market-bridge-note") == {"release": "r"}


def test_an_existing_service_account_can_be_used(helm: Helm) -> None:
    """Without a service account of the chart, pods use the namespace's default one."""
    objects = helm.render(example("openshift"))
    assert objects.of("ServiceAccount") == []
    assert objects.pod.spec["serviceAccountName"] == "default"
    named = helm.render(example("full")).one("ServiceAccount", "bridge")
    assert (named["metadata"]["name"], named["automountServiceAccountToken"]) == ("bridge", False)


def test_external_secrets_are_the_ones_that_are_mounted(helm: Helm) -> None:
    """The pod mounts the Secrets that the External Secrets Operator creates."""
    objects = helm.render(example("oauth"))
    made = {one["spec"]["target"]["name"] for one in objects.of("ExternalSecret")}
    mounted = {volume["secret"]["secretName"] for volume in objects.pod.spec["volumes"] if "secret" in volume}
    assert made == mounted == {"r-aries-bridge-aries", "r-aries-bridge-kafka"}


def test_a_budget_is_of_one_kind(helm: Helm) -> None:
    """Either bound can be set, and only one is rendered."""
    least = helm.render(example("full")).one("PodDisruptionBudget")["spec"]
    most = helm.render(example("shards")).one("PodDisruptionBudget")["spec"]
    assert (least["minAvailable"], "maxUnavailable" in least) == (1, False)
    assert (most["maxUnavailable"], "minAvailable" in most) == (1, False)


# -- network ----------------------------------------------------------------------------------------------------------


def _ways_out(objects: Objects) -> set[tuple[str, int]]:
    rules = objects.one("NetworkPolicy")["spec"]["egress"]
    return {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}


@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("mtls", {443, 9093}),
        ("refresh-token", {443, 9092}),
        ("oauth", {443, 8443, 9093}),
        ("full", {443, 3128, 8081, 8082, 8444, 9093, 9094, 9095, 9999}),
        ("registry-oauth", {443, 8443, 9092}),
        ("registry-token", {443, 8081, 8082, 9092}),
    ],
)
def test_only_the_traffic_that_the_settings_need_is_allowed(helm: Helm, name: str, ports: set[int]) -> None:
    """DNS, the feed, Kafka, token endpoints and registry can be reached on their ports, and nothing else."""
    expected = {("TCP", 53), ("UDP", 53)} | {("TCP", port) for port in ports}
    assert _ways_out(helm.render(example(name))) == expected


def test_openshifts_name_servers_can_be_reached(helm: Helm) -> None:
    """A policy applies to the port behind the DNS service, which differs on OpenShift."""
    assert _ways_out(helm.render(example("openshift"))) > {("UDP", 53), ("UDP", 5353)}


@pytest.mark.parametrize(
    ("url", "port"),
    [("wss://a.example/ws", 443), ("ws://a.example/ws", 80), ("wss://a.example:8443", 8443), ("ws://[::1]/ws", 80)],
)
def test_the_port_of_a_url_is_found(helm: Helm, url: str, port: int) -> None:
    """The feed's port is that of its URL, else that of its scheme."""
    ways = _ways_out(helm.render(example("mtls"), {"aries": {"url": url}}))
    assert ways == {("TCP", 53), ("UDP", 53), ("TCP", port), ("TCP", 9093)}


def test_every_way_can_have_more_ports(helm: Helm) -> None:
    """A Service may have another port than its pods, which a policy sees; a proxy is found in the environment, too."""
    more = {"aries": [8001], "kafka": [8002], "oauth": [8003], "schemaRegistry": [8004], "proxy": [8005]}
    values = {
        "networkPolicy": {"ports": more},
        "schemaRegistry": {"url": "http://registry"},
        "extraEnv": [{"name": "https_proxy", "value": "http://me:secret@proxy.example:3128"}],
    }
    ways = {port for protocol, port in _ways_out(helm.render(example("oauth"), values)) if protocol == "TCP"}
    assert ways == {53, 80, 443, 3128, 8001, 8002, 8003, 8004, 8005, 8443, 9093}


def test_peers_restrict_traffic(helm: Helm) -> None:
    """With peers, traffic is allowed to them alone; the values set who may read metrics."""
    spec = helm.render(example("full")).one("NetworkPolicy")["spec"]
    [kafka] = [rule for rule in spec["egress"] if {"port": 9095, "protocol": "TCP"} in rule["ports"]]
    assert kafka["to"] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    [rule] = spec["ingress"]
    assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert rule["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
