"""Helm, promtool, actionlint and programs of the tests, built once by Go at pinned versions and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.one_at_a_time import one_at_a_time
from tests.support.paths import cache

#: A first build compiles all of Kubernetes' client on what may be two busy cores.
BUILD_DEADLINE_SECONDS = 1500


@dataclass(frozen=True, slots=True)
class GoTool:
    """A command of a Go module."""

    name: str
    package: str
    version: str
    tags: str = ""


HELM = GoTool("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0")
HELM_4 = GoTool("helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1")
ACTIONLINT = GoTool("actionlint", "github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12")
#: Without service discovery, which is most of what Prometheus depends on.
PROMTOOL = GoTool("promtool", "github.com/prometheus/prometheus/cmd/promtool", "v0.316.0", tags="remove_all_sd")


class ToolMissing(Exception):
    """A tool is not available on this machine; the text says why."""


def binary(tool: GoTool) -> Path:
    """Return the path of a tool; the first call on a machine builds it. Raises ToolMissing."""
    install = ["go", "install", "-tags", tool.tags, f"{tool.package}@{tool.version}"]
    return _built(tool.name, tool.version, install)


def program(directory: Path) -> Path:
    """Return the path of the program whose Go module is in a directory; it is built again when its files change.

    Raises ToolMissing.
    """
    name = directory.name.replace("_", "-")  # the last part of the module's path
    return _built(name, _digest(directory), ["go", "install", "-C", str(directory), "-mod=readonly", "."])


def _digest(directory: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted([*directory.glob("*.go"), *directory.glob("go.*")]):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _built(name: str, version: str, command: list[str]) -> Path:
    path = cache() / "bin" / f"{name}-{version}" / name
    with one_at_a_time(path):
        if not path.exists():
            _build(name, version, command, path)
    return path


def _build(name: str, version: str, command: list[str], path: Path) -> None:
    """Build in a temporary directory and rename, so that the tool is never there in part."""
    if shutil.which("go") is None:
        raise ToolMissing(f"go is not installed, and {name} {version} is not in the cache")
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        _install(name, command, work)
        Path(work, name).rename(path)


def _install(name: str, command: list[str], directory: str) -> None:
    try:
        subprocess.run(
            command,
            env={**os.environ, "GOBIN": directory},
            capture_output=True,
            text=True,
            check=True,
            timeout=BUILD_DEADLINE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ToolMissing(f"go did not build {name} within {BUILD_DEADLINE_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise ToolMissing(f"go could not build {name}: {error.stderr[-2000:]}") from None
