"""Alerts and dashboard use metrics and labels that the bridge has."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.helm.chart import CHART, Helm, example
from tests.observability.http_client import client
from tests.support.service import environment, eventually, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.kafka.embedded_broker import EmbeddedBroker

DASHBOARD = CHART / "dashboards/aries-bridge.json"
PROMISED = (
    *("lines_received_total", "records_published_total", "records_conflated_total", "records_dropped_total"),
    *("records_undelivered_total", "dead_letters_total", "lines_filtered_total", "unknown_fields_total", "connected"),
    *("authenticated", "reconnects_total", "feed_gap_seconds_total", "last_data_timestamp_seconds", "buffer_bytes"),
    *("receive_to_ack_seconds_bucket", "produce_ack_seconds_bucket", "producer_rebuilds_total"),
    *("token_expiry_timestamp_seconds", "subscribed_symbols", "event_loop_lag_seconds"),
)
#: What a PodMonitor or ServiceMonitor adds.
TARGET_LABELS = {"namespace", "pod"}
#: Metrics whose labels a bridge with good data, or without option chains, does not show.
WITHOUT_SAMPLES = {
    "aries_bridge_bad_fields_total": {"topic", "field"},
    "aries_bridge_chain_contracts": {"underlying"},
    "aries_bridge_chain_resolved_timestamp_seconds": {"underlying"},
}
#: Metrics of bridges that share shards (`BRIDGE_SHARD=group`), which others do not have.
OF_A_GROUP = {
    "aries_bridge_group_members": set(),
    "aries_bridge_group_rebalances_total": set(),
    "aries_bridge_group_standby": set(),
    "aries_bridge_plan_mismatch_members": set(),
    "aries_bridge_shard_claims_total": {"cause"},
    "aries_bridge_shard_lease_seconds": {"shard"},
    "aries_bridge_shard_owned": {"shard"},
    "aries_bridge_shard_releases_total": {"cause"},
    "aries_bridge_shards_without_owner": set(),
}
_SELECTED = re.compile(r"(?P<metric>[a-zA-Z_:][a-zA-Z0-9_:]*)\{(?P<matchers>[^}]*)\}")
_LABEL = re.compile(r"(\w+)(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on) \(([^)]*)\)")


@pytest.fixture
async def exposed(broker: EmbeddedBroker, topic_prefix: str) -> dict[str, set[str]]:
    """Return the labels of each metric that a bridge with data exposes, by sample name."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        async with serving(environ) as service, client(service) as http:
            bridge = service.bridge
            await simulator.subscribed("AAPL", "MSFT")
            await simulator.inject(faults.UnknownField(name="novelty"))
            await simulator.emit(50)
            await eventually(lambda: bridge.ingest.unknown_fields and bridge.accounts.published, "data and a new field")
            text = (await http.get("/metrics")).text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(family.name, set())  # one without samples just now
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _dashboard() -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return dashboard


def _dashboard_expressions() -> Iterator[str]:
    for panel in _dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def _alert_expressions(helm: Helm) -> Iterator[str]:
    for name in ("monitoring", "standby"):
        [group] = helm.render(example(name)).one("PrometheusRule")["spec"]["groups"]
        yield from (rule["expr"] for rule in group["rules"])


def unknown(expression: str, exposed: dict[str, set[str]]) -> list[str]:
    """Return the metrics and labels of an expression that no bridge exposes."""
    selected = {found["metric"]: found["matchers"] for found in _SELECTED.finditer(expression)}
    wrong = [metric for metric in selected if metric not in exposed]
    known = TARGET_LABELS.union(*(exposed.get(metric, ()) for metric in selected))
    matched = {label for matchers in selected.values() for label in _LABEL.findall(matchers)}
    grouped = {label.strip() for labels in _GROUPED.findall(expression) for label in labels.split(",")}
    return [*wrong, *sorted((matched | grouped) - known)]


async def test_alerts_and_dashboard_use_existing_metrics(helm: Helm, exposed: dict[str, set[str]]) -> None:
    """Every metric and label of every expression is in the output of a running bridge."""
    expressions = [*_alert_expressions(helm), *_dashboard_expressions()]
    assert len(expressions) > 40
    for metric, labels in (*WITHOUT_SAMPLES.items(), *OF_A_GROUP.items()):
        exposed.setdefault(metric, set()).update(labels)
    assert {expression: bad for expression in expressions if (bad := unknown(expression, exposed))} == {}
    assert unknown('rate(aries_bridge_lost_total{namespace="x",colour="red"}[5m])', exposed) == [
        "aries_bridge_lost_total",
        "colour",
    ]


def test_the_dashboard_shows_the_metrics_of_the_contract() -> None:
    """Every metric of the contract is on the dashboard, except the socket's state, which the session's implies."""
    shown = {found["metric"] for expression in _dashboard_expressions() for found in _SELECTED.finditer(expression)}
    assert {f"aries_bridge_{name}" for name in PROMISED} - shown == {"aries_bridge_connected"}


def test_the_dashboard_shows_the_metrics_of_a_group() -> None:
    """Every metric of the group is on the dashboard."""
    shown = {found["metric"] for expression in _dashboard_expressions() for found in _SELECTED.finditer(expression)}
    assert shown >= OF_A_GROUP.keys()


def test_a_bridge_without_standby_needs_no_metric_of_a_group(helm: Helm) -> None:
    """Its alerts have none of them, so that each is read as it was."""
    [group] = helm.render(example("monitoring")).one("PrometheusRule")["spec"]["groups"]
    for rule in group["rules"]:
        assert not [metric for metric in OF_A_GROUP if metric in rule["expr"]]


def test_the_dashboard_is_complete(helm: Helm) -> None:
    """Panels have titles, descriptions and positions; the ConfigMap has the file unchanged."""
    dashboard = _dashboard()
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        covered = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & covered, panel["title"]
        assert max(x for x, _ in covered) < 24
        cells |= covered
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"]
    config_map = helm.render(example("monitoring")).config_map("r-aries-bridge-dashboard")
    assert config_map is not None
    assert json.loads(config_map["aries-bridge.json"]) == dashboard


def test_the_dashboard_can_be_found_by_grafana(helm: Helm) -> None:
    """Its ConfigMap has the label and the namespace of the values."""
    metadata = helm.render(example("full")).one("ConfigMap", "market-bridge-dashboard")["metadata"]
    assert metadata["namespace"] == "monitoring"
    assert metadata["labels"]["grafana_dashboard"] == "1"
    assert metadata["annotations"]["grafana_folder"] == "Market data"


@pytest.mark.parametrize(("name", "kind"), [("full", "PodMonitor"), ("shards", "ServiceMonitor")])
def test_a_monitor_scrapes_the_metrics(helm: Helm, name: str, kind: str) -> None:
    """The endpoint is the port and path of the bridge's metrics."""
    spec = helm.render(example(name)).one(kind)["spec"]
    [endpoint] = spec.get("podMetricsEndpoints") or spec["endpoints"]
    assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == ("http", "/metrics", "15s")
