"""Apache Kafka on loopback: start it, make it fail, stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

import pytest
import trustme
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public all the same
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.kafka_distribution import classpath, is_at_least
from tests.support.ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

#: Old versions look through every partition after a hard end.
START_DEADLINE_SECONDS = 120.0
STOP_DEADLINE_SECONDS = 20.0
USER = "bridge"
PASSWORD = "correct horse"
#: Settings of a bridge that logs in at the SASL listener.
LOGIN = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": USER,
    "KAFKA_SASL_PASSWORD": PASSWORD,
}
_JAVA = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
#: The versions from which on a new cluster has users (KIP-900), and since which a tool has another name.
SCRAM_SINCE = "3.5"
_CONFIG_TOOL_MOVED = "4.2"
#: A test that logs in at the SASL listener.
needs_users = pytest.mark.skipif(
    not is_at_least(SCRAM_SINCE), reason=f"Apache Kafka without ZooKeeper has users since {SCRAM_SINCE}"
)
_LOG_LEVEL = "-Dorg.apache.logging.log4j.level=INFO"


class Listener(StrEnum):
    """The ports of each broker, by what they require of clients; the value is the security protocol's name."""

    PLAINTEXT = "PLAINTEXT"
    MTLS = "SSL"  # … with a client certificate
    SASL = "SASL_PLAINTEXT"  # PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER (unsecured JWTs)
    SASL_TLS = "SASL_SSL"  # the same mechanisms


class Certificates:
    """A throw-away certificate authority, and the certificates of the brokers and a client, as PEM files."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.authority_file = directory / "authority.pem"
        self.server_file = directory / "server.pem"
        self.client_file = directory / "client.pem"
        authority.cert_pem.write_to_path(self.authority_file)
        _write_identity(self.server_file, authority.issue_cert("localhost"))
        _write_identity(self.client_file, authority.issue_cert("bridge@example.org"))


def _write_identity(file: Path, issued: trustme.LeafCert) -> None:
    # Kafka reads keys in PKCS#8 only; trustme writes the older form.
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pkcs8 + b"".join(blob.bytes() for blob in issued.cert_chain_pems))


@dataclass(frozen=True, slots=True)
class _Ports:
    listeners: Mapping[Listener, int]
    controller: int
    #: Where a listener without security waits, and the port that it advertises instead of its own.
    behind_proxy: int
    proxy: int


@dataclass
class _Broker:
    number: int
    directory: Path
    ports: _Ports
    process: subprocess.Popen[bytes] | None = None

    @property
    def properties_file(self) -> Path:
        return self.directory / "server.properties"

    @property
    def log_file(self) -> Path:
        return self.directory / "broker.log"


class RealKafka:
    """One or more combined KRaft nodes, numbered from 1, until :meth:`stop`.

    Topics are never created by accident. Clients of every listener may do everything, unless ``properties`` (they
    stand above ours) bring an authorizer.
    """

    def __init__(self, directory: Path, brokers: int = 1, properties: Mapping[str, str] | None = None) -> None:
        self._further_properties = dict(properties or {})
        self._classpath = classpath()
        self._cluster_id = "AriesBridgeTestsAriesB"
        self.certificates = Certificates(directory)
        self._reserved = ExitStack()
        self._brokers = {
            number: _Broker(number, directory / f"broker-{number}", self._reserve_ports())
            for number in range(1, brokers + 1)
        }

    def start(self) -> Self:
        """Format the storage, start all brokers, and wait until each answers and knows the others."""
        for broker in self._brokers.values():
            self._format(broker)
            self._launch(broker)
        self.wait_until_ready()
        return self

    def stop(self) -> None:
        """End all brokers at once."""
        for broker in self._brokers.values():
            if broker.process is not None:
                broker.process.kill()
                broker.process.wait()
        self._reserved.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """Return the addresses of the plain listeners."""
        return self.addresses(Listener.PLAINTEXT)

    def addresses(self, listener: Listener) -> str:
        """Return the addresses of one kind of listener on all brokers."""
        return ",".join(f"localhost:{broker.ports.listeners[listener]}" for broker in self._brokers.values())

    def tls_settings(self) -> dict[str, str]:
        """Return the settings of a client of the listener with client certificates."""
        files = self.certificates
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.addresses(Listener.MTLS),
            "KAFKA_SECURITY_PROTOCOL": Listener.MTLS.value,
            "KAFKA_SSL_CAFILE": str(files.authority_file),
            "KAFKA_SSL_CERTFILE": str(files.client_file),
            "KAFKA_SSL_KEYFILE": str(files.client_file),
        }

    def port(self, listener: Listener = Listener.PLAINTEXT, number: int = 1) -> int:
        """Return a broker's own port for one kind of listener."""
        return self._brokers[number].ports.listeners[listener]

    def proxied(self, number: int = 1) -> tuple[int, int]:
        """Return a plain port of a broker, and the one that it advertises instead: a proxy's, that is to be started."""
        ports = self._brokers[number].ports
        return ports.behind_proxy, ports.proxy

    def admin(self) -> AdminClient:
        """Return a client that may do everything, until the block ends."""
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def configure(self, name: str, value: str | None, number: int = 1) -> None:
        """Set one of the settings that a broker takes while it runs, or, with None, back to its default."""
        operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        entry = ConfigEntry(name, value, incremental_operation=operation)
        broker = ConfigResource(ResourceType.BROKER, str(number), incremental_configs=[entry])
        admin = self.admin()
        for altered in admin.incremental_alter_configs([broker]).values():
            altered.result(timeout=20)

    def throttle(self, client_id: str, bytes_per_second: int | None) -> None:
        """Let a producer write only so much (KIP-13), or, with None, without a limit."""
        quota = "producer_byte_rate"
        change = (
            ["--delete-config", quota] if bytes_per_second is None else ["--add-config", f"{quota}={bytes_per_second}"]
        )
        entity = ["--entity-type", "clients", "--entity-name", client_id]
        servers = ["--bootstrap-server", self.bootstrap_servers]
        package = "org.apache.kafka.tools" if is_at_least(_CONFIG_TOOL_MOVED) else "kafka.admin"
        self._run_tool(f"{package}.ConfigCommand", *servers, "--alter", *entity, *change)

    def create_topic(
        self, name: str, partitions: int = 4, replicas: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic and wait until every partition has a leader."""
        topic = NewTopic(name, partitions, replicas, config=dict(config or {}))
        admin = self.admin()
        for created in admin.create_topics([topic], operation_timeout=20).values():
            created.result(timeout=20)
        self._wait("topic without leaders", lambda: self._has_leaders(name, partitions))

    def delete_topic(self, name: str) -> None:
        """Delete a topic."""
        admin = self.admin()
        for deleted in admin.delete_topics([name], operation_timeout=20).values():
            deleted.result(timeout=20)

    def leader_of(self, topic: str, partition: int) -> int:
        """Return the number of the broker that leads a partition."""
        return int(self.admin().list_topics(topic, timeout=10).topics[topic].partitions[partition].leader)

    def pids(self) -> list[int]:
        """Return the process ids of the brokers that run."""
        return [broker.process.pid for broker in self._brokers.values() if broker.process is not None]

    def coordinator_of(self, group: str) -> int:
        """Return the number of the broker that coordinates a consumer group."""
        admin = self.admin()  # the request ends with its client
        return int(admin.describe_consumer_groups([group])[group].result(timeout=20).coordinator.id)

    def kill(self, number: int = 1) -> None:
        """End a broker at once (SIGKILL); its records stay on disk."""
        process = self._process(number)
        process.kill()
        process.wait()

    def pause(self, number: int = 1) -> None:
        """Pause a broker (SIGSTOP): its connections stay open and nothing answers."""
        process = self._process(number)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)  # until it really stands still

    def resume(self, number: int = 1) -> None:
        """Resume a paused broker."""
        self._process(number).send_signal(signal.SIGCONT)

    def terminate(self, number: int = 1) -> None:
        """Stop a broker gracefully (SIGTERM): it hands its partitions over first."""
        process = self._process(number)
        process.terminate()
        process.wait(STOP_DEADLINE_SECONDS)

    def launch(self, number: int = 1) -> None:
        """Start an ended broker on its old ports and storage, and wait for nothing."""
        self._launch(self._brokers[number])

    def move(self) -> None:
        """Assign other ports to every broker, for the next start with its old storage; all have ended."""
        for broker in self._brokers.values():
            broker.ports = self._reserve_ports()
        for broker in self._brokers.values():
            self._configure(broker)

    def restart(self, number: int = 1) -> None:
        """Start an ended broker on its old ports and storage, and wait until the cluster is whole."""
        self.launch(number)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until every broker answers and all are members of the cluster."""
        self._wait("cluster not complete", self._is_whole)

    def log_tail(self, characters: int = 6000) -> str:
        """Return the ends of the brokers' logs."""
        return "\n".join(
            f"--- broker {broker.number} ---\n{broker.log_file.read_text(errors='replace')[-characters:]}"
            for broker in self._brokers.values()
            if broker.log_file.exists()
        )

    def _reserve_ports(self) -> _Ports:
        """Return ports that are those of one broker until the end, also while it is down."""
        reserve = self._reserved.enter_context
        listeners = {listener: reserve(reserved_port()) for listener in Listener}
        return _Ports(listeners, *(reserve(reserved_port()) for _ in range(3)))

    def _format(self, broker: _Broker) -> None:
        broker.directory.mkdir(parents=True)
        self._configure(broker)
        scram = [
            argument
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512") * is_at_least(SCRAM_SINCE)
            for argument in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
        ]
        arguments = ["format", "-t", self._cluster_id, "-c", str(broker.properties_file), *scram]
        self._run_tool("kafka.tools.StorageTool", *arguments)

    def _configure(self, broker: _Broker) -> None:
        broker.properties_file.write_text(
            "\n".join(f"{name}={value}" for name, value in self._properties(broker).items())
        )

    def _run_tool(self, name: str, *arguments: str) -> None:
        command = [*_JAVA, "-cp", self._classpath, name, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's {name} failed: {done.stdout}{done.stderr}")

    def _launch(self, broker: _Broker) -> None:
        with broker.log_file.open("ab") as log:
            broker.process = subprocess.Popen(
                [*_JAVA, _LOG_LEVEL, "-cp", self._classpath, "kafka.Kafka", str(broker.properties_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=broker.directory,
            )

    def _process(self, number: int) -> subprocess.Popen[bytes]:
        process = self._brokers[number].process
        if process is None:
            raise RuntimeError(f"broker {number} was never started")
        return process

    def _is_whole(self) -> bool:
        return all(
            len(_members(f"localhost:{broker.ports.listeners[Listener.PLAINTEXT]}")) == len(self._brokers)
            for broker in self._brokers.values()
        )

    def _has_leaders(self, topic: str, partitions: int) -> bool:
        listed = self.admin().list_topics(topic, timeout=10).topics[topic].partitions.values()
        return len(listed) == partitions and all(partition.leader > 0 for partition in listed)

    def _wait(self, problem: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while not done():
            ended = [broker.number for broker in self._brokers.values() if _has_ended(broker)]
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"Kafka: {problem}; brokers ended: {ended}\n{self.log_tail()}")
            time.sleep(0.1)

    def _properties(self, broker: _Broker) -> dict[str, str]:
        replicas = str(min(3, len(self._brokers)))
        voters = (f"{peer.number}@localhost:{peer.ports.controller}" for peer in self._brokers.values())
        ports = [f"{listener.name}://localhost:{port}" for listener, port in broker.ports.listeners.items()]
        return {
            "process.roles": "broker,controller",
            "node.id": str(broker.number),
            "controller.quorum.voters": ",".join(voters),
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join(
                [
                    *ports,
                    f"PROXIED://localhost:{broker.ports.behind_proxy}",
                    f"CONTROLLER://localhost:{broker.ports.controller}",
                ]
            ),
            "advertised.listeners": ",".join([*ports, f"PROXIED://localhost:{broker.ports.proxy}"]),
            "listener.security.protocol.map": ",".join(
                [
                    "CONTROLLER:PLAINTEXT",
                    "PROXIED:PLAINTEXT",
                    *(f"{listener.name}:{listener}" for listener in Listener),
                ]
            ),
            "inter.broker.listener.name": Listener.PLAINTEXT.name,
            "log.dirs": str(broker.directory / "data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # Seconds instead of the default's many: tests wait for a killed broker to be noticed.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            # … and for forgotten producers to be forgotten, where one lets them be.
            "producer.id.expiration.check.interval.ms": "500",
            "num.network.threads": "2",
            "num.io.threads": "2",
            "log.cleaner.dedupe.buffer.size": "4194304",
            **self._security(),
            **self._further_properties,
        }

    def _security(self) -> dict[str, str]:
        module = "org.apache.kafka.common.security"
        modules = {
            "plain": f'{module}.plain.PlainLoginModule required user_{USER}="{PASSWORD}"',
            "scram-sha-256": f"{module}.scram.ScramLoginModule required",
            "scram-sha-512": f"{module}.scram.ScramLoginModule required",
            "oauthbearer": (
                f'{module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker"'
            ),
        }
        logins = {
            f"listener.name.{listener.name.lower()}.{mechanism}.sasl.jaas.config": f"{login};"
            for listener in (Listener.SASL, Listener.SASL_TLS)
            for mechanism, login in modules.items()
        }
        return {
            **logins,
            # From here on the end of a token ends its connection (KIP-368), and a password is asked for again.
            "listener.name.sasl.oauthbearer.connections.max.reauth.ms": "3600000",
            "listener.name.sasl.scram-sha-256.connections.max.reauth.ms": "3000",
            "sasl.enabled.mechanisms": ",".join(mechanism.upper() for mechanism in modules),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificates.server_file),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.authority_file),
            "listener.name.mtls.ssl.client.auth": "required",
        }


def unique(prefix: str) -> str:
    """Return a name that no other test has."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def _members(address: str) -> Mapping[int, object]:
    try:
        admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        members: Mapping[int, object] = admin.list_topics(timeout=2).brokers
    except KafkaException:
        return {}
    return members


def _has_ended(broker: _Broker) -> bool:
    return broker.process is not None and broker.process.poll() is not None
