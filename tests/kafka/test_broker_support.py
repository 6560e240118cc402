"""What a Kafka of another make lacks is found before anything is read, in one sentence that says what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bridge.check import kafka as kafka_check
from bridge.check import topics as topics_check
from bridge.check.report import Status
from bridge.cli.topics import create_or_compare
from bridge.errors import KafkaUnreachable, TopicConfigurationError
from bridge.kafka.broker_support import INIT_PRODUCER_ID, METADATA, PRODUCE, missing_request, unsupported_compression
from bridge.kafka.cluster import PartitionDescription, TopicDescription, TopicDescriptions
from bridge.kafka.producer import AiokafkaProducer
from bridge.kafka.tail import Selection
from bridge.kafka.topic_specification import TopicOptions
from bridge.serialization.formatting import json_line
from bridge.settings import load
from bridge.settings.kafka_side import kafka_settings
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.check.results import NO_ARIES, Results, run_preflight
from tests.support.printed import print_records
from tests.support.service import environment, eventually, serving

if TYPE_CHECKING:
    from tests.support.scripted_broker import ScriptedBroker

ENOUGH = {METADATA: (0, 13), PRODUCE: (3, 13), INIT_PRODUCER_ID: (0, 6)}
NONE = (0, -1)
INVALID_REPLICATION_FACTOR, UNKNOWN_SERVER_ERROR = 38, -1


@pytest.mark.parametrize(
    ("versions", "finding", "hint"),
    [
        ({INIT_PRODUCER_ID: NONE}, "InitProducerId requests .* do not support them", "Use Apache Kafka 2.1"),
        ({PRODUCE: (0, 2)}, "Produce requests of version 3 to 8 .* only up to version 2", "Use Apache Kafka 2.1"),
        ({PRODUCE: (9, 14)}, "Produce requests .* only from version 9", "newer aries-bridge"),
        ({METADATA: (9, 14)}, "Metadata requests .* only from version 9", "newer aries-bridge"),
    ],
)
def test_a_request_that_is_missing_is_named(versions: dict[int, tuple[int, int]], finding: str, hint: str) -> None:
    """With the versions on both sides, what it is needed for, and which side to change."""
    lack = missing_request(ENOUGH | versions)
    assert lack is not None
    assert re.search(finding, lack.finding)
    assert hint in lack.hint


def test_only_zstd_needs_a_newer_produce_request() -> None:
    """Brokers before Kafka 2.1 know the other compressions."""
    old = ENOUGH | {PRODUCE: (0, 6)}
    assert missing_request(ENOUGH) is missing_request(old) is None
    assert unsupported_compression(ENOUGH, "zstd") is unsupported_compression(old, "lz4") is None
    lack = unsupported_compression(old, "zstd")
    assert lack is not None
    assert "KAFKA_COMPRESSION" in lack.hint


@pytest.mark.parametrize("request_name", ["InitProducerId", "Produce"])
async def test_the_start_fails_with_what_is_missing(scripted_broker: ScriptedBroker, request_name: str) -> None:
    """A producer is not started with brokers that lack a request; nothing was sent but what asks for versions."""
    scripted_broker.add_rule("ApiVersions", versions={request_name: NONE})
    with pytest.raises(KafkaUnreachable, match=rf"needs {request_name} requests .* Use Apache Kafka 2\.1 or newer"):
        await AiokafkaProducer.start({"bootstrap_servers": scripted_broker.bootstrap_servers})
    assert {request.key for request in scripted_broker.requests()} <= {"ApiVersions", "Metadata"}


async def test_a_refused_producer_id_has_a_hint(scripted_broker: ScriptedBroker) -> None:
    """A service may know the request and still give out no ids."""
    scripted_broker.add_rule("InitProducerId", error=UNKNOWN_SERVER_ERROR)
    with pytest.raises(KafkaUnreachable, match="idempotent producer"):
        await AiokafkaProducer.start({"bootstrap_servers": scripted_broker.bootstrap_servers})


async def test_the_service_reads_nothing_while_brokers_lack_the_compression(
    scripted_broker: ScriptedBroker, topic_prefix: str
) -> None:
    """The reason is in the status; after an upgrade of the brokers the bridge starts by itself."""
    scripted_broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    rule = scripted_broker.add_rule("ApiVersions", versions={"Produce": (0, 6)})
    async with Simulator() as simulator:
        environ = environment(simulator, scripted_broker.bootstrap_servers, topic_prefix, KAFKA_COMPRESSION="zstd")
        async with serving(environ) as service:
            state = service.bridge.publisher.state
            await eventually(lambda: state.last_error, "a first attempt")
            assert "zstd needs 7" in str(state.last_error)
            assert "Set KAFKA_COMPRESSION" in str(state.last_error)
            assert not simulator.received_counts
            rule.remove()
            await simulator.subscribed("AAPL")


async def test_the_preflight_reports_what_is_missing(scripted_broker: ScriptedBroker) -> None:
    """Requests and compression are checks of their own."""
    environ = {**NO_ARIES, "KAFKA_BOOTSTRAP_SERVERS": scripted_broker.bootstrap_servers, "KAFKA_COMPRESSION": "zstd"}
    good = await run_preflight(environ)
    scripted_broker.add_rule("ApiVersions", versions={"Produce": (0, 6), "InitProducerId": NONE})
    bad = await run_preflight(environ)
    good.expect(kafka_check.REQUESTS, Status.OK)
    good.expect(kafka_check.COMPRESSION, Status.OK)
    bad.expect(kafka_check.REQUESTS, Status.FAIL, "InitProducerId", "Kafka 2.1")
    bad.expect(kafka_check.COMPRESSION, Status.FAIL, "zstd", "KAFKA_COMPRESSION")


def test_the_preflight_reports_an_old_message_format() -> None:
    """Topics of old brokers may be in a format without sequence numbers, and Kafka then rejects every record."""
    results = Results()
    settings = load({**NO_ARIES, "KAFKA_BOOTSTRAP_SERVERS": "k:1"})
    partitions = (PartitionDescription(1, 3, 3),)
    described = TopicDescriptions(
        {
            name: TopicDescription(name, partitions, {"message.format.version": version})
            for name, version in {"aries.quotes": "0.10.2-IV0", "aries.trades": "2.8-IV1"}.items()
        }
    )
    topics_check.check_topics(results.report, settings, list(Topic), described)
    results.expect(topics_check.FORMAT, Status.FAIL, "older than 0.11 on aries.quotes", "0.11.0")
    assert "aries.trades" not in results[topics_check.FORMAT].finding


class TestTopics:
    """Topics on clusters that cannot create them as they are asked to."""

    async def test_no_default_replication_factor(self, scripted_broker: ScriptedBroker) -> None:
        """Every topic that was not created is listed with the option that helps."""
        scripted_broker.add_rule("CreateTopics", topic="aries.quotes", error=INVALID_REPLICATION_FACTOR)
        with pytest.raises(TopicConfigurationError, match=r"aries\.quotes was not .* set --replication-factor: us"):
            await create_or_compare(kafka_settings(scripted_broker.bootstrap_servers, {}), TopicOptions())

    async def test_no_controller(self, scripted_broker: ScriptedBroker) -> None:
        """A cluster may be electing one, and a service may have none."""
        scripted_broker.add_rule("Metadata", controller=-1)
        with pytest.raises(TopicConfigurationError, match="cannot create topics, because it has no controller"):
            await create_or_compare(kafka_settings(scripted_broker.bootstrap_servers, {}), TopicOptions())

    async def test_a_controller_is_waited_for(
        self, scripted_broker: ScriptedBroker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """With --wait the topics are created once there is one."""
        scripted_broker.add_rule("Metadata", controller=-1, times=4)
        settings = kafka_settings(scripted_broker.bootstrap_servers, {})
        await create_or_compare(settings, TopicOptions(replication_factor=1), wait_seconds=60)
        out, err = capsys.readouterr()
        assert out.count("created  ") == len(Topic)
        assert "no controller" in err
        assert "(--wait)" in err

    @pytest.mark.parametrize("versions", [NONE, (50, 60)])
    async def test_no_request_to_create_topics(
        self, scripted_broker: ScriptedBroker, versions: tuple[int, int]
    ) -> None:
        """Where topics are managed otherwise, they can still be listed."""
        scripted_broker.add_rule("ApiVersions", versions={"CreateTopics": versions})
        with pytest.raises(TopicConfigurationError, match=r"does not support requests to create topics.*--dry-run"):
            await create_or_compare(kafka_settings(scripted_broker.bootstrap_servers, {}), TopicOptions())


@pytest.mark.parametrize(
    ("request_name", "versions", "hint"),
    [("ListOffsets", NONE, "Use Apache Kafka 2"), ("Fetch", (50, 60), "newer aries-bridge")],
)
async def test_a_command_that_reads_says_what_it_lacks(
    scripted_broker: ScriptedBroker, request_name: str, versions: tuple[int, int], hint: str
) -> None:
    """It is one sentence, not a traceback."""
    scripted_broker.create_topic("aries.quotes")
    scripted_broker.add_rule("ApiVersions", versions={request_name: versions})
    settings = kafka_settings(scripted_broker.bootstrap_servers, {})
    with pytest.raises(KafkaUnreachable, match=f"needs {request_name} requests .* {hint}"):
        await print_records(settings, Selection(("quotes",)), json_line)
