"""Helm and promtool, built once by Go at a pinned version and kept in the cache."""

from __future__ import annotations

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
    """Name a command of a Go module."""

    name: str
    package: str
    version: str
    tags: str = ""


HELM = GoTool("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0")
#: Without service discovery, which is most of what Prometheus depends on.
PROMTOOL = GoTool("promtool", "github.com/prometheus/prometheus/cmd/promtool", "v0.316.0", tags="remove_all_sd")


class ToolMissing(Exception):
    """Say why a tool cannot be had on this machine."""


def binary(tool: GoTool) -> Path:
    """Return the path of a tool; the first call on a machine builds it. Raises ToolMissing."""
    path = cache() / "bin" / f"{tool.name}-{tool.version}" / tool.name
    with one_at_a_time(path):
        if not path.exists():
            _build(tool, path)
    return path


def _build(tool: GoTool, path: Path) -> None:
    """Build beside the wanted place and rename, so that the tool is there whole or not at all."""
    if shutil.which("go") is None:
        raise ToolMissing(f"go is not installed, and {tool.name} {tool.version} is not in the cache")
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        _install(tool, work)
        Path(work, tool.name).rename(path)


def _install(tool: GoTool, directory: str) -> None:
    command = ["go", "install", "-tags", tool.tags, f"{tool.package}@{tool.version}"]
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
        raise ToolMissing(f"go did not build {tool.name} within {BUILD_DEADLINE_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise ToolMissing(f"go could not build {tool.name}: {error.stderr[-2000:]}") from None
