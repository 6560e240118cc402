"""Alerts of bridges that share shards: they know owners from standbys, and a hand-over from a fault."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.helm.chart import Helm, example
from tests.helm.test_alerts import (
    HEALTHY,
    INTERVAL,
    QUOTES,
    RESOLVED,
    STALE,
    STATUS,
    check,
    firing,
    rules,
    series,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: One shard and two pods.
PAIR: Final = {"shards": 1}
OWNER_POD = "r-aries-bridge-5d8f9c7b6d-aaaaa"
STANDBY_POD = "r-aries-bridge-5d8f9c7b6d-bbbbb"
OWNED = 'aries_bridge_shard_owned{shard="0"}'
LEASE = 'aries_bridge_shard_lease_seconds{shard="0"}'
STANDBY = "aries_bridge_group_standby"
AUTHENTICATED = "aries_bridge_authenticated"
MARKET = "aries_bridge_market_open"
BUFFER = "aries_bridge_buffer_bytes"
ACKING = "aries_bridge_kafka_acking"
TOKEN = "aries_bridge_token_expiry_timestamp_seconds"
DIFFERENT = "aries_bridge_plan_mismatch_members"
CLAIMED = 'aries_bridge_shard_claims_total{cause="expired"}'
OWNER: Final = {OWNED: "1x240", LEASE: "3.5x240", STANDBY: "0x240", DIFFERENT: "0x240", CLAIMED: "0x240"}
#: A standby says of its session what would be a fault of an owner: there is none.
WITHOUT_SHARD: Final = {
    OWNED: "0x240",
    STANDBY: "1x240",
    DIFFERENT: "0x240",
    CLAIMED: "0x240",
    AUTHENTICATED: "0x240",
    MARKET: None,
    ACKING: "0x240",
    BUFFER: "0x240",
    QUOTES: None,
    STATUS: None,
    STALE: "3x240",
    RESOLVED: None,
    TOKEN: "60x240",
}
#: An owner that ends after five minutes.
ENDED: Final = {name: values.replace("x240", "x20") for name, values in {**HEALTHY, **OWNER}.items()}
GONE: Final = dict.fromkeys([*HEALTHY, *OWNER])


@dataclass(frozen=True, slots=True)
class Moment:
    """What differs from an owner and a standby with which all is well, and which alerts fire at a time."""

    at: str
    firing: set[str] = field(default_factory=set)
    owner: Mapping[str, str | None] = field(default_factory=dict)
    standby: Mapping[str, str | None] = field(default_factory=dict)


MOMENTS: Final = {
    "all is well": Moment("55m"),
    "nothing is scraped": Moment("11m", {"Missing", "NoStandby"}, GONE, GONE),
    "one pod is missing": Moment("8m", set(), {}, GONE),
    "no standby": Moment("12m", {"NoStandby"}, {}, GONE),
    "a pod that is no member of the group": Moment("12m", {"NoStandby"}, {}, {**HEALTHY, **OWNER, OWNED: "0x240"}),
    "no owner": Moment("1m30s", {"ShardWithoutOwner"}, {OWNED: "0x240", STANDBY: "1x240"}),
    "no owner for minutes": Moment("4m", {"ShardWithoutOwner", "FeedDown"}, {OWNED: "0x240", STANDBY: "1x240"}),
    "no owner for a moment": Moment("5m30s", set(), {OWNED: "1x20 0x1 1x200"}),
    "an owner without a session": Moment("3m", {"FeedDown"}, {AUTHENTICATED: "0x240"}),
    "a shard that is passed on, as nobody reaches Aries": Moment(
        "20m",
        {"FeedDown"},
        {AUTHENTICATED: "0x240", OWNED: f"0{' 1 1 0 0' * 60}", STANDBY: f"1{' 0 0 1 1' * 60}"},
        {OWNED: f"1{' 0 0 1 1' * 60}", STANDBY: f"0{' 1 1 0 0' * 60}"},
    ),
    "two owners": Moment("1m30s", {"ShardWithTwoOwners"}, {}, {**HEALTHY, **OWNER}),
    "an owner without data": Moment("20m", {"DataStale"}, {QUOTES: "0+15x40 600x200"}),
    "a former owner": Moment(
        "20m", set(), {}, {STANDBY: "0x40 1x200", QUOTES: "0+15x40 600x200", MARKET: "1x240", RESOLVED: "-99000x240"}
    ),
    "an owner since two minutes, without data yet": Moment("22m", set(), {STANDBY: "1x80 0x160", QUOTES: "600x240"}),
    "an owner since five minutes, without data yet": Moment(
        "25m", {"DataStale"}, {STANDBY: "1x80 0x160", QUOTES: "600x240"}
    ),
    "an owner whose token expires": Moment("5m", {"TokenExpiring"}, {TOKEN: "60x240"}),
    "an owner with frozen symbols": Moment("5m", {"StaleSymbols"}, {STALE: "3x240"}),
    "an owner without contracts": Moment("20m", {"ChainsStale"}, {RESOLVED: None}),
    "an owner that Kafka does not answer": Moment("3m", {"DeliveryFailing"}, {ACKING: "0x240"}),
    "a lease that has ended with records in the buffer": Moment(
        "1m30s", {"DeliveryFailing", "ShardWithoutOwner"}, {ACKING: "0x240", OWNED: "0x240", STANDBY: "1x240"}
    ),
    "a lease that has ended while nobody else owns the shard": Moment(
        "1m30s", {"DeliveryFailing", "ShardWithoutOwner"}, {ACKING: "0x240", LEASE: "-1-15x240"}
    ),
    "a former owner that has not heard of it yet": Moment(
        "1m30s", {"DeliveryFailing"}, {ACKING: "0x240", LEASE: "-1-15x240"}, {**HEALTHY, **OWNER}
    ),
    "different subscriptions": Moment("6m", {"PlansDiffer"}, {}, {DIFFERENT: "1x240"}),
    "different subscriptions for minutes": Moment("20m", set(), {}, {DIFFERENT: "0x20 1x16 0x200"}),
    "shards that move": Moment("30m", {"ShardsMoveOften"}, {CLAIMED: "0x20 0+0.1x220"}, {CLAIMED: "0x20 0+0.1x220"}),
    "shards that moved": Moment("30m", set(), {CLAIMED: "0x20 2x220"}, {CLAIMED: "0x20 2x220"}),
}


def _test(owner: Mapping[str, str | None], standby: Mapping[str, str | None], expected: list[Any]) -> dict[str, Any]:
    pods = [*series({**OWNER, **owner}, OWNER_POD), *series({**WITHOUT_SHARD, **standby}, STANDBY_POD)]
    return {"interval": INTERVAL, "input_series": pods, "promql_expr_test": expected}


def _count(alerts: dict[str, int], at: str) -> list[dict[str, Any]]:
    """Return the expectation that so many of each alert fire, and no other."""
    [expected] = firing(set(alerts), at)
    for sample, count in zip(expected["exp_samples"], (alerts[name] for name in sorted(alerts)), strict=True):
        sample["value"] = count
    return [expected]


def test_alerts_know_owners_from_standbys(helm: Helm, promtool: Path, tmp_path: Path) -> None:
    """At each time exactly the expected alerts fire: an owner has what a standby need not have."""
    tests = [
        _test(moment.owner, moment.standby, firing(moment.firing, moment.at, name)) for name, moment in MOMENTS.items()
    ]
    check(promtool, rules(helm, tmp_path, "standby", PAIR), tests)


def test_every_alert_of_a_group_is_tested(helm: Helm) -> None:
    """There is a time at which each alert fires that only a group has."""
    [plain], [group] = (
        helm.render(example(name)).one("PrometheusRule")["spec"]["groups"] for name in ("monitoring", "standby")
    )
    tried = {f"AriesBridge{name}" for moment in MOMENTS.values() for name in moment.firing}
    added = {rule["alert"] for rule in group["rules"]} - {rule["alert"] for rule in plain["rules"]}
    assert len(added) == 5
    assert added <= tried


def test_a_hand_over_fires_no_alert(helm: Helm, promtool: Path, tmp_path: Path) -> None:
    """The last sample of an owner that has ended stays for minutes, when another has long taken over."""
    times = [f"{seconds}s" for seconds in range(285, 720, 15)]
    expected = [one for at in times for one in firing(set(), at, at)]
    taken = {**HEALTHY, OWNED: "0x20 1x220", STANDBY: "1x20 0x220"}
    check(promtool, rules(helm, tmp_path, "standby", PAIR), [_test(ENDED, taken, expected)], INTERVAL)


def test_shards_are_added_without_alarm(helm: Helm, promtool: Path, tmp_path: Path) -> None:
    """While pods of one shard run, nobody owns the others of three; when the last has ended, somebody must."""
    new = {**OWNER, OWNED: "0x240", **dict.fromkeys(_others(), "0x240"), STANDBY: "1x240"}
    for old, alerts in ((OWNER, {}), (GONE, {"ShardWithoutOwner": 3, "FeedDown": 3})):
        pods = [*series(old, OWNER_POD)]
        for name in ("ccccc", "ddddd", "eeeee"):
            pods += series({**WITHOUT_SHARD, **new}, f"r-aries-bridge-7f7f7f7f7f-{name}")
        test = {"interval": INTERVAL, "input_series": pods, "promql_expr_test": _count(alerts, "5m")}
        check(promtool, rules(helm, tmp_path, "standby"), [test])


def _others() -> list[str]:
    return [OWNED.replace("0", str(shard)) for shard in (1, 2)]


def test_each_shard_has_an_alert(helm: Helm, promtool: Path, tmp_path: Path) -> None:
    """The alert names the shard; a group whose pods all have work needs no standby."""
    test = {
        **_test({OWNED: "1x240", **dict.fromkeys(_others(), "0x240")}, dict.fromkeys(_others(), "0x240"), []),
        "alert_rule_test": [
            {
                "eval_time": "1m30s",
                "alertname": "AriesBridgeShardWithoutOwner",
                "exp_alerts": [
                    {
                        "exp_labels": {"severity": "critical", "namespace": "market-data", "shard": str(shard)},
                        "exp_annotations": {
                            "summary": "A shard has no owner.",
                            "description": f"No pod owns shard {shard} and holds its lease: "
                            "none of its market data reaches Kafka.",
                            "runbook_url": "https://git.example.com/aries-bridge/blob/main/helm/README.md"
                            "#ariesbridgeshardwithoutowner",
                        },
                    }
                    for shard in (1, 2)
                ],
            }
        ],
    }
    check(promtool, rules(helm, tmp_path, "standby"), [test])
    [group] = helm.render(example("standby"), {"replicas": 3}).one("PrometheusRule")["spec"]["groups"]
    assert "AriesBridgeNoStandby" not in {rule["alert"] for rule in group["rules"]}
