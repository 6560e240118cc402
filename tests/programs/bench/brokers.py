"""The brokers of a benchmark: an embedded one for each run, or one real Kafka for all."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from bridge.topics import Topic
from tests.programs.bench.children import Child, Cores, pinned
from tests.programs.bench.sides import python
from tests.support.brokers import RealKafka, unique

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BrokerKind = Literal["embedded", "real"]
#: The embedded broker has no other number.
PARTITIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Tls:
    """The settings of a bridge for both of its connections, and the file of the feeder's certificate and key."""

    settings: Mapping[str, str]
    server: Path


@dataclass(frozen=True, slots=True)
class Target:
    """The broker and topics of one run, and the broker's process if it is ours."""

    bootstrap_servers: str
    prefix: str
    process: Child | None = None
    #: How to reach it over TLS, and the certificates for that, if it can be.
    tls: Tls | None = None

    def names(self) -> dict[Topic, str]:
        """Return the names of its topics."""
        return {topic: f"{self.prefix}.{topic}" for topic in Topic}


class Brokers(Protocol):
    """A source of new topics for each run."""

    def target(self, folder: Path) -> AbstractContextManager[Target]:
        """Yield the topics of a run; they are not used again."""


class Embedded:
    """A new embedded broker for each run: it keeps everything in memory, so an old one would be slower."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores

    @contextmanager
    def target(self, folder: Path) -> Iterator[Target]:
        """Yield the topics of a broker that ends with the run."""
        prefix = unique("bench")
        names = [f"{prefix}.{topic}" for topic in Topic]
        with Child(
            python("tests.programs.bench.broker", *names), {}, self._cores.others, folder / "broker.log"
        ) as process:
            yield Target(process.hear()["bootstrap_servers"], prefix, process)


class Real:
    """New topics for each run on one real Kafka."""

    def __init__(self, kafka: RealKafka, partitions: int = PARTITIONS) -> None:
        self._kafka = kafka
        self._partitions = partitions

    @contextmanager
    def target(self, folder: Path) -> Iterator[Target]:
        """Yield new topics."""
        files = self._kafka.certificates
        settings = {"ARIES_SSL_CAFILE": str(files.authority_file), **self._kafka.tls_settings()}
        tls = Tls(settings, files.server_file)
        target = Target(self._kafka.bootstrap_servers, unique("bench"), tls=tls)
        for topic, name in target.names().items():
            own = topic in (Topic.CONTROL, Topic.DLQ, Topic.MARKET_STATUS)
            self._kafka.create_topic(name, 1 if own else self._partitions)
        yield target


@contextmanager
def brokers(kind: BrokerKind, cores: Cores) -> Iterator[Brokers]:
    """Run the brokers of a benchmark."""
    if kind == "embedded":
        yield Embedded(cores)
        return
    with real_kafka(cores) as kafka:
        yield Real(kafka)


@contextmanager
def real_kafka(cores: Cores) -> Iterator[RealKafka]:
    """Run one real broker, not on the bridge's core; raise KafkaMissing."""
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as folder:
        kafka = RealKafka(Path(folder))
        with pinned(cores.others):
            kafka.start()
        try:
            yield kafka
        finally:
            kafka.stop()
