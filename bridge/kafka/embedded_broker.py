"""A Kafka-compatible broker inside this process, for ``dev`` and tests: librdkafka's mock cluster.

It speaks the real protocol on a loopback port (idempotent produce, fetch, metadata) and keeps records in
memory. It is no Kafka: it keeps only the newest 5 MB of a partition, cannot be administered, and serves no
two members of a consumer group. Source: librdkafka, ``rdkafka_mock.h``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

ANSWER_DEADLINE_SECONDS = 10.0


class EmbeddedBrokerError(BridgeError):
    """Say why there is no embedded broker, and what to do instead."""


class EmbeddedBroker:
    """Run one broker on a free loopback port between :meth:`start` and :meth:`close`.

    Every topic has four partitions and comes into being when it is first asked for.
    """

    def __init__(self) -> None:
        self._client: Any = None
        self._address = ""

    def start(self) -> Self:
        """Start the broker; it accepts connections when this returns, after some milliseconds.

        Raises EmbeddedBrokerError.
        """
        self._client = _mock_cluster()
        brokers = self._metadata().brokers.values()
        self._address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    @property
    def bootstrap_servers(self) -> str:
        """Return what ``KAFKA_BOOTSTRAP_SERVERS`` would hold."""
        return self._address

    def create_topics(self, names: Iterable[str]) -> None:
        """Bring topics into being: the mock creates one when its metadata is asked for, and in no other way.

        Raises EmbeddedBrokerError.
        """
        for name in names:
            self._metadata(name)

    def close(self) -> None:
        """Stop the broker and forget all records; closing twice is fine."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _metadata(self, *topic: str) -> Any:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - an optional dependency

        if self._client is None:
            raise EmbeddedBrokerError("The embedded broker is not running: start it first.")
        try:
            return self._client.list_topics(*topic, timeout=ANSWER_DEADLINE_SECONDS)
        except KafkaException as error:
            self.close()
            raise EmbeddedBrokerError(
                f"The embedded broker gave no answer ({error.args[0].str()}). "
                "Set KAFKA_BOOTSTRAP_SERVERS to a Kafka of your own instead."
            ) from error


def _mock_cluster() -> Any:
    try:
        from confluent_kafka import Producer  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise EmbeddedBrokerError(
            "The embedded broker needs the package confluent-kafka. Install it with: "
            'pip install "aries-kafka-bridge[dev]"; or set KAFKA_BOOTSTRAP_SERVERS to a Kafka of your own.'
        ) from error
    # Else librdkafka reports on stderr that it is a mock, and each connection that a client closes.
    return Producer({"test.mock.num.brokers": 1, "log_level": 0})
