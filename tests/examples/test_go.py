"""The example in Go."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REQUIRE_GO
from tests.examples.example import Command, lines
from tests.examples.expected import assert_state
from tests.examples.scene import PLAIN
from tests.examples.toolchain import EXAMPLES
from tests.support import go_tools
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.examples.scene import Scene

EXAMPLE = EXAMPLES / "franz-go"
#: The first run builds it.
pytestmark = [pytest.mark.timeout(400), pytest.mark.tools]


@pytest.fixture
def program() -> Path:
    try:
        return go_tools.program(EXAMPLE)
    except go_tools.ToolMissing as missing:
        if os.environ.get(REQUIRE_GO) == "1":
            pytest.fail(f"{REQUIRE_GO}=1, but the example cannot be built: {missing}")
        pytest.skip(f"EXAMPLE IN GO NOT TESTED: {missing}")


def test_go_reads_values_without_a_registry(program: Path, scripted_scene: Scene) -> None:
    """With hamba/avro: the schemas by the specification's fingerprints, and the state by the contract's rules."""
    command: Command = [program, scripted_scene.bootstrap_servers, PLAIN, ROOT / "avro"]
    assert_state(lines(command, scripted_scene.count(PLAIN), EXAMPLE), scripted_scene, PLAIN)
