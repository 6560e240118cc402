"""Apicurio Registry on loopback, in memory: fetched once by Maven, and run by Java."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from tests.support import maven
from tests.support.one_at_a_time import one_at_a_time
from tests.support.paths import cache

if TYPE_CHECKING:
    from types import TracebackType

START_DEADLINE_SECONDS = 120.0
_JVMS: Final = Path("/usr/lib/jvm")
_JAVA_OPTIONS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
#: Any free ports, on loopback only; management is on a port of its own in version 3.
_PORTS = (
    "-Dquarkus.http.host=127.0.0.1",
    "-Dquarkus.http.port=0",
    "-Dquarkus.management.host=127.0.0.1",
    "-Dquarkus.management.port=0",
)
_LISTENING = re.compile(r"Listening on: (http://127\.0\.0\.1:\d+)")
_JAVA_VERSION = re.compile(r'^JAVA_VERSION="(\d+)', re.MULTILINE)


class ApicurioMissing(Exception):
    """Apicurio cannot be run on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A version of Apicurio: its archive in the Maven repository, the jar to run, and the Java it needs."""

    version: str
    archive: str
    jar: str
    java: int


V2: Final = Distribution("2.6.13.Final", "zip", "apicurio-registry-app-2.6.13.Final-runner.jar", 17)
V3: Final = Distribution("3.3.3", "tar.gz", "quarkus-run.jar", 21)


class Apicurio:
    """A registry from the constructor's check of what it needs until the end of the block; each start is empty."""

    def __init__(self, distribution: Distribution, directory: Path) -> None:
        self._java = _java(distribution.java)
        self._home = _home(distribution)
        self._jar = distribution.jar
        self._log_file = directory / "apicurio.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    @property
    def url(self) -> str:
        """Return the URL of the API that is compatible with Confluent's."""
        return f"{self.address}/apis/ccompat/v7"

    def __enter__(self) -> Self:
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [self._java, *_JAVA_OPTIONS, *_PORTS, "-jar", self._jar],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._home,
            )
        try:
            self.address = self._wait_for_address(self._process)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _wait_for_address(self, process: subprocess.Popen[bytes]) -> str:
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while True:
            log = self._log_file.read_text(errors="replace")
            if listening := _LISTENING.search(log):
                return listening[1]
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Apicurio did not start; its log ends with:\n{log[-6000:]}")
            time.sleep(0.1)


def _java(at_least: int) -> str:
    """Return a Java of this version or a newer one: the one of the PATH, or another that is installed."""
    found = [Path(java) for java in (shutil.which("java"), *sorted(_JVMS.glob("*/bin/java"))) if java]
    for java in found:
        if _major(java.resolve().parents[1]) >= at_least:
            return str(java)
    raise ApicurioMissing(f"Java {at_least} or newer is not installed")


def _major(home: Path) -> int:
    release = home / "release"
    version = _JAVA_VERSION.search(release.read_text()) if release.is_file() else None
    return int(version[1]) if version else 0


def _home(distribution: Distribution) -> Path:
    """Return the directory of the unpacked archive; the first call on a machine downloads it."""
    home = cache() / "apicurio" / distribution.version
    with one_at_a_time(home):
        if not home.is_dir():
            _fetch(distribution, home)
    return home


def _fetch(distribution: Distribution, home: Path) -> None:
    """Unpack in a temporary directory and rename it, so that the archive's files are never there in part."""
    name = f"io.apicurio:apicurio-registry-app:{distribution.version}:{distribution.archive}:all"
    with tempfile.TemporaryDirectory(dir=home.parent) as work:
        try:
            maven.run(Path(work), "Apicurio", "dependency:copy", f"-Dartifact={name}", f"-DoutputDirectory={work}")
        except maven.MavenFailed as failed:
            raise ApicurioMissing(str(failed)) from None
        [archive] = Path(work).glob(f"*.{distribution.archive}")
        _unpack(archive, Path(work, "home"))
        Path(work, "home").rename(home)


def _unpack(archive: Path, directory: Path) -> None:
    if archive.suffix == ".zip":
        shutil.unpack_archive(archive, directory)
    else:
        shutil.unpack_archive(archive, directory, filter="data")
