"""``aries-bridge topics`` creates missing topics as specified, and changes no others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public all the same
    AdminClient,
    ConfigResource,
    ResourceType,
)

from bridge.cli.topics import create_or_compare
from bridge.errors import KafkaUnreachable, TopicConfigurationError
from bridge.kafka.topic_admin import creation_problem
from bridge.kafka.topic_specification import TopicOptions
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import SUBSCRIBABLE, Topic
from tests.faults.proxy import Proxy
from tests.support.service import eventually

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from bridge.settings import Settings
    from tests.support.brokers import RealKafka
    from tests.support.scripted_broker import ScriptedBroker

NOWHERE = "127.0.0.1:1"


class TestCreationProblems:
    @pytest.mark.parametrize("code", [0, 36])
    def test_an_existing_topic_is_no_problem(self, code: int) -> None:
        """A topic that another client has just created counts as created."""
        assert creation_problem(code) == ""

    @pytest.mark.parametrize("code", [29, 31])
    def test_missing_rights_have_a_hint(self, code: int) -> None:
        """The problem names the right that is missing."""
        assert "Grant Create" in creation_problem(code, None)

    def test_the_brokers_message_is_used(self) -> None:
        """Other errors have the broker's message."""
        assert creation_problem(44, "Topics need an owner.") == "Topics need an owner (PolicyViolationError)."

    @pytest.mark.parametrize("code", [38, 39, 42])
    def test_a_kafka_without_a_default_replication_factor(self, code: int) -> None:
        """Old and other brokers refuse -1; the option to set is named."""
        assert "Kafka before 2.4), set --replication-factor: usually 3" in creation_problem(code, "must be > 0")

    def test_too_few_brokers_for_the_replicas(self) -> None:
        """The number that was asked for is at fault, not its absence."""
        problem = creation_problem(38, "larger than available brokers: 1.", replicas=3)
        assert problem.endswith(
            "(InvalidReplicationFactorError). Set --replication-factor to at most the number of brokers."
        )


class TestOnTheEmbeddedBroker:
    @pytest.fixture
    def settings(self, broker: EmbeddedBroker, topic_prefix: str) -> Settings:
        return kafka_settings(broker.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})

    async def test_existing_topics_are_listed(
        self, broker: EmbeddedBroker, settings: Settings, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """If all topics exist, they are only listed."""
        broker.create_topics(settings.topics.values())

        await create_or_compare(settings, TopicOptions())

        out, err = capsys.readouterr()
        assert out.splitlines() == [f"exists        {topic_prefix}.{topic}: 4 partitions" for topic in Topic]
        assert "does not report the settings" in err

    async def test_dry_run_lists_missing_topics_and_differences(
        self, broker: EmbeddedBroker, settings: Settings, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A dry run lists what it would create, warns of unequal data topics, and creates nothing."""
        broker.create_topics([f"{topic_prefix}.quotes"])

        for _ in range(2):
            await create_or_compare(settings, TopicOptions(partitions=6, replication_factor=1), dry_run=True)

        out, err = capsys.readouterr()
        lines = out.splitlines()
        assert lines[:2] == [
            f"exists        {topic_prefix}.quotes: 4 partitions",
            f"differs       {topic_prefix}.quotes: 4 partitions, should be 6",
        ]
        assert lines[2] == (
            f"would create  {topic_prefix}.trades: 6 partitions, replication factor 1, cleanup.policy=delete"
        )
        assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
        assert f"unequal partition counts ({topic_prefix}.quotes: 4, {topic_prefix}.trades: 6" in err

    async def test_check_fails_while_topics_are_missing_and_creates_none(
        self, broker: EmbeddedBroker, settings: Settings, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A check lists what is missing and fails, until all topics exist."""
        broker.create_topics([f"{topic_prefix}.quotes"])
        for _ in range(2):
            with pytest.raises(TopicConfigurationError, match=r"\(missing: 7\)"):
                await create_or_compare(settings, TopicOptions(), check=True)
            assert f"missing       {topic_prefix}.dlq: 1 partition, " in capsys.readouterr().out

        broker.create_topics(settings.topics.values())
        await create_or_compare(settings, TopicOptions(), check=True)

    async def test_a_broker_that_cannot_create_topics(self, settings: Settings) -> None:
        """The embedded broker has no controller, and the error says so."""
        with pytest.raises(TopicConfigurationError, match=r"cannot create topics.*embedded broker"):
            await create_or_compare(settings, TopicOptions())

    async def test_unreachable_kafka(self) -> None:
        """An unreachable broker is an error with its address and a hint."""
        with pytest.raises(KafkaUnreachable, match=rf"Kafka at {NOWHERE} cannot be used: .* Check KAFKA_BOOTSTRAP"):
            await create_or_compare(kafka_settings(NOWHERE, {}), TopicOptions())

    async def test_kafka_is_waited_for(
        self, broker: EmbeddedBroker, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """With --wait the command goes on once Kafka answers; a job may start before its cluster does."""
        broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
        async with Proxy(int(broker.bootstrap_servers.rpartition(":")[2])) as proxy:
            port = proxy.port
        settings = kafka_settings(f"127.0.0.1:{port}", {"KAFKA_TOPIC_PREFIX": topic_prefix})
        waiting = asyncio.create_task(create_or_compare(settings, TopicOptions(), wait_seconds=60))
        noted = ""

        def has_noted() -> bool:
            nonlocal noted
            noted += capsys.readouterr().err
            return "(--wait)" in noted

        await eventually(has_noted, "the first attempt in vain")
        async with Proxy(int(broker.bootstrap_servers.rpartition(":")[2]), port=port):
            await waiting
        assert f"Kafka at 127.0.0.1:{port} cannot be used" in noted

    async def test_the_wait_has_an_end(self, capsys: pytest.CaptureFixture[str]) -> None:
        """After it the error is that of the last attempt."""
        with pytest.raises(KafkaUnreachable, match=NOWHERE):
            await create_or_compare(kafka_settings(NOWHERE, {}), TopicOptions(), wait_seconds=0.1)
        assert "Trying again for 0 s (--wait)" in capsys.readouterr().err

    def test_command(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """The command uses its options, and needs no setting of Aries."""
        done = topics_command(
            *("--dry-run", "--partitions", "3", "--retention-hours", "2", "--min-insync-replicas", "2"),
            *("--replication-factor", "2", "--bootstrap-servers", broker.bootstrap_servers),
            KAFKA_TOPIC_PREFIX=topic_prefix,
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[5] == (
            f"would create  {topic_prefix}.market-status: 1 partition, replication factor 2, "
            "cleanup.policy=compact,delete, retention.ms=7200000, min.insync.replicas=2"
        )


class TestAsAJob:
    def test_it_may_run_again(self, scripted_broker: ScriptedBroker, topic_prefix: str) -> None:
        """The first run creates all topics, each later one finds them; all end with 0."""
        arguments = ("--replication-factor", "1", "--wait", "30", "-b", scripted_broker.bootstrap_servers)
        first, second = (topics_command(*arguments, KAFKA_TOPIC_PREFIX=topic_prefix) for _ in range(2))

        assert (first.returncode, second.returncode) == (0, 0)
        assert [line.split()[0] for line in first.stdout.splitlines()] == ["created"] * len(Topic)
        assert [line.split()[0] for line in second.stdout.splitlines()] == ["exists"] * len(Topic)

    def test_it_ends_without_kafka(self) -> None:
        """After the wait it fails with 1 and a message, for the job to be started again."""
        done = topics_command("--wait", "0.1", "-b", NOWHERE)

        assert done.returncode == 1
        assert f"Kafka at {NOWHERE} cannot be used" in done.stderr
        assert "Traceback" not in done.stderr


class TestStrimzi:
    def test_manifest_needs_no_kafka(self) -> None:
        """YAML is printed from the topic names alone, whatever else is set or missing."""
        done = topics_command(
            *("--strimzi", "--cluster", "main", "--partitions", "6", "--replication-factor", "3"),
            KAFKA_TOPIC_PREFIX="Md",
            KAFKA_SECURITY_PROTOCOL="SSL",
            KAFKA_SSL_CAFILE="/nowhere/ca.pem",
        )
        assert (done.returncode, done.stderr) == (0, "")
        specs = [document["spec"] for document in yaml.safe_load_all(done.stdout)]
        assert [spec["topicName"] for spec in specs] == [f"Md.{topic}" for topic in Topic]
        assert {spec["replicas"] for spec in specs} == {3}

    def test_topics_of_latest_states_are_compacted(self) -> None:
        """With BRIDGE_LATEST they are printed, too: as many partitions as the data, and kept however old."""
        options = ("--partitions", "6", "--retention-hours", "2")
        done = topics_command(
            *("--strimzi", "--cluster", "main", *options), BRIDGE_LATEST="true", KAFKA_TOPIC_TRADES_LATEST="last"
        )
        specs = [document["spec"] for document in yaml.safe_load_all(done.stdout)]
        latest = {"partitions": 6, "config": {"cleanup.policy": "compact"}}
        assert specs[len(Topic) :] == [
            {"topicName": "aries.quotes.latest", **latest},
            {"topicName": "last", **latest},
        ]

    def test_a_group_has_a_topic_for_its_shards(self) -> None:
        """With BRIDGE_SHARD=group it is printed, too: a partition for each shard, compacted."""
        group = {"BRIDGE_SHARD": "group", "BRIDGE_SHARDS": "5", "KAFKA_TOPIC_PREFIX": "md"}
        options = ("--partitions", "6", "--retention-hours", "2", "--min-insync-replicas", "2")
        done = topics_command("--strimzi", "--cluster", "main", *options, **group)
        *_, last = [document["spec"] for document in yaml.safe_load_all(done.stdout)]
        config = {"cleanup.policy": "compact", "min.insync.replicas": 2}
        assert last == {"topicName": "md.shards", "partitions": 5, "config": config}
        single = topics_command("--strimzi", "--cluster", "main", BRIDGE_SHARD="auto", BRIDGE_SHARDS="5")
        assert single.returncode == 0
        assert "shards" not in single.stdout

    def test_cluster_and_strimzi_belong_together(self) -> None:
        """Either option without the other is an error."""
        alone = topics_command("--strimzi")
        assert alone.returncode == 2
        assert "--cluster" in alone.stderr
        assert topics_command("--cluster", "main").returncode == 2


def topics_command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge", "topics", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


class TestOnRealKafka:
    async def test_missing_topics_are_created(
        self, kafka: RealKafka, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What is missing is created as specify_topics, once; what existed keeps what it had."""
        settings = kafka_settings(kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})
        kafka.create_topic(f"{topic_prefix}.quotes", partitions=3)

        await create_or_compare(settings, TopicOptions(retention_hours=5))
        created = capsys.readouterr().out
        await create_or_compare(settings, TopicOptions(), check=True)
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

    async def test_differences_are_listed_and_not_changed(
        self, kafka: RealKafka, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Each difference is a line; it fails a check but not a plain run, and neither changes it."""
        settings = kafka_settings(kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})
        await create_or_compare(settings, TopicOptions(partitions=3))
        kafka.create_topic(other := f"{topic_prefix}.odd", partitions=2, config={"cleanup.policy": "compact"})
        settings = kafka_settings(
            kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix, "KAFKA_TOPIC_QUOTES": other}
        )
        capsys.readouterr()

        wanted = TopicOptions(partitions=3, retention_hours=1, min_insync_replicas=2)
        await create_or_compare(settings, wanted)
        output = capsys.readouterr()
        with pytest.raises(TopicConfigurationError, match=r"\(different: 8, unequal partition counts\)"):
            await create_or_compare(settings, wanted, check=True)

        lines = [line for line in output.out.splitlines() if line.startswith("differs") and other in line]
        assert lines == [
            f"differs       {other}: 2 partitions, should be 3",
            f"differs       {other}: cleanup.policy is compact, should be delete",
            f"differs       {other}: retention.ms is 604800000, should be 3600000",
            f"differs       {other}: min.insync.replicas is 1, should be 2",
        ]
        assert "existing topics are not changed" in output.err
        assert "unequal partition counts" in output.err
        assert config(kafka, other) == ("compact", "604800000")

    async def test_the_topic_of_the_shards_of_a_group(
        self, kafka: RealKafka, topic_prefix: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It has a partition for each shard; only it gets more of them, and none is ever too many."""
        environ = {"KAFKA_TOPIC_PREFIX": topic_prefix, "BRIDGE_SHARD": "group"}
        name = f"{topic_prefix}.shards"

        async def run(shards: int, **how: bool) -> list[str]:
            settings = kafka_settings(kafka.bootstrap_servers, {**environ, "BRIDGE_SHARDS": str(shards)})
            try:
                await create_or_compare(settings, TopicOptions(), **how)
            finally:
                lines = capsys.readouterr().out.splitlines()
            return [line for line in lines if name in line]

        assert await run(1) == [f"created       {name}: 1 partition, cleanup.policy=compact"]
        exists = f"exists        {name}: 1 partition"
        assert await run(3, dry_run=True) == [exists, f"would extend  {name}: 1 partition, then 3"]
        with pytest.raises(TopicConfigurationError, match=r"\(different: 1\)"):
            await run(3, check=True)
        assert await run(3) == [exists, f"extended      {name}: 1 partition, then 3"]
        assert await run(2, check=True) == [f"exists        {name}: 3 partitions"]
        listed = AdminClient({"bootstrap.servers": kafka.bootstrap_servers}).list_topics(timeout=10).topics
        assert len(listed[name].partitions) == 3
        assert config(kafka, name)[0] == "compact"

    async def test_rejected_topics_are_listed(self, kafka: RealKafka, topic_prefix: str) -> None:
        """More replicas than brokers are rejected with the broker's message."""
        settings = kafka_settings(kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": topic_prefix})

        with pytest.raises(
            TopicConfigurationError, match=rf"{topic_prefix}\.dlq was not created: .*InvalidReplicationFactor"
        ):
            await create_or_compare(settings, TopicOptions(replication_factor=3))


def config(kafka: RealKafka, topic: str) -> tuple[str, str]:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = admin.describe_configs([resource])[resource].result(timeout=10)
    return entries["cleanup.policy"].value, entries["retention.ms"].value
