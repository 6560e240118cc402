"""The environment and the mounted files of a container of a rendered pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trustme

from tests.helm.chart import MOUNTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helm.chart import Objects, Pod

    Json = dict[str, Any]


#: The volume that a bridge may write to.
CAPTURES: Final = "captures"


class Files:
    """A directory with the contents of the pods' volumes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._captures: str | None = None
        authority = trustme.CA()
        issued = authority.issue_cert("bridge.example")
        self._pems = {
            "cafile": authority.cert_pem.bytes(),
            "certfile": issued.cert_chain_pems[0].bytes(),
            "keyfile": issued.private_key_pem.bytes(),
        }

    def lay_out(self, objects: Objects, pod: Pod, container: Json) -> None:
        """Write the files of a container's mounts below ``/etc/aries-bridge``."""
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", ())}
        for mount in container.get("volumeMounts", ()):
            if mount["mountPath"].startswith(MOUNTS):
                assert mount["readOnly"]
                self._fill(objects, volumes[mount["name"]], self.here(mount["mountPath"]))
            elif mount["name"] == CAPTURES:
                self._captures = mount["mountPath"]
                (self._directory / CAPTURES).mkdir(exist_ok=True)

    def here(self, text: str) -> str:
        """Return a path in the container as one in the directory; leave other texts unchanged."""
        if text == self._captures:
            return str(self._directory / CAPTURES)
        return text.replace(MOUNTS, f"{self._directory}/", 1) if text.startswith(MOUNTS) else text

    def _fill(self, objects: Objects, volume: Json, directory: str) -> None:
        if "projected" in volume:
            [source] = volume["projected"]["sources"]
            self._write(directory, source["serviceAccountToken"]["path"], b"a-service-account-token")
            return
        source = volume.get("secret") or volume["configMap"]
        data = objects.config_map(source["name"]) if "configMap" in volume else None
        for item in source["items"]:
            self._write(directory, item["path"], data[item["key"]].encode() if data else self._content(item["path"]))

    def _write(self, directory: str, name: str, content: bytes) -> None:
        path = self._directory / directory.rpartition("/")[2] / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def _content(self, name: str) -> bytes:
        return self._pems.get(name.rpartition("-")[2], f"the secret {name}\n".encode())


def environment(objects: Objects, pod: Pod, container: Json, files: Files) -> dict[str, str]:
    """Return the environment of a container, with paths that lead to the files here.

    Later sources win, and ``env`` over all, as in Kubernetes.
    """
    files.lay_out(objects, pod, container)
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        reference = source["configMapRef"]
        found |= objects.config_map(reference["name"]) or _absent(reference)
    found |= {one["name"]: one["value"] for one in container.get("env", ()) if "value" in one}
    return {name: files.here(value) for name, value in found.items()}


def _absent(reference: Json) -> dict[str, str]:
    assert reference.get("optional"), f"no ConfigMap {reference['name']}"
    return {}
