"""Apache Avro for Java, fetched once by Maven: its verdicts on pairs of schemas."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support import maven
from tests.support.one_at_a_time import one_at_a_time
from tests.support.paths import cache

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION: Final = "1.12.1"
#: A JVM that compiles the program first, on a busy machine.
RUN_DEADLINE_SECONDS: Final = 120
#: Fetching, compiling, running.
TIMEOUT_SECONDS: Final = maven.FETCH_DEADLINE_SECONDS + RUN_DEADLINE_SECONDS + 30
_POM: Final = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>aries.bridge.tests</groupId>
  <artifactId>avro</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.avro</groupId>
      <artifactId>avro</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


class AvroJavaMissing(Exception):
    """Apache Avro cannot be run on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Java says of a pair: whether it is compatible, and the writer's CRC-64-AVRO as a signed number."""

    compatible: bool
    fingerprint: int


def verdicts(pairs: Iterable[tuple[str, str]]) -> list[Verdict]:
    """Return the verdict on each pair of a reader's and a writer's schema, as one-line JSON.

    Raises AvroJavaMissing.
    """
    if shutil.which("java") is None or shutil.which("javac") is None:
        raise AvroJavaMissing("a JDK is not installed (Java 17 or newer is needed)")
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{_jars()}/*", str(Path(__file__).with_name("Verdicts.java"))]
    lines = "".join(f"{reader}\t{writer}\n" for reader, writer in pairs)
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, check=False, timeout=RUN_DEADLINE_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return [_verdict(line) for line in done.stdout.splitlines()]


def _verdict(line: str) -> Verdict:
    compatibility, fingerprint = line.split("\t")
    return Verdict(compatible=compatibility == "COMPATIBLE", fingerprint=int(fingerprint))


def _jars() -> Path:
    """Return the directory of the jars; the first call on a machine downloads them."""
    jars = cache() / "avro-java" / VERSION
    with one_at_a_time(jars):
        if not jars.is_dir():
            _fetch(jars)
    return jars


def _fetch(jars: Path) -> None:
    """Fill a temporary directory and rename it, so that the jars are never there in part."""
    with tempfile.TemporaryDirectory(dir=jars.parent) as work:
        Path(work, "pom.xml").write_text(_POM)
        copy = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={work}/jars")
        try:
            maven.run(Path(work), "Apache Avro", *copy)
        except maven.MavenFailed as failed:
            raise AvroJavaMissing(str(failed)) from None
        Path(work, "jars").rename(jars)
