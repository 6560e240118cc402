"""The examples in Python."""

from __future__ import annotations

import importlib
import io
import json
from typing import TYPE_CHECKING

import fastavro
import pytest

from bridge.serialization.schemas import parse_schema
from tests.examples import toolchain
from tests.examples.example import Command, lines
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
    try:
        return toolchain.python_of(toolchain.installed(EXAMPLES, ["requirements.txt"], toolchain.install_python))
    except toolchain.InstallFailed as failed:
        toolchain.missing("the examples in Python", failed)


def test_python_reads_values_without_a_registry(python: Path, scene: Scene) -> None:
    """With fastavro: schemas by fingerprint, the state of quotes and books by the contract's rules."""
    command: Command = [python, EXAMPLES / "without_registry.py", scene.bootstrap_servers, PLAIN, ROOT / "avro"]
    assert_state(lines(command, scene.count(PLAIN), EXAMPLES), scene, PLAIN)


def test_python_reads_values_with_a_registry(python: Path, scene: Scene) -> None:
    """With confluent-kafka's deserializer: the same state from Confluent's format."""
    command: Command = [python, EXAMPLES / "with_registry.py", scene.bootstrap_servers, REGISTRY, scene.registry_url]
    assert_state(lines(command, scene.count(REGISTRY), EXAMPLES), scene, REGISTRY)


def test_python_reads_values_of_a_later_bridge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A value with a field that was added later is read with its schema, and without that not at all."""
    monkeypatch.syspath_prepend(EXAMPLES)
    schemas = importlib.import_module("without_registry").Schemas
    declared = json.loads((ROOT / "avro" / "control.avsc").read_text())
    (tmp_path / "control.avsc").write_text(json.dumps(declared))
    declared["fields"].append({"name": "later", "type": ["null", "string"], "default": None})
    later = parse_schema(json.dumps(declared))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, later.parsed, {"kind": "LATER", "instance": "i", "time_us": 1, "later": "x"})
    value = b"\xc3\x01" + later.fingerprint + body.getvalue()
    with pytest.raises(ValueError, match=rf"no schema has the fingerprint {later.fingerprint.hex()}"):
        schemas(tmp_path).read(value)
    (tmp_path / "released" / "2.0.0").mkdir(parents=True)
    (tmp_path / "released" / "2.0.0" / "control.avsc").write_text(json.dumps(declared))
    record = schemas(tmp_path).read(value)
    assert record["kind"] == "LATER"
    assert "later" not in record
    with pytest.raises(ValueError, match="is a registry set on the bridge"):
        schemas(tmp_path).read(b"\0\0\0\0\1")
