"""A Kafka broker for tests that answers as a test tells it to, and records what it was asked.

It is franz-go's ``kfake`` (a Go program beside this file, built once) behind rules. It starts in milliseconds, enforces
the sequences of idempotent producers, and ends with the test. Apache Kafka remains the judge of what brokers do.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tests.support import go_tools

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

MODULE = Path(__file__).parent
LEADER_NOT_AVAILABLE = 5
NOT_LEADER_OR_FOLLOWER = 6


class ScriptedBrokerError(Exception):
    """A command that the broker could not carry out."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One record batch of a Produce request; ``error`` is the code of the answer, None until there is one."""

    topic: str
    partition: int
    bytes: int
    records: int
    producer_id: int
    producer_epoch: int
    first_sequence: int
    error: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in; ``bytes`` is its whole size, ``time`` the Unix time."""

    key: str
    version: int
    node: int
    client_id: str
    bytes: int
    time: float
    #: The topics that the request names; None if a Metadata request asks for all.
    topics: tuple[str, ...] | None
    allow_auto_topic_creation: bool
    batches: tuple[Batch, ...]


class Rule:
    """A rule in force until it is removed, or until the end of a ``with`` block."""

    def __init__(self, broker: ScriptedBroker, number: int) -> None:
        self._broker = broker
        self._number = number

    @property
    def hits(self) -> int:
        """Return the number of requests that the rule changed the answer of."""
        return int(self._broker.command("hits", id=self._number))

    def remove(self) -> None:
        """Let the requests pass again; answers that the rule still delays are sent at once."""
        self._broker.command("remove_rule", id=self._number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class ScriptedBroker:
    """A cluster of brokers on loopback, numbered from 0; no topic is created but by :meth:`create_topic`."""

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = brokers
        #: Those of the brokers, by number.
        self.addresses: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._one_command = threading.Lock()

    def start(self) -> Self:
        """Start the program, which is built first if need be. Raises go_tools.ToolMissing."""
        self._process = subprocess.Popen(
            [go_tools.program(MODULE), f"-brokers={self._brokers}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addresses = self._result()
        return self

    def close(self) -> None:
        """End the program."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def bootstrap_servers(self) -> str:
        """Return the addresses of the brokers."""
        return ",".join(self.addresses)

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create a topic; ``max.message.bytes`` is one of the settings that are obeyed."""
        self.command("create_topic", topic=name, partitions=partitions, config=dict(config or {}))

    def create_topics(self, names: Iterable[str], partitions: int = 1) -> None:
        """Create topics with the same number of partitions."""
        for name in names:
            self.create_topic(name, partitions)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and its records."""
        self.command("delete_topic", topic=name)

    def move_leader(self, topic: str, partition: int, node: int) -> None:
        """Make another broker the leader of a partition."""
        self.command("move_leader", topic=topic, partition=partition, node=node)

    def leader_of(self, topic: str, partition: int) -> int:
        """Return the number of the broker that leads a partition; -1 if there is no such partition."""
        return int(self.command("leader_of", topic=topic, partition=partition))

    def add_rule(
        self,
        key: str | None = None,
        *,
        topic: str | None = None,
        partition: int | None = None,
        request_larger_than_bytes: int = 0,
        larger_than_bytes: int = 0,
        containing: bytes = b"",
        error: int = 0,
        error_message: str | None = None,
        record_errors: Sequence[int] = (),
        delay_seconds: float = 0.0,
        throttle_seconds: float = 0.0,
        disconnect: Literal["", "before", "after"] = "",
        versions: Mapping[str, tuple[int, int]] | None = None,
        advertised: Mapping[int, str] | None = None,
        controller: int | None = None,
        after: int = 0,
        times: int = 0,
    ) -> Rule:
        """Change the answers to the requests of a kind (Kafka's name of it, or None for any).

        A request matches if it names the topic and partition, if these are given, and is larger than so many bytes. Of
        a Produce request, only those batches match that are also larger than ``larger_than_bytes`` as sent, and that
        hold a record with ``containing`` in its value; ``record_errors`` are then the indices of such records (KIP-467,
        versions from 8). ``after`` matching requests pass first; the rule applies to the ``times`` next (0: to all).

        Batches answered with an error are not appended; the others of the request are. Any other request answered with
        an error is carried out, and only its answer is changed. ``delay_seconds`` delays the answer, not the work;
        ``throttle_seconds`` stand in the answer to Produce, and delay nothing. The connection is closed "before" the
        request is carried out, or "after" it, so that only the answer is lost. ``versions`` of requests ((0, -1): none)
        stand in answers to ApiVersions; ``advertised`` addresses of brokers, and the ``controller``, in those to
        Metadata.
        Of several rules, the first that matches a batch answers it; the last that disconnects says when.
        """
        rule = {
            "key": key or "",
            "topic": topic or "",
            "partition": partition,
            "request_larger_than_bytes": request_larger_than_bytes,
            "larger_than_bytes": larger_than_bytes,
            "containing": base64.b64encode(containing).decode(),
            "error": error,
            "error_message": error_message,
            "record_errors": list(record_errors),
            "delay_ms": round(delay_seconds * 1000),
            "throttle_ms": round(throttle_seconds * 1000),
            "disconnect": disconnect,
            "versions": versions,
            "advertised": advertised,
            "controller": controller,
            "after": after,
            "times": times,
        }
        return Rule(self, self.command("add_rule", rule=rule))

    @contextmanager
    def without_leader(self, topic: str, partition: int) -> Iterator[None]:
        """Let a partition have no leader until the block ends: not in Metadata, and not for Produce."""
        with ExitStack() as rules:
            for key, error in (("Metadata", LEADER_NOT_AVAILABLE), ("Produce", NOT_LEADER_OR_FOLLOWER)):
                rules.enter_context(self.add_rule(key, topic=topic, partition=partition, error=error))
            yield

    @property
    def request_count(self) -> int:
        """Return the number of requests so far, which is the index of the next."""
        return int(self.command("request_count"))

    def requests(self, key: str | None = None, since: int = 0) -> list[Request]:
        """Return the requests of a kind (None: of all kinds), from the given index on, oldest first.

        Those of a consumer that reads back are among them; their ``client_id`` is "rdkafka".
        """
        return [
            _request(one)
            for one in self.command("requests", **{"from": since})
            if key is None or one["key"].lower() == key.lower()
        ]

    def connections(self) -> tuple[int, int]:
        """Return how many connections were accepted so far, and how many are open."""
        answer = self.command("connections")
        return answer["accepted"], answer["open"]

    def command(self, name: str, **arguments: object) -> Any:
        """Run a command of the program and return its result. Raises ScriptedBrokerError."""
        assert self._process is not None
        assert self._process.stdin is not None
        with self._one_command:
            self._process.stdin.write(json.dumps({"do": name, **arguments}) + "\n")
            self._process.stdin.flush()
            return self._result()

    def _result(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ScriptedBrokerError(f"the scripted broker has ended (exit code {self._process.wait()})")
        result = json.loads(line)
        if "error" in result:
            raise ScriptedBrokerError(result["error"])
        return result["value"]


def _request(one: dict[str, Any]) -> Request:
    topics = one.pop("topics")
    batches = tuple(Batch(**batch) for batch in one.pop("batches"))
    return Request(topics=None if topics is None else tuple(topics), batches=batches, **one)
