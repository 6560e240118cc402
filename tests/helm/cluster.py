"""A cluster as Helm asks for it when a chart looks something up: discovery, and single objects."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from tests.helm.chart import NAMESPACE, NEWEST_KUBERNETES, RELEASE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Json = dict[str, Any]

#: The kinds that the cluster knows, by API.
_KINDS: Final = {
    "v1": ("ConfigMap", "Pod", "Service", "ServiceAccount"),
    "apps/v1": ("Deployment", "StatefulSet"),
    "policy/v1": ("PodDisruptionBudget",),
}
_NOT_FOUND: Final[Json] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


@contextmanager
def cluster(objects: Iterable[Json]) -> Iterator[tuple[str, ...]]:
    """Serve objects of the namespace as Kubernetes' API does; yield the arguments with which Helm looks them up."""
    answers = {**_discovery(), **{_path(one): _owned(one) for one in objects}}

    class Handler(BaseHTTPRequestHandler):
        """Answers to requests for single paths."""

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0], _NOT_FOUND)
            content = json.dumps(answer).encode()
            self.send_response(404 if answer is _NOT_FOUND else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}"
            # There is no OpenAPI here; schemas are for other tests.
            yield ("--dry-run=server", "--kube-apiserver", address, "--disable-openapi-validation")
        finally:
            server.shutdown()
            thread.join()


def _owned(one: Json) -> Json:
    """Return an object with the annotations by which Helm knows those of a release."""
    release = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE}
    metadata = one["metadata"]
    return {**one, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **release}}}


def _path(one: Json) -> str:
    return f"{_base(one['apiVersion'])}/namespaces/{NAMESPACE}/{_plural(one['kind'])}/{one['metadata']['name']}"


def _base(api: str) -> str:
    return f"/{'apis' if '/' in api else 'api'}/{api}"


def _plural(kind: str) -> str:
    return f"{kind.lower()}s"


def _discovery() -> dict[str, Json]:
    major, minor = NEWEST_KUBERNETES.split(".")
    groups = [_group(api) for api in _KINDS if "/" in api]
    return {
        "/version": {"major": major, "minor": minor, "gitVersion": f"v{NEWEST_KUBERNETES}.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
        **{_base(api): _resources(api, kinds) for api, kinds in _KINDS.items()},
    }


def _group(api: str) -> Json:
    name, version = api.split("/")
    served = {"groupVersion": api, "version": version}
    return {"name": name, "versions": [served], "preferredVersion": served}


def _resources(api: str, kinds: Iterable[str]) -> Json:
    resources = [
        {"name": _plural(kind), "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": ["get"]}
        for kind in kinds
    ]
    return {"kind": "APIResourceList", "groupVersion": api, "resources": resources}
