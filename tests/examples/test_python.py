"""The examples in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.examples import toolchain
from tests.examples.example import lines
from tests.examples.expected import assert_state
from tests.examples.scene import PLAIN, REGISTRY
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.examples.scene import Scene

EXAMPLES = toolchain.EXAMPLES / "python"
#: The first run installs the examples' requirements.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def python() -> Path:
    """Return the interpreter of an environment that has what the examples require."""
    return toolchain.python_of(toolchain.installed(EXAMPLES, ["requirements.txt"], toolchain.install_python))


def test_python_reads_values_without_a_registry(python: Path, scene: Scene) -> None:
    """With fastavro: schemas by fingerprint, the state of quotes and books by the contract's rules."""
    command = [python, EXAMPLES / "without_registry.py", scene.bootstrap_servers, PLAIN, ROOT / "avro"]
    assert_state(lines(command, scene.count(PLAIN), EXAMPLES), scene, PLAIN)


def test_python_reads_values_with_a_registry(python: Path, scene: Scene) -> None:
    """With confluent-kafka's deserializer: the same state from Confluent's format."""
    command = [python, EXAMPLES / "with_registry.py", scene.bootstrap_servers, REGISTRY, scene.registry_url]
    assert_state(lines(command, scene.count(REGISTRY), EXAMPLES), scene, REGISTRY)
