from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.helm.chart import Helm
from tests.support import go_tools

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.go_tools import GoTool

#: Set to 1 where the chart must be tested: that Helm or promtool cannot be had is then a failure.
REQUIRE_HELM = "TESTS_REQUIRE_HELM"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Extend the timeout of tests that may have to build a tool first."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {}).values()  # a parameter may name a fixture
        names = {*getattr(item, "fixturenames", ()), *(one for one in parameters if isinstance(one, str))}
        tools = {"helm", "helm_4", "promtool"} & names
        if tools and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(len(tools) * (go_tools.BUILD_DEADLINE_SECONDS + 30)))


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Return the real Helm 3."""
    return Helm(_binary(go_tools.HELM), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def helm_4(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Return the real Helm 4."""
    return Helm(_binary(go_tools.HELM_4), tmp_path_factory.mktemp("helm-4"))


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Return Prometheus' promtool."""
    return _binary(go_tools.PROMTOOL)


def _binary(tool: GoTool) -> Path:
    try:
        return go_tools.binary(tool)
    except go_tools.ToolMissing as missing:
        if os.environ.get(REQUIRE_HELM) == "1":
            pytest.fail(f"{REQUIRE_HELM}=1, but: {missing}")
        pytest.skip(f"CHART NOT TESTED WITH {tool.name.upper()}: {missing}")
