"""The chart, rendered by the real Helm to objects as a cluster gets them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    Json = dict[str, Any]

CHART = ROOT / "helm"
VALUES = CHART / "values.yaml"
#: Values with which people use the chart; each is rendered, checked, and given to the program.
EXAMPLES = tuple(sorted((CHART / "ci").glob("*-values.yaml")))
RELEASE = "r"
NAMESPACE = "market-data"
NEWEST_KUBERNETES = "1.37"
MOUNTS = "/etc/aries-bridge/"
WORKLOADS = ("Deployment", "StatefulSet")


class ChartRefused(Exception):
    """The chart rejects values; the text is Helm's."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod's specification and the object that it comes from."""

    owner: str
    labels: Json
    spec: Json

    @property
    def containers(self) -> list[Json]:
        """Return all containers, init containers included."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    def container(self, name: str = "aries-bridge") -> Json:
        """Return the container of a name."""
        return next(one for one in self.containers if one["name"] == name)


class Objects:
    """The objects that a chart was rendered to."""

    def __init__(self, objects: Iterable[Json]) -> None:
        self.all = tuple(objects)

    def __iter__(self) -> Iterator[Json]:
        return iter(self.all)

    def of(self, kind: str) -> list[Json]:
        """Return the objects of a kind."""
        return [one for one in self.all if one["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> Json:
        """Return the only object of a kind, or the one of a name."""
        [found] = [one for one in self.of(kind) if name in (None, one["metadata"]["name"])]
        return found

    @property
    def workload(self) -> Json:
        """Return the Deployment or StatefulSet."""
        [found] = [one for one in self.all if one["kind"] in WORKLOADS]
        return found

    @property
    def pod(self) -> Pod:
        """Return the pod of the bridge."""
        return _pod(self.workload)

    @property
    def pods(self) -> list[Pod]:
        """Return every pod, those of hooks and of `helm test` included."""
        return [_pod(one) for one in self.all if one["kind"] in (*WORKLOADS, "Job", "Pod")]

    def config_map(self, name: str) -> dict[str, str] | None:
        """Return the data of a ConfigMap, None if there is none."""
        found = [one["data"] for one in self.of("ConfigMap") if one["metadata"]["name"] == name]
        return found[0] if found else None

    @property
    def settings(self) -> dict[str, str]:
        """Return the ConfigMap of settings."""
        found = self.config_map(self.workload["metadata"]["name"])
        assert found is not None
        return found


def _pod(owner: Json) -> Pod:
    template = owner if owner["kind"] == "Pod" else owner["spec"]["template"]
    return Pod(owner["kind"], template["metadata"]["labels"], template["spec"])


class Helm:
    """Helm, applied to the chart."""

    def __init__(self, binary: Path, scratch: Path) -> None:
        self._binary = binary
        self._scratch = scratch
        self._rendered: dict[tuple[str, ...], Objects] = {}

    def render_subchart(self, scratch: Path, values: Mapping[str, Any]) -> Objects:
        """Return the objects of a chart above this one, with values for it; raises ChartRefused."""
        parent = scratch / "parent"
        parent.mkdir()
        dependency = {"name": "aries-bridge", "version": "*", "repository": CHART.as_uri()}
        chart = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
        (parent / "Chart.yaml").write_text(json.dumps(chart), encoding="utf-8")
        (parent / "values.yaml").write_text(json.dumps(values), encoding="utf-8")
        (parent / "charts").mkdir()
        (parent / "charts" / "aries-bridge").symlink_to(CHART)
        arguments = ["template", RELEASE, str(parent), "--kube-version", NEWEST_KUBERNETES]
        return Objects(filter(None, yaml.safe_load_all(self.run(*arguments))))

    def render(self, example: Path | None = None, values: Mapping[str, Any] | None = None, *more: str) -> Objects:
        """Return the objects of an example's values, overridden by others; raises ChartRefused."""
        arguments = ["template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", NEWEST_KUBERNETES]
        arguments += [*self._values(example, values), *more]
        key = (*arguments, json.dumps(values))
        if key not in self._rendered:
            self._rendered[key] = Objects(filter(None, yaml.safe_load_all(self.run(*arguments))))
        return self._rendered[key]

    def run(self, *arguments: str) -> str:
        """Return what a command prints; raises ChartRefused with its error."""
        done = subprocess.run([self._binary, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ChartRefused(done.stderr + done.stdout)
        return done.stdout

    def _values(self, example: Path | None, values: Mapping[str, Any] | None) -> Iterator[str]:
        if example is not None:
            yield from ("--values", str(example))
        if values is not None:
            path = self._scratch / "values.yaml"
            # JSON, as the YAML of Python and of Go differ on what needs quotes.
            path.write_text(json.dumps(values), encoding="utf-8")
            yield from ("--values", str(path))


def example(name: str) -> Path:
    """Return the path of an example's values."""
    return CHART / "ci" / f"{name}-values.yaml"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return values overridden by others, as Helm merges them."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
