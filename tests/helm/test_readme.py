"""values.yaml, its schema and the README agree."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from tests.helm.chart import CHART, VALUES, Helm, example
from tests.programs.docs import chart_values as values_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Maps whose keys are the users' own, or Kubernetes'.
OPEN = {"affinity", "dnsConfig", "global", "podSecurityContext", "securityContext", "volume"}
#: Parts of a probe.
OPEN |= {"exec", "grpc", "httpGet", "tcpSocket"}
#: What a chart above this one may say: values for all, and whether this one is wanted.
PARENTS = {"enabled", "global"}


def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(values_table.SCHEMA.read_text(encoding="utf-8"))
    return schema


def test_the_readme_has_the_tables_of_values() -> None:
    """The tables are generated from values.yaml and the schema."""
    assert values_table.main(["--check"]) is None


def test_every_value_is_explained_and_known_to_the_schema() -> None:
    """Each has a comment that is a sentence, and a schema; the schema has no others."""
    for value in values_table.values():
        assert value.comment.endswith("."), value.name
        if value.is_section:
            assert value.schema["additionalProperties"] is False, value.name
            nullable = {name for name, node in value.schema["properties"].items() if "null" in node.get("type", "")}
            assert set(value.schema["required"]) == value.default.keys() - nullable, value.name
    root = _schema()
    assert root["properties"].keys() - PARENTS == {value.path[0] for value in values_table.values()}
    assert root["additionalProperties"] is False


def _maps(name: str, schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield name, schema
        for key, part in schema.items():
            yield from _maps(key if key not in ("properties", "items") else name, part)


def test_maps_reject_unknown_keys() -> None:
    """Misspelt keys are rejected, except in maps that Kubernetes itself validates."""
    loose = {name for name, schema in _maps("", _schema()["properties"]) if "additionalProperties" not in schema}
    lists = {value.path[-1] for value in values_table.values() if isinstance(value.default, list)}
    assert loose <= OPEN | lists | {"claims", "valueFrom"}


def test_the_schema_is_valid_and_accepts_the_defaults() -> None:
    """It is a schema of draft 7, which every Helm 3 supports, and values.yaml satisfies it."""
    jsonschema.Draft7Validator.check_schema(_schema())
    defaults = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(_schema()).validate(defaults)


def test_the_readmes_example_works(helm: Helm, tmp_path: Path) -> None:
    """The values in the README are those of the smallest example."""
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<<'EOF'\n(.*?)EOF\n", readme, re.DOTALL)
    assert shown is not None
    assert yaml.safe_load(shown[1]) == yaml.safe_load(example("minimal").read_text(encoding="utf-8"))


def test_write_and_check_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--write` has written passes `--check`; the text before does not."""
    path = tmp_path / "README.md"
    path.write_text(f"before\n{values_table.BEGIN}old\n{values_table.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(values_table, "README", path)
    monkeypatch.setattr(values_table, "SETTINGS", tmp_path / "settings.json")
    values_table.SETTINGS.touch()
    assert "--write" in str(values_table.main([]))
    assert values_table.main(["--write"]) is None
    assert values_table.main(["--check"]) is None
    assert path.read_text(encoding="utf-8").startswith("before\n")
    path.write_text("", encoding="utf-8")
    with pytest.raises(SystemExit, match="must both be there"):
        values_table.main(["--check"])


def test_the_installation_in_the_readme_is_valid(helm: Helm, tmp_path: Path) -> None:
    """What is pasted makes the Secret from the token alone, and values that the chart accepts; the Service exists."""
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    install, *_, forward = re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)
    for program, does in (("kubectl", "cat > token"), ("helm", "true")):
        stub = tmp_path / program
        stub.write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        stub.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ARIES_ACCESS_TOKEN": "secret"}
    subprocess.run(["bash", "-euc", install], cwd=tmp_path, env=environ, check=True)
    assert (tmp_path / "token").read_text(encoding="utf-8") == "secret"

    rendered = helm.run("template", "bridge", str(CHART), "--values", str(tmp_path / "values.yaml"))
    (service,) = (one for one in yaml.safe_load_all(rendered) if one and one["kind"] == "Service")
    assert f"service/{service['metadata']['name']} " in forward
