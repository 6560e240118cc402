"""Apache Kafka's jars, of one version or another, fetched once by Maven and kept in the checkout's cache."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from tests.support import maven
from tests.support.one_at_a_time import one_at_a_time
from tests.support.paths import cache

#: The versions that the bridge is tested with, from the first that needs no ZooKeeper to the newest. The tests run on
#: the newest, and `make test-kafka-versions` runs those of `KAFKA_TESTS` in the Makefile on each.
VERSIONS = ("3.3.2", "3.9.1", "4.4.0")
#: Names another version to run the tests on.
VERSION_VARIABLE = "TESTS_KAFKA_VERSION"
# The broker has no SLF4J binding; this one prints to standard output. The tools are those that left the broker's jar.
POM = """\
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
      <version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId>
      <version>{version}</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
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


def version() -> str:
    """Return the version of Apache Kafka that the tests run on."""
    return os.environ.get(VERSION_VARIABLE) or VERSIONS[-1]


def is_at_least(wanted: str) -> bool:
    """Return whether the tests run on a version of Kafka or a newer one."""
    return _numbers(version()) >= _numbers(wanted)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def classpath() -> str:
    """Return Java's class path of the broker; the first call on a machine downloads it.

    Raises KafkaMissing.
    """
    if shutil.which("java") is None:
        raise KafkaMissing("java is not installed (Java 17 or newer is needed)")
    jars = cache() / "kafka" / version()
    with one_at_a_time(jars):
        if not jars.is_dir():
            _fetch(jars)
    return f"{jars}/*"


def _fetch(jars: Path) -> None:
    """Fill a temporary directory and rename it, so that the jars are never there in part."""
    with tempfile.TemporaryDirectory(dir=jars.parent) as work:
        (Path(work) / "pom.xml").write_text(POM.format(version=version()))
        _run_maven(work)
        Path(work, "jars").rename(jars)


def _run_maven(work: str) -> None:
    copy = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={work}/jars")
    try:
        maven.run(Path(work), "Kafka", *copy)
    except maven.MavenFailed as failed:
        raise KafkaMissing(str(failed)) from None


if __name__ == "__main__":
    print(*VERSIONS)  # noqa: T201 - for the Makefile
