"""A Kafka-compatible broker in this process, for ``dev`` and tests: librdkafka's mock cluster.

It serves the Kafka protocol on a loopback port (idempotent produce, fetch, metadata) and keeps records in memory. It
is no Kafka: it keeps only the newest 5 MB of a partition, has no admin API, and supports only one member per consumer
group. Source: librdkafka, ``rdkafka_mock.h``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Self

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

METADATA_TIMEOUT_SECONDS = 10.0
#: Set in the container image, which has neither the package for the broker nor pip.
IN_IMAGE: Final = "IN_CONTAINER_IMAGE"
_NOT_INSTALLED: Final = (
    "The embedded broker needs the package confluent-kafka. Install it with: "
    'pip install "aries-kafka-bridge[dev]"; or set KAFKA_BOOTSTRAP_SERVERS to use another Kafka.'
)
_NOT_IN_THE_IMAGE: Final = (
    "The container image has no embedded broker. Set KAFKA_BOOTSTRAP_SERVERS to a Kafka that the container reaches "
    "(one to try things with: `docker compose up -d` in a checkout, then --network host and localhost:9092), or run "
    "`make dev` in the checkout instead."
)


class EmbeddedBrokerError(BridgeError):
    """The embedded broker cannot be started, or does not answer."""


class EmbeddedBroker:
    """A broker on a free loopback port, from :meth:`start` to :meth:`close`.

    Each topic has four partitions, and is created when its metadata is first requested.
    """

    def __init__(self) -> None:
        self._client: Any = None
        self._address = ""

    def start(self) -> Self:
        """Start the broker, which takes some milliseconds; it then accepts connections.

        Raises EmbeddedBrokerError.
        """
        self._client = _mock_cluster()
        brokers = self._metadata().brokers.values()
        self._address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    @property
    def bootstrap_servers(self) -> str:
        """Return the value for ``KAFKA_BOOTSTRAP_SERVERS``."""
        return self._address

    def create_topics(self, names: Iterable[str]) -> None:
        """Create topics, by requesting their metadata: the mock cluster has no other way.

        Raises EmbeddedBrokerError.
        """
        for name in names:
            self._metadata(name)

    def close(self) -> None:
        """Stop the broker and discard all records; a second call does nothing."""
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
            return self._client.list_topics(*topic, timeout=METADATA_TIMEOUT_SECONDS)
        except KafkaException as error:
            self.close()
            raise EmbeddedBrokerError(
                f"The embedded broker did not answer ({error.args[0].str()}). "
                "Set KAFKA_BOOTSTRAP_SERVERS to use another Kafka instead."
            ) from error


def _mock_cluster() -> Any:
    try:
        from confluent_kafka import Producer  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise EmbeddedBrokerError(_NOT_IN_THE_IMAGE if IN_IMAGE in os.environ else _NOT_INSTALLED) from error
    # At other levels librdkafka reports on stderr that it is a mock, and each connection that a client closes.
    return Producer({"test.mock.num.brokers": 1, "log_level": 0})
