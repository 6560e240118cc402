"""The Kafka side is checked against real brokers, without writing anything."""

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

from bridge.check import group, topics
from bridge.check import kafka as kafka_check
from bridge.check.report import Status
from bridge.cli.topics import create_or_compare
from bridge.kafka.topic_specification import TopicOptions
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import Topic
from tests.check.results import NO_ARIES, Results, run_preflight
from tests.kafka.test_security import unsecured_jwt
from tests.support import consumer
from tests.support.brokers import LOGIN, PASSWORD, USER, Listener, needs_users
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka


TOKEN_LOGIN = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}


def environ(servers: str, prefix: str = "aries", **more: str) -> dict[str, str]:
    return {**NO_ARIES, "KAFKA_BOOTSTRAP_SERVERS": servers, "KAFKA_TOPIC_PREFIX": prefix, **more}


async def create_topics(kafka: RealKafka, prefix: str, options: TopicOptions | None = None) -> None:
    settings = kafka_settings(kafka.bootstrap_servers, {"KAFKA_TOPIC_PREFIX": prefix})
    await create_or_compare(settings, options or TopicOptions(partitions=2))


class TestReaching:
    async def test_unreachable_servers(self) -> None:
        """Each is reported with its reason; nothing else is checked."""
        results = await run_preflight(environ(f"127.0.0.1:1,{'x' * 70}"))

        refused, unresolved = results.named(kafka_check.CONNECTION)
        assert {refused.status, unresolved.status} == {Status.FAIL}
        assert "127.0.0.1:1" in refused.finding
        assert "x" * 70 in unresolved.finding
        assert "KAFKA_BOOTSTRAP_SERVERS" in refused.hint
        assert "DNS" in unresolved.hint
        assert kafka_check.BROKERS not in results

    async def test_one_server_that_answers_is_enough(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """An unreachable server is a failure, and the rest is checked through the others."""
        broker.create_topics([f"{topic_prefix}.quotes"])
        results = await run_preflight(environ(f"127.0.0.1:1,{broker.bootstrap_servers}", topic_prefix))

        assert [result.status for result in results.named(kafka_check.CONNECTION)] == [Status.FAIL, Status.OK]
        results.expect(f"Kafka topic {topic_prefix}.quotes", Status.OK, "4 partitions")

    async def test_a_silent_server(self) -> None:
        """A port that accepts connections and never answers is reported at the timeout."""
        async with silent_server() as server:
            results = await run_preflight(environ(server), answer_timeout_seconds=0.3)

        results.expect(kafka_check.CONNECTION, Status.FAIL, "KAFKA_SECURITY_PROTOCOL")

    async def test_all_checks_have_a_timeout(self) -> None:
        """The deadline of all checks is a result of its own."""
        async with silent_server() as server:
            results = await run_preflight(environ(server), answer_timeout_seconds=8, timeout_seconds=0.3)

        results.expect("Kafka", Status.FAIL, "within 0.3 s", "--timeout")


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
    async def test_what_such_a_broker_does_not_report(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """Rights and settings are unknown, which is a warning."""
        broker.create_topics([f"{topic_prefix}.{topic}" for topic in Topic])
        results = await run_preflight(environ(broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS=""))

        assert {result.check for result in results.all if result.status is Status.FAIL} == {"Settings"}
        results.expect(topics.WRITING, Status.WARN, "not reported", "every topic")
        results.expect(topics.CONFIG, Status.WARN, "DescribeConfigs")
        results.expect(kafka_check.IDEMPOTENCE, Status.OK)

    async def test_a_missing_topic_is_not_created(self, broker: EmbeddedBroker, topic_prefix: str) -> None:
        """The embedded broker auto-creates topics, unless a request disables that."""
        for _ in range(2):
            results = await run_preflight(environ(broker.bootstrap_servers, topic_prefix))
            results.expect(f"Kafka topic {topic_prefix}.dlq", Status.FAIL, "does not exist", "KAFKA_TOPIC_DLQ")


class TestOnRealKafka:
    async def test_good_topics(self, kafka: RealKafka, topic_prefix: str) -> None:
        """All checks pass, and nothing is written."""
        await create_topics(kafka, topic_prefix)
        results = await run_preflight(environ(kafka.bootstrap_servers, topic_prefix))

        of_kafka = [result for result in results.all if result.check.startswith("Kafka")]
        assert {result.check for result in of_kafka if result.status is not Status.OK} == {topics.REPLICATION}
        results.expect(topics.WRITING, Status.OK, "as the brokers report")
        results.expect(topics.PARTITIONS, Status.OK, "2 on each")
        results.expect(kafka_check.IDEMPOTENCE, Status.OK)
        names = [f"{topic_prefix}.{topic}" for topic in Topic]
        assert await asyncio.to_thread(consumer.read_all, kafka.bootstrap_servers, names) == []

    async def test_a_group(self, kafka: RealKafka, topic_prefix: str) -> None:
        """The topic of the shards and the group's coordinator are there; nothing joins the group."""
        settings = environ(kafka.bootstrap_servers, topic_prefix, BRIDGE_SHARD="group", BRIDGE_SHARDS="2")
        await create_or_compare(kafka_settings(None, settings), TopicOptions(partitions=2))
        results = await run_preflight(settings)

        of_kafka = [result for result in results.all if result.check.startswith("Kafka")]
        assert {result.check for result in of_kafka if result.status is not Status.OK} == {topics.REPLICATION}
        results.expect(f"Kafka topic {topic_prefix}.shards", Status.OK, "2 partitions for 2 shards")
        results.expect(group.GROUP, Status.OK, f"{topic_prefix}.shards has a coordinator, and 0 members")

    async def test_topics_with_faults(self, kafka: RealKafka, topic_prefix: str) -> None:
        """What Kafka reports about a topic is checked."""
        kafka.create_topic(
            f"{topic_prefix}.quotes", 3, config={"max.message.bytes": "1000", "min.insync.replicas": "2"}
        )
        await create_topics(kafka, topic_prefix)
        results = await run_preflight(environ(kafka.bootstrap_servers, topic_prefix))

        results.expect(topics.PARTITIONS, Status.FAIL, f"{topic_prefix}.quotes: 3")
        results.expect(topics.BATCHES, Status.WARN, f"{topic_prefix}.quotes (1000)", "KAFKA_BATCH_BYTES")
        results.expect(topics.MIN_INSYNC, Status.FAIL, f"{topic_prefix}.quotes")

    @needs_users
    async def test_a_login(self, kafka: RealKafka, topic_prefix: str) -> None:
        """The user and the mechanism are reported, but not the password."""
        results = await run_preflight(environ(kafka.addresses(Listener.SASL), topic_prefix, **LOGIN))

        results.expect(kafka_check.CONNECTION, Status.OK, f"{USER} (SCRAM-SHA-512, SASL_PLAINTEXT)")
        assert PASSWORD not in str(results.all)

    async def test_a_wrong_password(self, kafka: RealKafka) -> None:
        """The hint names the settings of the login."""
        wrong = {**LOGIN, "KAFKA_SASL_PASSWORD": "wrong horse"}
        results = await run_preflight(environ(kafka.addresses(Listener.SASL), **wrong))

        results.expect(kafka_check.CONNECTION, Status.FAIL, "KAFKA_SASL_")
        assert "wrong horse" not in str(results.all)

    async def test_a_port_that_requires_a_login(self, kafka: RealKafka) -> None:
        """The hint of plaintext on a port that requires TLS or SASL is the security protocol."""
        results = await run_preflight(environ(kafka.addresses(Listener.MTLS)))

        results.expect(kafka_check.CONNECTION, Status.FAIL, "KAFKA_SECURITY_PROTOCOL")

    async def test_a_token(self, kafka: RealKafka, topic_prefix: str) -> None:
        """With OAUTHBEARER a valid token is accepted; a rejected one is reported with its settings."""
        async with token_endpoint() as endpoint:
            settings = environ(kafka.addresses(Listener.SASL), topic_prefix, **oauth(endpoint.url))
            endpoint.will_answer(200, {"access_token": unsecured_jwt()})
            accepted = await run_preflight(settings)
            refused = await run_preflight(settings)
            endpoint.will_answer(401, {"error": "invalid_client"})
            endpoint.will_answer(401, {"error": "invalid_client"})
            not_granted = await run_preflight(settings)

        accepted.expect(kafka_check.CONNECTION, Status.OK, "md-client (OAUTHBEARER, SASL_PLAINTEXT)")
        refused.expect(kafka_check.CONNECTION, Status.FAIL, "KAFKA_OAUTH_")
        not_granted.expect(kafka_check.CONNECTION, Status.FAIL, "KAFKA_OAUTH_CLIENT_ID")

    async def test_a_token_file(self, kafka: RealKafka, topic_prefix: str, tmp_path: Path) -> None:
        """The file and the token's lifetime are reported; a file that is missing, or expired, names its setting."""
        file = tmp_path / "token"
        file.touch(mode=0o600)
        settings = environ(
            kafka.addresses(Listener.SASL), topic_prefix, **TOKEN_LOGIN, KAFKA_OAUTH_TOKEN_FILE=str(file)
        )
        empty = await run_preflight(settings)
        file.write_text(unsecured_jwt())
        accepted = await run_preflight(settings)
        file.write_text(unsecured_jwt(-60))
        expired = await run_preflight(settings)

        empty.expect(kafka_check.CONNECTION, Status.FAIL, f"'{file}' of KAFKA_OAUTH_TOKEN_FILE is empty")
        accepted.expect(
            kafka_check.CONNECTION, Status.OK, f"the token in KAFKA_OAUTH_TOKEN_FILE ({file}), which expires"
        )
        expired.expect(kafka_check.CONNECTION, Status.FAIL, f"KAFKA_OAUTH_TOKEN_FILE ({file}) has a token that expired")
        assert unsecured_jwt()[:40] not in str([*accepted.all, *expired.all])

    async def test_certificates(self, kafka: RealKafka, topic_prefix: str) -> None:
        """The brokers' certificate is checked, and the client's certificate accepted."""
        certificates = kafka.certificates
        tls = {
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CAFILE": str(certificates.authority_file),
            "KAFKA_SSL_CERTFILE": str(certificates.client_file),
            "KAFKA_SSL_KEYFILE": str(certificates.client_file),
        }
        results = await run_preflight(environ(kafka.addresses(Listener.MTLS), topic_prefix, **tls))

        results.expect(kafka_check.TLS, Status.OK, "expires in")
        results.expect(kafka_check.CONNECTION, Status.OK, "the certificate (SSL)")

    async def test_brokers_of_an_unknown_authority(self, kafka: RealKafka) -> None:
        """The hint is the setting for it."""
        results = await run_preflight(
            environ(kafka.addresses(Listener.SASL_TLS), **LOGIN | {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"})
        )

        results.expect(kafka_check.CONNECTION, Status.FAIL, "CERTIFICATE_VERIFY_FAILED", "KAFKA_SSL_CAFILE")

    async def test_an_unreachable_advertised_address(self, kafka: RealKafka) -> None:
        """Clients connect to advertised addresses: an unreachable one is reported as the brokers' fault."""
        async with forwarding(kafka.bootstrap_servers, "localhost:1") as server:
            results = await run_preflight(environ(server))

        results.expect(kafka_check.BROKERS, Status.FAIL, "localhost:1:", "advertised.listeners")
        results.expect(kafka_check.CONNECTION, Status.OK)

    async def test_a_silent_advertised_address(self, kafka: RealKafka) -> None:
        """An advertised address that never answers is reported at the timeout."""
        async with silent_server() as silent, forwarding(kafka.bootstrap_servers, silent) as server:
            results = await run_preflight(environ(server), answer_timeout_seconds=1)

        results.expect(kafka_check.CONNECTION, Status.OK)
        results.expect(kafka_check.BROKERS, Status.FAIL, "advertised.listeners")
        assert kafka_check.TOPICS not in results


@asynccontextmanager
async def forwarding(server: str, instead: str) -> AsyncIterator[str]:
    """Forward to a broker, with another port of the same host in place of the one that it advertises."""
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


@needs_users
class TestRights:
    async def test_rights_are_reported(self, kafka_with_acls: RealKafka, topic_prefix: str) -> None:
        """Topics that may not be described, not written, or not configured are distinguished."""
        kafka = kafka_with_acls
        await create_topics(kafka, topic_prefix)
        settings = environ(kafka.addresses(Listener.SASL), topic_prefix, **LOGIN)

        hidden = await run_preflight(settings)
        hidden.expect(
            f"Kafka topic {topic_prefix}.quotes", Status.FAIL, "not authorized to describe", f"Write on it to {USER}"
        )
        hidden.expect(kafka_check.IDEMPOTENCE, Status.FAIL, "not authorized", f"Grant Write on the topics to {USER}")

        grant(kafka, topic_prefix, AclOperation.DESCRIBE)
        described = await found_once(settings, f"Kafka topic {topic_prefix}.quotes", Status.OK)
        described.expect(f"Kafka topic {topic_prefix}.quotes", Status.OK)
        described.expect(topics.WRITING, Status.FAIL, "every topic", f"Grant Write on the topics to {USER}")
        described.expect(topics.CONFIG, Status.WARN, "DescribeConfigs")

        grant(kafka, topic_prefix, AclOperation.WRITE)
        granted = await found_once({**settings, "BRIDGE_GROUP": "g"}, topics.WRITING, Status.OK)
        granted.expect(topics.WRITING, Status.OK)
        granted.expect(topics.CONTROL_READING, Status.WARN, "none for", f"Grant Read on it to {USER}")
        granted.expect(kafka_check.IDEMPOTENCE, Status.OK)
        granted.expect(topics.CONFIG, Status.WARN)

        grant(kafka, topic_prefix, AclOperation.DESCRIBE_CONFIGS)
        whole = await found_once(settings, topics.CLEANUP, Status.OK)
        whole.expect(topics.CLEANUP, Status.OK)
        assert topics.CONFIG not in whole
        assert topics.CONTROL_READING not in whole

        grant(kafka, topic_prefix, AclOperation.READ)
        readable = await found_once({**settings, "BRIDGE_GROUP": "g"}, topics.CONTROL_READING, Status.OK)
        readable.expect(topics.CONTROL_READING, Status.OK)

    async def test_rights_of_a_group_are_reported(self, kafka_with_acls: RealKafka, topic_prefix: str) -> None:
        """Describe shows the group but lets no process join; Read does both."""
        kafka = kafka_with_acls
        await create_topics(kafka, topic_prefix)
        settings = environ(kafka.addresses(Listener.SASL), topic_prefix, **LOGIN, BRIDGE_SHARD="group")
        name = f"{topic_prefix}.shards"

        hidden = await run_preflight(settings)
        hidden.expect(group.GROUP, Status.FAIL, "not authorized to describe", f"Grant Read on the group {name} to")

        allow(kafka, ResourceType.GROUP, name, AclOperation.DESCRIBE)
        async with asyncio.timeout(30):
            while "not authorized to join" not in (await run_preflight(settings))[group.GROUP].finding:
                pass

        allow(kafka, ResourceType.GROUP, name, AclOperation.READ)
        granted = await found_once(settings, group.GROUP, Status.OK)
        granted.expect(group.GROUP, Status.OK, f"{name} has a coordinator, and 0 members at the moment")


async def found_once(settings: Mapping[str, str], check: str, status: Status) -> Results:
    """Return the results once a right is in force: a broker learns of it a moment after it was granted."""
    async with asyncio.timeout(30):
        while True:
            results = await run_preflight(settings)
            if [result.status for result in results.named(check)] == [status]:
                return results


def grant(kafka: RealKafka, prefix: str, operation: AclOperation) -> None:
    allow(kafka, ResourceType.TOPIC, prefix, operation)


def allow(kafka: RealKafka, resource: ResourceType, prefix: str, operation: AclOperation) -> None:
    binding = AclBinding(
        resource,
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
