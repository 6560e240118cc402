"""Apache Kafka's jars, fetched once by Maven and kept in the checkout's cache."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.support import maven
from tests.support.one_at_a_time import one_at_a_time
from tests.support.paths import cache

VERSION = "4.1.1"
# The broker has no SLF4J binding; this one prints to standard output.
POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>aries.bridge.tests</groupId>
  <artifactId>real-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
"""


class KafkaMissing(Exception):
    """Apache Kafka cannot be run on this machine; the text says why."""


def classpath() -> str:
    """Return Java's class path of the broker; the first call on a machine downloads it.

    Raises KafkaMissing.
    """
    if shutil.which("java") is None:
        raise KafkaMissing("java is not installed (Java 17 or newer is needed)")
    jars = cache() / "kafka" / VERSION
    with one_at_a_time(jars):
        if not jars.is_dir():
            _fetch(jars)
    return f"{jars}/*"


def _fetch(jars: Path) -> None:
    """Fill a temporary directory and rename it, so that the jars are never there in part."""
    with tempfile.TemporaryDirectory(dir=jars.parent) as work:
        (Path(work) / "pom.xml").write_text(POM)
        _run_maven(work)
        Path(work, "jars").rename(jars)


def _run_maven(work: str) -> None:
    copy = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={work}/jars")
    try:
        maven.run(Path(work), "Kafka", *copy)
    except maven.MavenFailed as failed:
        raise KafkaMissing(str(failed)) from None
