"""The examples in Java."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from bridge.topics import Topic
from tests.examples import toolchain
from tests.examples.example import Command, lines
from tests.examples.expected import assert_state
from tests.examples.scene import PLAIN, REGISTRY
from tests.support import maven
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.examples.scene import Scene

EXAMPLES = toolchain.EXAMPLES / "java"
SCHEMAS = sorted((ROOT / "avro").glob("*.avsc"))
_OPTIONS: Final = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
#: The first run fetches the libraries, and the tests need Apache Kafka.
pytestmark = pytest.mark.timeout(500)


@pytest.fixture(scope="module")
def java() -> list[str]:
    """Return the command that runs a class of the examples, which are compiled on the first run."""
    try:
        home = toolchain.installed(EXAMPLES, ["pom.xml", "src/**/*.java"], _compile, SCHEMAS)
    except maven.MavenFailed as failed:
        toolchain.missing("the examples in Java", failed)
    return ["java", *_OPTIONS, "-cp", f"{home}/target/classes:{home}/target/jars/*"]


def _compile(directory: Path) -> None:
    maven.run(directory, "the examples' libraries", "compile", f"-Dschemas={ROOT / 'avro'}")


def test_java_reads_values_without_a_registry(java: list[str], kafka_scene: Scene) -> None:
    """With generated classes and BinaryMessageDecoder: the state by the contract's rules."""
    command: Command = [*java, "example.ReadTopics", kafka_scene.bootstrap_servers, PLAIN]
    assert_state(lines(command, kafka_scene.count(PLAIN), EXAMPLES), kafka_scene, PLAIN)


def test_java_reads_values_with_a_registry(java: list[str], kafka_scene: Scene) -> None:
    """With the schemas that the registry has for the ids: the same state."""
    command: Command = [*java, "example.ReadTopics", kafka_scene.bootstrap_servers, REGISTRY, kafka_scene.registry_url]
    assert_state(lines(command, kafka_scene.count(REGISTRY), EXAMPLES), kafka_scene, REGISTRY)


def test_kafka_streams_joins_each_trade_with_the_newest_quote(
    java: list[str], kafka_scene: Scene, tmp_path: Path
) -> None:
    """Each trade appears once, with the bid and ask at its time; a withdrawn ask is none."""
    command: Command = [*java, "example.QuoteAtTrade", kafka_scene.bootstrap_servers, PLAIN, tmp_path]
    printed = lines(command, kafka_scene.count(PLAIN, Topic.TRADES), EXAMPLES)
    apple = [line for line in printed if line["key"] == "AAPL"]
    bid = "212.500000001"
    assert apple[-2:] == [
        {"key": "AAPL", "last_price": bid, "size": "0.083000", "bid": [bid, 7], "ask": ["212.750000000", 3]},
        {"key": "AAPL", "last_price": "212.500000000", "size": "100.000000", "bid": [bid, 9], "ask": [None, None]},
    ]
    for symbol in ("AAPL", "MSFT"):  # the first trades may be as old as the first quote, to the millisecond
        has_quote = [line["bid"] is not None for line in printed if line["key"] == symbol]
        assert has_quote == sorted(has_quote), "a symbol that has a quote keeps one"
        assert has_quote[-1]
