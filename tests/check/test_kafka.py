"""The Kafka side against real brokers: reached, logged in to, and asked without writing anything."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from confluent_kafka.admin import (  # type: ignore[attr-defined] # public all the same
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from bridge.check import kafka as kafka_check
from bridge.check import topics
from bridge.check.report import Status
from bridge.cli.topics import create_or_compare
from bridge.kafka.topic_specification import TopicOptions
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import Topic
from tests.check.findings import NO_ARIES, Findings, found
from tests.kafka.test_security import unsecured_jwt
from tests.support import consumer
from tests.support.brokers import LOGIN, PASSWORD, USER, Listener
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka


def environ(servers: str, prefix: str = "aries", **more: str) -> dict[str, str]:
    return {**NO_ARIES, "KAFKA_BOOTSTRAP_SERVERS": servers, "KAFKA_TOPIC_PREFIX": prefix, **more}


async def create_topics(kafka: RealKafka, prefix: str, design: TopicOptions | None = None) -> None:
    settings = kafka_settings(kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": prefix})
    await create_or_compare(settings, design or TopicOptions(partitions=2))


class TestReaching:
    async def test_servers_that_are_not_there(self) -> None:
        """Each is told with its address; a login is not tried."""
        findings = await found(environ(f"127.0.0.1:1,{'x' * 70}"))

        findings.must("Kafka TCP", Status.FAIL, "127.0.0.1:1", "KAFKA_BOOTSTRAP_SERVERS")
        findings.must("Kafka DNS", Status.FAIL, "x" * 70, "KAFKA_BOOTSTRAP_SERVERS")
        assert kafka_check.LOGIN not in findings

    async def test_one_server_that_answers_is_enough_to_go_on(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """A failed server is a failure, and the rest is checked by way of the others."""
        broker.create_topics([f"{topic_prefix}.quotes"])
        findings = await found(environ(f"127.0.0.1:1,{broker.bootstrap_servers}", topic_prefix))

        assert [finding.status for finding in findings.named("Kafka TCP")] == [Status.FAIL, Status.OK]
        findings.must(f"Kafka topic {topic_prefix}.quotes", Status.OK, "4 partitions")

    async def test_a_server_that_says_nothing(self) -> None:
        """A port that takes connections and never answers ends in the deadline, with what to look at."""
        async with silent_server() as server:
            findings = await found(environ(server), patience_seconds=0.3)

        findings.must("Kafka TCP", Status.OK)
        findings.must(kafka_check.LOGIN, Status.FAIL, "KAFKA_SECURITY_PROTOCOL")

    async def test_all_ends_in_time(self) -> None:
        """The deadline of all checks is a finding of its own."""
        async with silent_server() as server:
            findings = await found(environ(server), patience_seconds=8, timeout_seconds=0.3)

        findings.must("Kafka TCP", Status.OK)
        findings.must("Kafka", Status.FAIL, "within 0.3 s", "--timeout")


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    writers = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(accept, "localhost", 0, family=socket.AF_INET)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.transport.abort()


class TestOnTheEmbeddedBroker:
    async def test_what_such_a_broker_does_not_tell(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """It knows neither rights nor settings: that is said, and nothing fails."""
        broker.create_topics([f"{topic_prefix}.{topic}" for topic in Topic])
        findings = await found(environ(broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS=""))

        assert {finding.check for finding in findings.all if finding.status is Status.FAIL} == {"Settings"}
        findings.must(topics.WRITING, Status.WARN, "not told", "every topic")
        findings.must(topics.CONFIG, Status.WARN, "DescribeConfigs")
        findings.must(kafka_check.IDEMPOTENCE, Status.OK)

    async def test_a_missing_topic_is_not_created_by_asking(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """The embedded broker creates what it is asked for, but not what comes with the word not to."""
        for _ in range(2):
            findings = await found(environ(broker.bootstrap_servers, topic_prefix))
            findings.must(f"Kafka topic {topic_prefix}.dlq", Status.FAIL, "does not exist", "KAFKA_TOPIC_DLQ")


class TestOnRealKafka:
    async def test_good_topics(self, kafka: RealKafka, topic_prefix: str) -> None:
        """All is told, and nothing is written."""
        await create_topics(kafka, topic_prefix)
        findings = await found(environ(kafka.bootstrap_servers, topic_prefix))

        of_kafka = [finding for finding in findings.all if finding.check.startswith("Kafka")]
        assert {finding.check for finding in of_kafka if finding.status is not Status.OK} == {topics.REPLICATION}
        findings.must(topics.WRITING, Status.OK, "by the brokers' own words")
        findings.must(topics.PARTITIONS, Status.OK, "2 on each")
        findings.must(kafka_check.IDEMPOTENCE, Status.OK)
        names = [f"{topic_prefix}.{topic}" for topic in Topic]
        assert await asyncio.to_thread(consumer.read_all, kafka.bootstrap_servers, names) == []

    async def test_topics_that_do_not_fit(self, kafka: RealKafka, topic_prefix: str) -> None:
        """What Kafka tells of a topic arrives where it is judged."""
        kafka.create_topic(
            f"{topic_prefix}.quotes", 3, config={"max.message.bytes": "1000", "min.insync.replicas": "2"}
        )
        await create_topics(kafka, topic_prefix)
        findings = await found(environ(kafka.bootstrap_servers, topic_prefix))

        findings.must(topics.PARTITIONS, Status.FAIL, f"{topic_prefix}.quotes: 3")
        findings.must(topics.BATCHES, Status.WARN, f"{topic_prefix}.quotes (1000)", "KAFKA_BATCH_BYTES")
        findings.must(topics.MIN_INSYNC, Status.FAIL, f"{topic_prefix}.quotes")

    async def test_a_login(self, kafka: RealKafka, topic_prefix: str) -> None:
        """As whom and how is told, never the password."""
        findings = await found(environ(kafka.addresses(Listener.SASL), topic_prefix, **LOGIN))

        findings.must(kafka_check.LOGIN, Status.OK, f"{USER} (SCRAM-SHA-512, SASL_PLAINTEXT)")
        assert PASSWORD not in str(findings.all)

    async def test_a_wrong_password(self, kafka: RealKafka) -> None:
        """The remedy names the settings of the login."""
        wrong = {**LOGIN, "KAFKA_SASL_PASSWORD": "wrong horse"}
        findings = await found(environ(kafka.addresses(Listener.SASL), **wrong))

        findings.must(kafka_check.LOGIN, Status.FAIL, "KAFKA_SASL_")
        assert "wrong horse" not in str(findings.all)

    async def test_a_port_that_wants_a_login(self, kafka: RealKafka) -> None:
        """Speaking in the clear to a port that wants TLS or SASL is told as such."""
        findings = await found(environ(kafka.addresses(Listener.MTLS)))

        findings.must(kafka_check.LOGIN, Status.FAIL, "KAFKA_SECURITY_PROTOCOL")

    async def test_a_token(self, kafka: RealKafka, topic_prefix: str) -> None:
        """With OAUTHBEARER a good token is accepted, and one that the brokers refuse is told with its settings."""
        async with token_endpoint() as endpoint:
            settings = environ(kafka.addresses(Listener.SASL), topic_prefix, **oauth(endpoint.url))
            endpoint.will_answer(200, {"access_token": unsecured_jwt()})
            accepted = await found(settings)
            refused = await found(settings)
            endpoint.will_answer(401, {"error": "invalid_client"})
            endpoint.will_answer(401, {"error": "invalid_client"})
            not_granted = await found(settings)

        accepted.must(kafka_check.LOGIN, Status.OK, "md-client (OAUTHBEARER, SASL_PLAINTEXT)")
        refused.must(kafka_check.LOGIN, Status.FAIL, "KAFKA_OAUTH_")
        not_granted.must(kafka_check.LOGIN, Status.FAIL, "KAFKA_OAUTH_CLIENT_ID")

    async def test_certificates(self, kafka: RealKafka, topic_prefix: str) -> None:
        """With the authority in hand the brokers' certificate is judged, and the client's own shown."""
        certificates = kafka.certificates
        tls = {
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CAFILE": str(certificates.authority_file),
            "KAFKA_SSL_CERTFILE": str(certificates.client_file),
            "KAFKA_SSL_KEYFILE": str(certificates.client_file),
        }
        findings = await found(environ(kafka.addresses(Listener.MTLS), topic_prefix, **tls))

        findings.must("Kafka TLS", Status.OK, "lapses in")
        findings.must(kafka_check.LOGIN, Status.OK, "by certificate (SSL)")

    async def test_brokers_of_an_unknown_authority(self, kafka: RealKafka) -> None:
        """The remedy is the setting that names it."""
        findings = await found(
            environ(kafka.addresses(Listener.SASL_TLS), **LOGIN | {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"})
        )

        findings.must("Kafka TLS", Status.FAIL, "is not accepted", "KAFKA_SSL_CAFILE")
        assert kafka_check.LOGIN not in findings

    async def test_an_advertised_address_that_is_not_reached(self, kafka: RealKafka) -> None:
        """Brokers are called by the addresses that they advertise: one that leads nowhere is told as theirs."""
        async with forwarding(kafka.bootstrap_servers, "localhost:1") as server:
            findings = await found(environ(server))

        findings.must("Kafka broker TCP", Status.FAIL, "localhost:1 ", "advertised.listeners")
        findings.must(kafka_check.LOGIN, Status.OK)

    async def test_an_advertised_address_that_says_nothing(self, kafka: RealKafka) -> None:
        """Where the broker behind the login does not answer, the topics are what could not be looked at."""
        async with silent_server() as silent, forwarding(kafka.bootstrap_servers, silent) as server:
            findings = await found(environ(server), patience_seconds=1)

        findings.must(kafka_check.LOGIN, Status.OK)
        findings.must(kafka_check.TOPICS, Status.FAIL, "advertised.listeners")


@asynccontextmanager
async def forwarding(server: str, instead: str) -> AsyncIterator[str]:
    """Stand between a client and a broker, and let the broker advertise a port of the same host instead of its own."""
    host, _, port = server.partition(":")
    own, other = (int(address.rpartition(":")[2]).to_bytes(4, "big") for address in (server, instead))
    name = len(host).to_bytes(2, "big") + host.encode()
    tasks: list[asyncio.Task[None] | None] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            sink.write(data.replace(name + own, name + other))
            await sink.drain()
        sink.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await listener.wait_closed()
        await asyncio.gather(*filter(None, tasks))


def oauth(url: str) -> dict[str, str]:
    return {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA_OAUTH_TOKEN_URL": url,
        "KAFKA_OAUTH_CLIENT_ID": "md-client",
        "KAFKA_OAUTH_CLIENT_SECRET": "md-secret",
    }


class TestRights:
    async def test_only_what_is_granted_is_there(self, kafka_with_acls: RealKafka, topic_prefix: str) -> None:
        """Rights come from the brokers: hidden, readable and writable topics are told apart, topic by topic."""
        kafka = kafka_with_acls
        await create_topics(kafka, topic_prefix)
        settings = environ(kafka.addresses(Listener.SASL), topic_prefix, **LOGIN)

        hidden = await found(settings)
        hidden.must(f"Kafka topic {topic_prefix}.quotes", Status.FAIL, "may not see", f"Write on it to {USER}")
        hidden.must(kafka_check.IDEMPOTENCE, Status.FAIL, "not authorised", f"Grant Write on the topics to {USER}")

        grant(kafka, topic_prefix, AclOperation.DESCRIBE)
        described = await found_once(settings, f"Kafka topic {topic_prefix}.quotes", Status.OK)
        described.must(f"Kafka topic {topic_prefix}.quotes", Status.OK)
        described.must(topics.WRITING, Status.FAIL, "every topic", f"Grant Write on the topics to {USER}")
        described.must(topics.CONFIG, Status.WARN, "DescribeConfigs")

        grant(kafka, topic_prefix, AclOperation.WRITE)
        granted = await found_once(settings, topics.WRITING, Status.OK)
        granted.must(topics.WRITING, Status.OK)
        granted.must(kafka_check.IDEMPOTENCE, Status.OK)
        granted.must(topics.CONFIG, Status.WARN)

        grant(kafka, topic_prefix, AclOperation.DESCRIBE_CONFIGS)
        whole = await found_once(settings, topics.CLEANUP, Status.OK)
        whole.must(topics.CLEANUP, Status.OK)
        assert topics.CONFIG not in whole


async def found_once(settings: Mapping[str, str], check: str, status: Status) -> Findings:
    """Return what is found once a right is in force: a broker learns of a grant a moment after it is given."""
    async with asyncio.timeout(30):
        while True:
            findings = await found(settings)
            if [finding.status for finding in findings.named(check)] == [status]:
                return findings


def grant(kafka: RealKafka, prefix: str, operation: AclOperation) -> None:
    binding = AclBinding(
        ResourceType.TOPIC,
        prefix,
        ResourcePatternType.PREFIXED,
        f"User:{USER}",
        "*",
        operation,
        AclPermissionType.ALLOW,
    )
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for created in admin.create_acls([binding]).values():
        created.result(timeout=20)
