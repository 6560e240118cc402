"""Option chains in the chart: what values may say arrives in the program, from the environment and from a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bridge import settings
from tests.helm.chart import ChartRefused, example
from tests.helm.pod_environment import Files, environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helm.chart import Helm

CHAIN: dict[str, Any] = {
    "underlying": "AAPL",
    "expires_within_days": 30,
    "strikes": {"around": 10},
    "types": "both",
    "events": ["quotes", "greeks"],
    "fields": {"quotes": ["bidPrice"]},
    "include_underlying": True,
    "max_contracts": 100,
}


@pytest.mark.parametrize("hot_reload", [False, True])
def test_a_chain_arrives(helm: Helm, tmp_path: Path, hot_reload: bool) -> None:  # noqa: FBT001 - a parameter
    """Beside a symbol and instead of one; several chains may have one underlying."""
    other = {
        "underlying": "AAPL",
        "expirations": ["2027-01-15"],
        "strikes": {"from": 90, "to": 112.5},
        "types": ["put"],
    }
    values = {
        "aries": {"symbols": ["AAPL"], "subscriptions": [CHAIN, other]},
        "subscriptions": {"hotReload": hot_reload},
    }
    objects = helm.render(example("minimal"), values)
    plan = settings.load(environment(objects, objects.pod, objects.pod.container(), Files(tmp_path))).plan()
    assert list(plan) == ["AAPL"]
    assert [chain.underlying for chain in plan.chains] == ["AAPL", "AAPL"]
    assert plan.chains[0].max_contracts == 100


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires_within_days": -1},
        {"strikes": {"around": 0}},
        {"strikes": {"around": 1, "from": 5}},
        {"types": "calls"},
        {"max_contracts": 0},
        {"expirations": ["2027-01-15"]},
        {"underlying": True},
        {"symbol": "AAPL"},
    ],
)
def test_a_wrong_chain_is_refused(helm: Helm, wrong: dict[str, object]) -> None:
    """What the program refuses, the chart refuses before."""
    with pytest.raises(ChartRefused, match="subscriptions"):
        helm.render(example("minimal"), {"aries": {"subscriptions": [CHAIN | wrong]}})


def test_the_endpoint(helm: Helm) -> None:
    """Its URL is a value, and the policy of the network lets the bridge reach it."""
    values = {"aries": {"apiUrl": "https://api.example:8443"}, "networkPolicy": {"enabled": True}}
    rendered = helm.render(example("minimal"), values)
    assert rendered.settings["ARIES_API_URL"] == "https://api.example:8443"
    assert "8443" in json.dumps(rendered.one("NetworkPolicy")["spec"]["egress"])
