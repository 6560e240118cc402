"""The example in JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.examples import toolchain
from tests.examples.example import Command, lines
from tests.examples.expected import assert_state
from tests.examples.scene import PLAIN
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.examples.scene import Scene

EXAMPLE = toolchain.EXAMPLES / "kafkajs"
#: The first run installs its packages.
pytestmark = [pytest.mark.timeout(400), pytest.mark.tools]


@pytest.fixture
def program() -> Path:
    """Return the example in a directory with its packages."""
    try:
        return toolchain.installed(EXAMPLE, ["*.mjs", "*.json", ".npmrc"], _install) / "read.mjs"
    except toolchain.InstallFailed as failed:
        pytest.skip(f"EXAMPLE IN JAVASCRIPT NOT TESTED: {failed}")


def _install(directory: Path) -> None:
    toolchain.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], directory)


def test_node_reads_values_without_a_registry(program: Path, scene: Scene) -> None:
    """With kafkajs and avsc: zstd, decimals with all their digits, and the state by the contract's rules."""
    command: Command = ["node", program, scene.bootstrap_servers, PLAIN, ROOT / "avro"]
    assert_state(lines(command, scene.count(PLAIN), EXAMPLE), scene, PLAIN)
