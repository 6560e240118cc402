"""Each alert is tested by promtool: it fires when it should, and at no other time."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.helm.chart import CHART, NAMESPACE, Helm, example
from tests.helm.test_monitoring import DASHBOARD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Scrapes in the unit tests, of which there are 240 in an hour, and evaluations of the rules.
INTERVAL = "15s"
EVALUATION_INTERVAL = "30s"
POD = "r-aries-bridge-5d8f9c7b6d-x2x4z"
#: A bridge with which all is well; `a+bxn` is a, then n times b more.
HEALTHY: Final = {
    'aries_bridge_build_info{version="1"}': "1x240",
    "aries_bridge_authenticated": "1x240",
    "aries_bridge_kafka_acking": "1x240",
    "aries_bridge_market_open": "1x240",
    "aries_bridge_symbols": "5x240",
    "aries_bridge_refused_symbols": "0x240",
    'aries_bridge_stale_symbols{topic="aries.quotes"}': "0x240",
    'aries_bridge_chain_contracts{underlying="AAPL"}': "40x240",
    'aries_bridge_chain_resolved_timestamp_seconds{underlying="AAPL"}': "0x240",
    'aries_bridge_last_data_timestamp_seconds{topic="aries.quotes"}': "0+15x240",
    'aries_bridge_last_data_timestamp_seconds{topic="aries.market-status"}': "0x240",
    'aries_bridge_records_dropped_total{topic="aries.trades",reason="overload"}': "0x240",
    'aries_bridge_records_undelivered_total{topic="aries.trades"}': "0x240",
    'aries_bridge_dead_letters_total{reason="not_json"}': "0x240",
    'aries_bridge_bad_fields_total{topic="aries.quotes",field="bid_size"}': "0x240",
    "aries_bridge_token_expiry_timestamp_seconds": "7200x240",
    'aries_bridge_reconnects_total{cause="network"}': "0x240",
    'aries_bridge_reconnects_total{cause="token_refused"}': "0x240",
    "aries_bridge_producer_rebuilds_total": "0x240",
    "aries_bridge_buffer_bytes": "1000x240",
    "aries_bridge_buffer_budget_bytes": "268435456x240",
    "aries_bridge_event_loop_lag_seconds": "0.002x240",
    "process_start_time_seconds": "0x240",
}
QUOTES = 'aries_bridge_last_data_timestamp_seconds{topic="aries.quotes"}'
STATUS = 'aries_bridge_last_data_timestamp_seconds{topic="aries.market-status"}'
DROPPED = 'aries_bridge_records_dropped_total{topic="aries.trades",reason="overload"}'
UNDELIVERED = 'aries_bridge_records_undelivered_total{topic="aries.trades"}'
DEAD = 'aries_bridge_dead_letters_total{reason="not_json"}'
BAD = 'aries_bridge_bad_fields_total{topic="aries.quotes",field="bid_size"}'
NETWORK = 'aries_bridge_reconnects_total{cause="network"}'
STALE = 'aries_bridge_stale_symbols{topic="aries.quotes"}'
RESOLVED = 'aries_bridge_chain_resolved_timestamp_seconds{underlying="AAPL"}'
REFUSED = 'aries_bridge_reconnects_total{cause="token_refused"}'


@dataclass(frozen=True, slots=True)
class Moment:
    """What differs from a healthy bridge, and which alerts fire at a time; None removes a metric."""

    at: str
    firing: set[str] = field(default_factory=set)
    otherwise: Mapping[str, str | None] = field(default_factory=dict)


MOMENTS: Final = {
    "all is well": Moment("55m"),
    "nothing is scraped": Moment("10m", {"Missing"}, dict.fromkeys(HEALTHY)),
    "nothing is scraped for a moment": Moment("4m", set(), dict.fromkeys(HEALTHY)),
    "no session": Moment("3m", {"FeedDown"}, {"aries_bridge_authenticated": "0x240", "aries_bridge_market_open": None}),
    "no session for a minute": Moment("5m", set(), {"aries_bridge_authenticated": "1x14 0x4 1x200"}),
    "silence while the market is open": Moment("20m", {"DataStale"}, {QUOTES: "0+15x40 600x200"}),
    "silence but for the market status": Moment("20m", {"DataStale"}, {QUOTES: "0+15x40 600x200", STATUS: "0+15x240"}),
    "silence through reconnects": Moment(
        "20m", {"DataStale"}, {QUOTES: "0+15x40 600x200", "aries_bridge_market_open": f"1x40{' stale 1x2' * 60}"}
    ),
    "silence since it has closed": Moment(
        "20m", set(), {QUOTES: "0+15x40 600x200", "aries_bridge_market_open": "1x40 0x200"}
    ),
    "a short silence": Moment("13m", set(), {QUOTES: "0+15x40 600x200"}),
    "silence while it is closed": Moment("55m", set(), {QUOTES: "600x240", "aries_bridge_market_open": "0x240"}),
    "never any data": Moment("10m", {"DataStale"}, {QUOTES: None, STATUS: "0+15x240"}),
    "no data just after the start": Moment("3m", set(), {QUOTES: None}),
    "a shard without symbols": Moment("30m", set(), {QUOTES: None, "aries_bridge_symbols": "0x240"}),
    "Kafka does not answer": Moment("3m", {"DeliveryFailing"}, {"aries_bridge_kafka_acking": "0x240"}),
    "Kafka does not answer, after a reconnect": Moment(
        "30m", {"DeliveryFailing"}, {"aries_bridge_kafka_acking": "0x240", NETWORK: "3x240"}
    ),
    "nothing to send before the first session": Moment(
        "3m",
        {"FeedDown"},
        {
            "aries_bridge_authenticated": "0x240",
            "aries_bridge_kafka_acking": "0x240",
            "aries_bridge_buffer_bytes": "0x240",
            NETWORK: "1x240",
        },
    ),
    "Kafka elects a leader": Moment("6m", set(), {"aries_bridge_kafka_acking": "1x20 0x2 1x200"}),
    "producers are replaced": Moment(
        "12m", {"DeliveryFailing"}, {"aries_bridge_producer_rebuilds_total": "0x20 0+1x220"}
    ),
    "a producer was replaced": Moment("9m", set(), {"aries_bridge_producer_rebuilds_total": "0x20 1x220"}),
    "records are dropped": Moment("8m", {"RecordsDropped"}, {DROPPED: "0x20 500x220"}),
    "records were dropped long ago": Moment("30m", set(), {DROPPED: "0x20 500x220"}),
    "records are given up": Moment("8m", {"RecordsDropped"}, {UNDELIVERED: "0x20 7x220"}),
    "bad lines": Moment("8m", set(), {DEAD: "0x20 3x220"}),
    "many bad lines at once": Moment("18m", set(), {DEAD: "0x20 900x220"}),
    "bad lines again and again": Moment("25m", {"DeadLetters"}, {DEAD: "0x20 0+0.2x220"}),
    "a bad field": Moment("8m", set(), {BAD: "0x20 3x220"}),
    "bad fields again and again": Moment("25m", {"BadFields"}, {BAD: "0x20 0+0.1x220"}),
    "an expiring token": Moment("57m", {"TokenExpiring"}, {"aries_bridge_token_expiry_timestamp_seconds": "3600x240"}),
    "a token with time left": Moment("50m", set(), {"aries_bridge_token_expiry_timestamp_seconds": "3600x240"}),
    "a token of unknown lifetime": Moment("55m", set(), {"aries_bridge_token_expiry_timestamp_seconds": None}),
    "a rejected token": Moment("9m", {"TokenExpiring"}, {REFUSED: "0x20 1x4 2x4 3x200"}),
    "the buffer fills": Moment("4m", {"BufferHigh"}, {"aries_bridge_buffer_bytes": "200000000x240"}),
    "the buffer is used": Moment("4m", set(), {"aries_bridge_buffer_bytes": "100000000x240"}),
    "restarts": Moment("20m", {"Restarts"}, {"process_start_time_seconds": "0x20 300x20 600x20 900x180"}),
    "a restart": Moment("20m", set(), {"process_start_time_seconds": "0x20 300x220"}),
    "lost again and again": Moment("15m", {"Reconnecting"}, {NETWORK: "0x10 0+1x230"}),
    "lost once": Moment("15m", set(), {NETWORK: "0x10 1x230"}),
    "refused symbols": Moment("6m", {"SymbolsRefused"}, {"aries_bridge_refused_symbols": "2x240"}),
    "a frozen symbol": Moment("15m", {"StaleSymbols"}, {STALE: "0x40 1x200"}),
    "a frozen symbol for a moment": Moment("15m", set(), {STALE: "0x40 3x4 0x200"}),
    "a chain that was resolved long ago": Moment("20m", {"ChainsStale"}, {RESOLVED: "-100000+0x240"}),
    "a chain that was never resolved": Moment("20m", {"ChainsStale"}, {RESOLVED: None}),
    "a chain that is resolved soon": Moment("14m", set(), {RESOLVED: None}),
    "too much work": Moment("6m", {"Overworked"}, {"aries_bridge_event_loop_lag_seconds": "2.5x240"}),
}


def rules(helm: Helm, directory: Path, name: str = "monitoring", values: dict[str, Any] | None = None) -> Path:
    """Write the rules of an example as a file for Prometheus."""
    path = directory / "rules.yaml"
    path.write_text(yaml.safe_dump(helm.render(example(name), values).one("PrometheusRule")["spec"]))
    return path


def series(otherwise: Mapping[str, str | None], pod: str = POD, namespace: str = NAMESPACE) -> list[dict[str, str]]:
    """Return the time series of a bridge that is healthy except for some metrics."""
    target = f'namespace="{namespace}",pod="{pod}",job="bridge"'
    states = {**HEALTHY, **otherwise}
    return [{"series": _labelled(name, target), "values": state} for name, state in states.items() if state is not None]


def _labelled(name: str, target: str) -> str:
    return name.replace("{", f"{{{target},") if "{" in name else f"{name}{{{target}}}"


def firing(alerts: set[str], at: str, moment: str = "") -> list[dict[str, Any]]:
    """Return the expectation that exactly these alerts fire; promtool reports only the expression of a time."""
    samples = [{"labels": f'{{alertname="AriesBridge{name}"}}', "value": 1} for name in sorted(alerts)]
    expression = f'count by (alertname) (ALERTS{{alertstate="firing"}}) # {moment}'
    return [{"expr": expression, "eval_time": at, "exp_samples": samples}]


def check(
    promtool: Path, rules_path: Path, tests: list[dict[str, Any]], evaluation_interval: str = EVALUATION_INTERVAL
) -> None:
    """Run promtool's unit tests of rules."""
    path = rules_path.with_name("tests.yaml")
    document = {"rule_files": [str(rules_path)], "evaluation_interval": evaluation_interval, "tests": tests}
    path.write_text(json.dumps(document))
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should(helm: Helm, promtool: Path, tmp_path: Path) -> None:
    """At each time exactly the expected alerts fire; promtool reports the time if others do."""
    tests = [
        {
            "interval": INTERVAL,
            "input_series": series(moment.otherwise),
            "promql_expr_test": firing(moment.firing, moment.at, name),
        }
        for name, moment in MOMENTS.items()
    ]
    check(promtool, rules(helm, tmp_path), tests)


def test_a_wrong_expectation_is_noticed(helm: Helm, promtool: Path, tmp_path: Path) -> None:
    """The check itself fails if an alert does not fire, and reports the time."""
    expected = firing({"FeedDown"}, "5m", "calm")
    test = {"interval": INTERVAL, "input_series": series({}), "promql_expr_test": expected}
    with pytest.raises(AssertionError, match="calm"):
        check(promtool, rules(helm, tmp_path), [test])


def test_every_alert_is_tested(helm: Helm) -> None:
    """There is a time at which each alert fires."""
    [group] = helm.render(example("monitoring")).one("PrometheusRule")["spec"]["groups"]
    tried = set().union(*(moment.firing for moment in MOMENTS.values()))
    assert {rule["alert"] for rule in group["rules"]} == {f"AriesBridge{name}" for name in tried}


def test_every_alert_has_a_runbook(helm: Helm) -> None:
    """Each links to a section of the README, and there is no other; with standby there are more of them."""
    [group] = helm.render(example("standby")).one("PrometheusRule")["spec"]["groups"]
    alerts = {rule["alert"]: rule for rule in group["rules"]}
    headings = re.findall(r"^#+ (AriesBridge\w+)$", (CHART / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(headings) == alerts.keys()
    for name, rule in alerts.items():
        base = "https://git.example.com/aries-bridge/blob/main/helm/README.md"
        assert rule["annotations"]["runbook_url"] == f"{base}#{name.lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_bridges_of_other_releases_fire_no_alert(helm: Helm, promtool: Path, tmp_path: Path) -> None:
    """Bridges of other releases and namespaces fire no alert of this one, whatever their names."""
    down = {"aries_bridge_authenticated": "0x240"}
    others = [
        *series(down, pod="r-aries-bridge-second-5d8f9c7b6d-x2x4z"),
        *series(down, pod="other-aries-bridge-5d8f9c7b6d-x2x4z"),
        *series(down, namespace="elsewhere"),
    ]
    test = {"interval": INTERVAL, "input_series": series({}) + others, "promql_expr_test": firing(set(), "20m")}
    check(promtool, rules(helm, tmp_path), [test])


def test_alerts_are_per_shard(helm: Helm, promtool: Path, tmp_path: Path) -> None:
    """Of three shards one is missing, and two have no session: one alert, and two of the other kind."""
    values = {"monitoring": {"prometheusRule": {"enabled": True, "runbookUrl": "https://git.example.com/x"}}}
    down = {"aries_bridge_authenticated": "0x240"}
    pods = [*series(down, pod="r-aries-bridge-of-3-0"), *series(down, pod="r-aries-bridge-of-3-1")]
    expected = firing({"FeedDown", "Missing"}, "20m")
    expected[0]["exp_samples"][0]["value"] = 2
    test = {"interval": INTERVAL, "input_series": pods, "promql_expr_test": expected}
    check(promtool, rules(helm, tmp_path, "shards", values), [test])


def test_an_alert_says_what_is_wrong(helm: Helm, promtool: Path, tmp_path: Path) -> None:
    """Labels route an alert; its text has the pod and the number."""
    test = {
        "interval": INTERVAL,
        "input_series": series({QUOTES: "0+15x40 600x200"}),
        "alert_rule_test": [
            {
                "eval_time": "20m",
                "alertname": "AriesBridgeDataStale",
                "exp_alerts": [
                    {
                        "exp_labels": {"severity": "critical", "namespace": NAMESPACE, "pod": POD},
                        "exp_annotations": {
                            "summary": "The market is open, but no data is received.",
                            "description": f"{POD} has had no data for 10m 0s although the market is open.",
                            "runbook_url": "https://git.example.com/aries-bridge/blob/main/helm/README.md"
                            "#ariesbridgedatastale",
                        },
                    }
                ],
            }
        ],
    }
    check(promtool, rules(helm, tmp_path), [test])


def test_thresholds_and_labels_are_the_values(helm: Helm) -> None:
    """An alert can be set, labelled and disabled; additional rules can be added."""
    [group] = helm.render(example("full")).one("PrometheusRule")["spec"]["groups"]
    alerts = {rule["alert"]: rule for rule in group["rules"] if "alert" in rule}
    assert "AriesBridgeRestarts" not in alerts
    assert alerts["AriesBridgeDeadLetters"]["expr"].endswith("> 10")
    assert alerts["AriesBridgeDeadLetters"]["labels"]["severity"] == "info"
    assert {rule["labels"]["team"] for rule in alerts.values()} == {"market-data"}
    assert "md.market_status.v1" in alerts["AriesBridgeDataStale"]["expr"]
    assert group["rules"][-1]["record"] == "aries_bridge:records:rate5m"


def test_the_selector_can_be_replaced(helm: Helm) -> None:
    """If another scraper labels the metrics, its labels can be set."""
    values = {"monitoring": {"prometheusRule": {"selector": 'job="bridge"'}}}
    [group] = helm.render(example("monitoring"), values).one("PrometheusRule")["spec"]["groups"]
    for rule in group["rules"]:
        assert 'job="bridge"' in rule["expr"]
        assert "pod=~" not in rule["expr"]


@pytest.mark.parametrize("name", ["monitoring", "full", "standby"])
def test_the_rules_are_valid(helm: Helm, promtool: Path, tmp_path: Path, name: str) -> None:
    """`promtool check rules` finds no error in expressions and texts."""
    _check_rules(promtool, rules(helm, tmp_path, name))


def test_the_dashboards_expressions_are_valid(promtool: Path, tmp_path: Path) -> None:
    """Every expression of the dashboard is valid, with values for Grafana's variables."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", ())]
    recorded = [
        {"record": f"panel:{number}", "expr": _without_variables(target["expr"])}
        for number, target in enumerate(targets)
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    _check_rules(promtool, path)


def _without_variables(expression: str) -> str:
    for variable, value in (("$namespace", "x"), ("$pod", ".+"), ("$__rate_interval", "1m")):
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


def _check_rules(promtool: Path, path: Path) -> None:
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
