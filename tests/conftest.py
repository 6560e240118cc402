from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import settings as hypothesis_settings

from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.pipeline.compiled import is_built
from bridge.topics import Topic
from tests.support.brokers import RealKafka, unique
from tests.support.compiled_step import stale_step
from tests.support.go_tools import ToolMissing
from tests.support.kafka_distribution import KafkaMissing
from tests.support.ports import reserved_port
from tests.support.scripted_broker import ScriptedBroker

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

#: Set to 1 where a real Kafka must be tested against: its absence is then a failure.
REQUIRE_KAFKA = "TESTS_REQUIRE_KAFKA"
#: Set to 1 where what Go builds must be tested with: its absence is then a failure.
REQUIRE_GO = "TESTS_REQUIRE_GO"
#: Set to 1 where the compiled step must be tested: its absence is then a failure.
REQUIRE_COMPILED = "TESTS_REQUIRE_COMPILED"
#: The first run fetches Kafka; a broker's start takes seconds on a busy machine.
KAFKA_TIMEOUT_SECONDS = 300
#: The first run builds the scripted broker; later ones start it in milliseconds.
SCRIPTED_BROKER_TIMEOUT_SECONDS = 300
#: Fixtures that are programs which Go builds, a browser, or a registry that Maven fetches.
TOOLS = frozenset({"actionlint", "apicurio", "helm", "promtool", "scripted_broker", "window"})
OURS = ("ARIES_", "BRIDGE_", "KAFKA_", "SCHEMA_REGISTRY_")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy")

#: No test asserts how long something takes: machines are slow at times.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")

kafka_required = pytest.StashKey[bool]()
running_kafkas = pytest.StashKey[list[RealKafka]]()


def pytest_configure(config: pytest.Config) -> None:
    """Remove environment variables that would configure the code under test, or proxy loopback connections."""
    config.stash[kafka_required] = os.environ.get(REQUIRE_KAFKA) == "1"
    config.stash[running_kafkas] = []
    for name in list(os.environ):
        if name.startswith(OURS) or name.lower() in PROXIES:
            del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use Apache Kafka or other programs; allow time for those that may have to build one.

    The files that use Apache Kafka come first: they take longest, and at the end the other workers would wait for them.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if {"kafka", "kafka_cluster", "kafka_with_acls"} & fixtures:
            item.add_marker(pytest.mark.kafka)
            _allow_time(item, KAFKA_TIMEOUT_SECONDS)
        if TOOLS & fixtures:
            item.add_marker(pytest.mark.tools)
        if "scripted_broker" in fixtures:
            _allow_time(item, SCRIPTED_BROKER_TIMEOUT_SECONDS)
    slow = {item.path for item in items if item.get_closest_marker("kafka") is not None}
    items.sort(key=lambda item: item.path not in slow)


def _allow_time(item: pytest.Item, seconds: int) -> None:
    if item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(seconds))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the brokers' logs beside the failure of a test that uses them."""
    report = yield
    if report.failed and item.get_closest_marker("kafka") is not None:
        for kafka in item.config.stash[running_kafkas]:
            report.sections.append(("Kafka's log", kafka.log_tail()))
    return report


@pytest.fixture(scope="session")
def compiled_step() -> None:
    """Require the compiled step, of the sources as they are now."""
    problem = "it is not built: run `make compiled`, which needs a C compiler" if not is_built() else stale_step()
    if problem and os.environ.get(REQUIRE_COMPILED) == "1":
        pytest.fail(f"{REQUIRE_COMPILED}=1, but the compiled step cannot be tested: {problem}")
    if problem:
        pytest.skip(f"THE COMPILED STEP IS NOT TESTED: {problem}")


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    """Run the embedded broker for a module's tests; ``topic_prefix`` keeps them apart."""
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def scripted_broker(request: pytest.FixtureRequest) -> Iterator[ScriptedBroker]:
    """Run a broker that answers as the test tells it to; the indirect parameter is the number of brokers."""
    try:
        with ScriptedBroker(getattr(request, "param", 1)) as running:
            yield running
    except ToolMissing as missing:
        if os.environ.get(REQUIRE_GO) == "1":
            pytest.fail(f"{REQUIRE_GO}=1, but there is no scripted broker: {missing}")
        pytest.skip(f"NOT TESTED WITH THE SCRIPTED BROKER: {missing}")


@pytest.fixture
def unused_address() -> Iterator[str]:
    """Return an address without a listener."""
    with reserved_port() as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture
def topic_prefix() -> str:
    """Return a topic prefix that no other test has."""
    return unique("aries")


@pytest.fixture
def topics(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Create the topics of one test on the embedded broker."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """Run one real broker for the whole session; a test that ends it starts it again."""
    yield from _real_kafka(request.config, tmp_path_factory.mktemp("kafka"), brokers=1)


@pytest.fixture(scope="module")
def kafka_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """Run three real brokers for a module's tests; a test that ends one starts it again."""
    yield from _real_kafka(request.config, tmp_path_factory.mktemp("kafka-cluster"), brokers=3)


@pytest.fixture(scope="module")
def kafka_with_acls(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """Run one real broker where clients of the plain listener may do everything, and others what they are granted."""
    authorizer = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    yield from _real_kafka(request.config, tmp_path_factory.mktemp("kafka-acls"), brokers=1, properties=authorizer)


def _real_kafka(
    config: pytest.Config, directory: Path, *, brokers: int, properties: Mapping[str, str] | None = None
) -> Iterator[RealKafka]:
    try:
        kafka = RealKafka(directory, brokers, properties)
    except KafkaMissing as missing:
        if config.stash[kafka_required]:
            pytest.fail(f"{REQUIRE_KAFKA}=1, but there is no real Kafka: {missing}")
        pytest.skip(f"NOT TESTED AGAINST A REAL KAFKA: {missing}")
    running = config.stash[running_kafkas]
    running.append(kafka)
    try:
        with kafka:
            yield kafka
    finally:
        running.remove(kafka)


@pytest.fixture
def log_config_restored() -> Iterator[None]:
    """Let a test configure logging, and undo it."""
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, ("aiohttp", "aiokafka", "asyncio", "watchfiles", "websockets"))]
    handlers, levels = root.handlers[:], [logger.level for logger in loggers]
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
