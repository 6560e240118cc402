"""``aries-bridge topics`` creates what is missing, as the design says, and touches nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public all the same
    AdminClient,
    ConfigResource,
    ResourceType,
)

from bridge.errors import KafkaUnreachable, TopicsUnfit
from bridge.kafka.access import kafka_settings
from bridge.kafka.topics_command import Design, arrange, designed, problem
from bridge.topics import SUBSCRIBABLE, Topic, topic_names

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from bridge.settings import Settings
    from tests.brokers import RealKafka

NAMES = topic_names("aries", {Topic.L2: "books"})
NOWHERE = "127.0.0.1:1"


class TestDesign:
    def test_of_a_fresh_kafka(self) -> None:
        """Data topics have equal partitions, the others one; market status is compacted, too."""
        designs = {topic.name: topic for topic in designed(NAMES, Design(), {})}

        assert {name: topic.partitions for name, topic in designs.items()} == {
            "aries.quotes": 12,
            "aries.trades": 12,
            "aries.timesales": 12,
            "books": 12,
            "aries.greeks": 12,
            "aries.market-status": 1,
            "aries.control": 1,
            "aries.dlq": 1,
        }
        assert {name for name, topic in designs.items() if topic.config == (("cleanup.policy", "compact,delete"),)} == {
            "aries.market-status"
        }

    def test_partitions_follow_the_data_topics_that_exist(self) -> None:
        """What is missing gets as many partitions as the rest, unless a number is asked for."""
        existing = {"aries.quotes": 4, "books": 4, "aries.dlq": 9}

        assert {topic.partitions for topic in designed(NAMES, Design(), existing)} == {4, 1}
        assert {topic.partitions for topic in designed(NAMES, Design(partitions=6), existing)} == {6, 1}

    def test_retention_is_told_in_milliseconds(self) -> None:
        """Hours become Kafka's unit, on every topic."""
        configs = [dict(topic.config) for topic in designed(NAMES, Design(retention_hours=24), {})]

        assert {config["retention.ms"] for config in configs} == {"86400000"}


class TestProblems:
    @pytest.mark.parametrize("code", [0, 36])
    def test_created_or_there_is_none(self, code: int) -> None:
        """A topic that somebody else has just created is as good."""
        assert problem(code) == ""

    @pytest.mark.parametrize("code", [29, 31])
    def test_missing_rights_are_told_with_the_remedy(self, code: int) -> None:
        """Who may not create topics is told what to ask for."""
        assert "Grant Create" in problem(code, None)

    def test_the_brokers_own_words_are_passed_on(self) -> None:
        """Other refusals are told as the broker tells them."""
        assert problem(44, "Topics need an owner.") == "Topics need an owner (PolicyViolationError)."
        assert problem(38, None).endswith("(InvalidReplicationFactorError).")


class TestOnTheEmbeddedBroker:
    @pytest.fixture
    def settings(self, broker: EmbeddedBroker, topic_prefix: str) -> Settings:
        return kafka_settings(broker.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})

    async def test_existing_topics_are_listed_and_nothing_is_done(
        self, broker: EmbeddedBroker, settings: Settings, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where all topics exist they are listed, and that is all."""
        broker.create_topics(settings.topics.values())

        await arrange(settings, Design())

        out, err = capsys.readouterr()
        assert out.splitlines() == [f"exists        {topic_prefix}.{topic}: 4 partitions" for topic in Topic]
        assert err == ""

    async def test_dry_run_tells_what_is_missing_and_what_would_not_fit(
        self, broker: EmbeddedBroker, settings: Settings, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A dry run tells what it would create, warns of unequal data topics, and creates nothing."""
        broker.create_topics([f"{topic_prefix}.quotes"])

        for _ in range(2):
            await arrange(settings, Design(partitions=6, replication_factor=3), dry_run=True)

        out, err = capsys.readouterr()
        lines = out.splitlines()
        assert lines[0] == f"exists        {topic_prefix}.quotes: 4 partitions"
        assert lines[1] == (
            f"would create  {topic_prefix}.trades: 6 partitions, replication factor 3, cleanup.policy=delete"
        )
        assert lines[: len(Topic)] == lines[len(Topic) :]
        assert f"differ in their numbers of partitions ({topic_prefix}.quotes: 4, {topic_prefix}.trades: 6" in err

    async def test_a_broker_that_creates_no_topics_is_told(self, settings: Settings) -> None:
        """The embedded broker cannot be administered: the error says so."""
        with pytest.raises(TopicsUnfit, match=r"creates no topics.*embedded broker"):
            await arrange(settings, Design())

    async def test_unreachable_kafka_is_told(self) -> None:
        """Nobody at the address is one clear sentence."""
        with pytest.raises(KafkaUnreachable, match=rf"Kafka at {NOWHERE} cannot be used: .* Check KAFKA_BOOTSTRAP"):
            await arrange(kafka_settings(NOWHERE, {}), Design())

    def test_command(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """The command takes its options, and connects without any setting of Aries."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "bridge", "topics", "--dry-run", "--partitions", "3", "--retention-hours", "2"),
                *("--replication-factor", "2", "--bootstrap-servers", broker.bootstrap_servers),
            ],
            env={"KAFKA_TOPIC_PREFIX": topic_prefix},
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[5] == (
            f"would create  {topic_prefix}.market-status: 1 partition, replication factor 2, "
            "cleanup.policy=compact,delete, retention.ms=7200000"
        )


class TestOnRealKafka:
    async def test_missing_topics_are_created(
        self, kafka: RealKafka, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What is missing is created as designed, once; what existed keeps what it had."""
        settings = kafka_settings(kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})
        kafka.create_topic(f"{topic_prefix}.quotes", partitions=3)

        await arrange(settings, Design(retention_hours=5))
        created = capsys.readouterr().out
        await arrange(settings, Design(partitions=7))
        again = capsys.readouterr()

        assert created.count("created") == len(Topic) - 1
        assert again.out.count("exists") == len(Topic)
        assert again.err == ""
        listed = AdminClient({"bootstrap.servers": kafka.bootstrap_servers}).list_topics(timeout=10).topics
        counts = {topic: len(listed[f"{topic_prefix}.{topic}"].partitions) for topic in Topic}
        assert counts == {topic: 3 if topic in SUBSCRIBABLE else 1 for topic in Topic}
        assert config(kafka, f"{topic_prefix}.market-status") == ("compact,delete", "18000000")
        assert config(kafka, f"{topic_prefix}.dlq") == ("delete", "18000000")
        assert config(kafka, f"{topic_prefix}.quotes") == ("delete", "604800000")

    async def test_refusals_are_told_topic_by_topic(self, kafka: RealKafka, topic_prefix: str) -> None:
        """More copies than brokers is refused with the broker's words."""
        settings = kafka_settings(kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})

        with pytest.raises(TopicsUnfit, match=rf"{topic_prefix}\.dlq was not created: .*InvalidReplicationFactor"):
            await arrange(settings, Design(replication_factor=3))


def config(kafka: RealKafka, topic: str) -> tuple[str, str]:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = admin.describe_configs([resource])[resource].result(timeout=10)
    return entries["cleanup.policy"].value, entries["retention.ms"].value
