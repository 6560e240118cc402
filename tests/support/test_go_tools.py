"""How Go builds what the tests need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import go_tools
from tests.support.go_tools import HELM, ToolMissing

if TYPE_CHECKING:
    from pathlib import Path

#: Writes what it was asked for instead of compiling it.
WORKS = '#!/bin/sh\necho "$@" > "$GOBIN/helm"\n'
WORKS_IN_A_DIRECTORY = '#!/bin/sh\necho "$@" > "$GOBIN/a-program"\n'
FAILS = "#!/bin/sh\necho no such module >&2\nexit 1\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Simulate a machine with an empty cache and a PATH of one directory, which is returned."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(path))
    return path


def install_go(directory: Path, script: str) -> None:
    """Put a command ``go`` there."""
    command = directory / "go"
    command.write_text(script)
    command.chmod(0o755)


def test_a_tool_is_built_once(machine: Path) -> None:
    """The first call builds the pinned version, the second finds it, also when go is gone."""
    install_go(machine, WORKS)
    built = go_tools.binary(HELM)
    assert f"{HELM.package}@{HELM.version}" in built.read_text()
    (machine / "go").unlink()
    assert go_tools.binary(HELM) == built


def test_a_program_is_built_again_when_it_changes(machine: Path, tmp_path: Path) -> None:
    """A program of this tree is built with its pinned dependencies, once for each state of its files."""
    install_go(machine, WORKS_IN_A_DIRECTORY)
    module = tmp_path / "a_program"
    module.mkdir()
    (module / "main.go").write_text("package main")
    first = go_tools.program(module)
    assert f"-C {module} -mod=readonly" in first.read_text()
    assert go_tools.program(module) == first
    (module / "go.sum").write_text("other dependencies")
    assert go_tools.program(module) != first


@pytest.mark.parametrize(("script", "why"), [("", "go is not installed"), (FAILS, "no such module")])
def test_a_missing_tool_is_an_error_with_its_reason(machine: Path, script: str, why: str) -> None:
    """If go is missing or fails, the error has the reason, and no partial result remains."""
    if script:
        install_go(machine, script)
    with pytest.raises(ToolMissing, match=why):
        go_tools.binary(HELM)
    assert not list(machine.parent.glob("cache/**/helm"))
