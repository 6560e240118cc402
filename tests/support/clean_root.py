"""Run a Dockerfile's steps without an engine: each stage in its own file system, by ``unshare`` and ``chroot``.

The base image is stood in for by the machine's /usr and /etc (read-only) and, in /usr/local, a copy-on-write layer
over the Python that runs the tests. Everything else is what the Dockerfile puts there, and nothing of the
machine's environment is let in. It needs root on Linux.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.dockerfile import parse, substituted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.support.dockerfile import Instruction

STEP_DEADLINE_SECONDS = 240
#: The environment of the official image's base, and where a shared libpython of ours is found.
BASE_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LD_LIBRARY_PATH": "/usr/local/lib",
}
#: What tells pip on this machine where wheels come from: a builder's business, as build arguments are.
WHEEL_SOURCE = re.compile(r"PIP_(INDEX_URL|EXTRA_INDEX_URL|CERT|DEFAULT_TIMEOUT|TRUSTED_HOST|PROXY)|SSL_CERT_\w+")
#: What Kubernetes' restricted policy and ``docker run --cap-drop ALL --security-opt no-new-privileges`` do.
UNPRIVILEGED = ("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")

# $1 the root, $2 the Python, $3 where changes of it are kept, $4 ro or rw; the rest is run in the root.
_ENTER = """
set -e
root=$1 python=$2 layer=$3 mode=$4; shift 4
mount --bind "$root" "$root"
for dir in usr etc; do mount --bind "/$dir" "$root/$dir"; mount -o remount,bind,ro "$root/$dir"; done
mount -t overlay overlay -o "lowerdir=$python,upperdir=$layer/upper,workdir=$layer/work" "$root/usr/local"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
if [ "$mode" = ro ]; then mount -o remount,bind,ro "$root"; mount -o remount,ro "$root/usr/local"; fi
exec chroot "$root" "$@"
"""


class NoCleanRoot(Exception):
    """This machine cannot run one; the text says why."""


class Image:
    """The file system and the configuration of a stage that was run."""

    def __init__(self, directory: Path) -> None:
        self.environ = dict(BASE_ENVIRONMENT)
        self.user = "0:0"
        self.directory = "/"
        self.entrypoint: list[str] = []
        self.command: list[str] = []
        self.health_check: list[str] = []
        self.root, self._layer = directory / "root", directory / "layer"
        for path in (self.root, self._layer / "upper", self._layer / "work"):
            path.mkdir(parents=True)
        for name in ("usr", "etc", "dev", "proc", "opt", "tmp"):
            (self.root / name).mkdir()
        for name in ("bin", "sbin", "lib", "lib64"):
            if Path("/", name).is_symlink():
                (self.root / name).symlink_to(Path("/", name).readlink())

    def path(self, path: str) -> Path:
        """Return where a path of the image is, seen from outside."""
        return self.root / os.path.normpath(Path(self.directory, path)).lstrip("/")

    def entered(self, command: Sequence[str], *, read_only: bool = True) -> list[str]:
        """Return the command that runs another one here as the image's user, without privileges unless it is root."""
        user, group = self.user.split(":")
        who = ["setpriv", f"--reuid={user}", f"--regid={group}", *UNPRIVILEGED] if user != "0" else []
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "enter"),
            *(str(self.root), sys.base_prefix, str(self._layer), "ro" if read_only else "rw"),
            *("env", f"--chdir={self.directory}", *who, *command),
        ]

    def run(
        self, *command: str, read_only: bool = True, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command here to its end."""
        return subprocess.run(
            self.entered(command, read_only=read_only),
            env={**self.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=STEP_DEADLINE_SECONDS,
        )


def build(context: Path, directory: Path, arguments: Mapping[str, str]) -> Image:
    """Run every step of the context's Dockerfile; return the last stage.

    Raises NoCleanRoot if this machine cannot; a step that fails is an AssertionError with its output.
    """
    _require_root()
    defaults, stages = parse((context / "Dockerfile").read_text(encoding="utf-8"))
    images: dict[str | None, Image] = {}
    for number, stage in enumerate(stages):
        images[stage.name] = image = Image(directory / str(number))
        steps = Steps(image, context, images, {**defaults, **arguments})
        for step in stage.instructions:
            steps.take(step)
    return images[stages[-1].name]


def sent(context: Path) -> set[str]:
    """Return the files that .dockerignore lets through to the builder, by their path in the context."""
    lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    # What no pattern lets in again is not even walked: a checkout's environments are large.
    tops = [context / pattern[1:] for pattern in patterns if pattern.startswith("!")]
    files = [file for top in tops for file in ([top] if top.is_file() else top.rglob("*")) if file.is_file()]
    paths = (file.relative_to(context).as_posix() for file in files)
    return {path for path in paths if not _ignored(path, patterns)}


def _ignored(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a file is ignored: the last pattern that matches it, or a folder above it, decides."""
    above = ["/".join(path.split("/")[: depth + 1]) for depth in range(path.count("/") + 1)]
    ignored = False
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        if any(fnmatch(name, bare) or fnmatch("/" + name, bare.replace("**", "*")) for name in above):
            ignored = not pattern.startswith("!")
    return ignored


def _require_root() -> None:
    tools = [tool for tool in ("unshare", "chroot", "setpriv", "mount") if shutil.which(tool) is None]
    if tools:
        raise NoCleanRoot(f"{', '.join(tools)} not installed")
    if os.geteuid() != 0:
        raise NoCleanRoot("only root may mount and change the root directory")
    if Path(sys.base_prefix) in (Path("/"), Path("/usr")):
        raise NoCleanRoot("this Python is the system's own; one with a prefix of its own is needed")
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        raise NoCleanRoot(f"unshare: {tried.stderr.decode().strip()}")


class Steps:
    """The steps of a stage, run one by one."""

    def __init__(
        self, image: Image, context: Path, images: Mapping[str | None, Image], arguments: Mapping[str, str]
    ) -> None:
        self._image = image
        self._context = context
        self._images = images
        self._arguments = arguments
        self._declared: dict[str, str] = {}

    def take(self, step: Instruction) -> None:
        """Run one step; an unknown kind is an error."""
        kinds: dict[str, Callable[[Instruction], None]] = {
            "ARG": self._declare,
            "ENV": self._set,
            "WORKDIR": self._go,
            "COPY": self._copy,
            "RUN": self._run,
        }
        kinds.get(step.name, self._configure)(step)

    def _declare(self, step: Instruction) -> None:
        name, _, default = step.text.partition("=")
        self._declared[name] = self._arguments.get(name, default)

    def _set(self, step: Instruction) -> None:
        for word in step.words(self._image.environ | self._declared):
            name, _, value = word.partition("=")
            self._image.environ[name] = value

    def _go(self, step: Instruction) -> None:
        self._image.directory = step.text
        self._image.path(step.text).mkdir(parents=True, exist_ok=True)

    def _run(self, step: Instruction) -> None:
        wheels = {name: value for name, value in os.environ.items() if WHEEL_SOURCE.fullmatch(name)}
        done = self._image.run("sh", "-c", step.text, read_only=False, environ=wheels | self._declared)
        assert done.returncode == 0, f"RUN {step.text}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"

    def _copy(self, step: Instruction) -> None:
        *sources, target = step.words()
        for source in sources:
            if "from" in step.flags:
                stage = self._images[step.flags["from"]]
                shutil.copytree(stage.path(source), self._image.path(target), symlinks=True)
            else:
                self._copy_sent(source, self._image.path(target))

    def _copy_sent(self, source: str, target: Path) -> None:
        found = [path for path in sent(self._context) if path == source or path.startswith(f"{source}/")]
        assert found, f"COPY {source}: .dockerignore lets no such file through"
        for path in found:
            place = target / (path if path == source else Path(path).relative_to(source))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._context / path, place)

    def _configure(self, step: Instruction) -> None:
        image = self._image
        match step.name:
            case "USER":
                image.user = step.text
            case "ENTRYPOINT":
                image.entrypoint = step.exec_form()
            case "CMD":
                image.command = step.exec_form()
            case "HEALTHCHECK":
                image.health_check = step.inner().exec_form()
            case _:
                assert step.name in ("LABEL", "EXPOSE", "STOPSIGNAL"), f"{step.name} is not known here"
                substituted(step.text, image.environ | self._declared)
