"""Options of every aiokafka client, and readable errors for what such a client raises."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, Self

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError

from bridge.errors import KafkaUnreachable
from bridge.kafka.advertised_listeners import HINT, unreachable_listeners
from bridge.kafka.aiokafka_internals import client_of, retrieve
from bridge.kafka.broker_support import UnusableBrokers
from bridge.kafka.error_hints import error_hint
from bridge.kafka.security import KafkaSecuritySettings, security_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer


#: An idle connection is closed by us before load balancers drop it silently: Azure's does so after 4 minutes, and the
#: next request would wait for its timeout.
MAX_IDLE_SECONDS = 180.0
REQUEST_TIMEOUT_SECONDS = 30.0
#: How long a command tries to connect before it reports that Kafka is unreachable.
CONNECT_TIMEOUT_SECONDS = 15.0
CLOSE_TIMEOUT_SECONDS = 3.0
#: What aiokafka raises for a request that brokers have in no version, or only in others than it speaks.
VERSION_ERRORS = (IncompatibleBrokerVersion, NotImplementedError)
VERSION_HINT = "Use Apache Kafka 2.1 or newer, or a service that is compatible with it."
#: What a client says if no bootstrap server answered as it should.
_NO_BOOTSTRAP = ("Unable to bootstrap", "No broker metadata")
#: What a failed connection raises; a UnicodeError is an impossible host name.
CONNECT_ERRORS = (KafkaError, OSError, TimeoutError, UnicodeError)


class KafkaSettings(KafkaSecuritySettings, Protocol):
    """The settings that say how to connect to Kafka."""

    @property
    def kafka_bootstrap_servers(self) -> Sequence[str]: ...


def bootstrap_servers(settings: KafkaSettings) -> str:
    """Return the bootstrap servers as a comma-separated list."""
    return ",".join(settings.kafka_bootstrap_servers)


def client_options(
    settings: KafkaSettings, name: str, learn_secret: Callable[[str], None] = lambda _: None
) -> dict[str, object]:
    """Return the arguments of an aiokafka client; raises what ``security_options`` raises.

    ``learn_secret`` is called with each access token before it is used. Secrets and certificates
    are read from their files at each call.
    """
    return {
        "bootstrap_servers": bootstrap_servers(settings),
        "client_id": f"aries-bridge-{name}",
        "request_timeout_ms": int(REQUEST_TIMEOUT_SECONDS * 1000),
        "connections_max_idle_ms": int(MAX_IDLE_SECONDS * 1000),
        **security_options(settings, learn_secret),
    }


class CapturedKafkaLog(logging.Handler):
    """A context in which aiokafka's warnings and errors are kept off the terminal.

    The last message is available as ``last_message``; each one is passed to ``on_message``.
    """

    def __init__(self, on_message: Callable[[str], None] | None = None) -> None:
        super().__init__(logging.WARNING)
        self.last_message = ""
        self._on_message = on_message
        self._logger = logging.getLogger("aiokafka")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, and pass it on."""
        self.last_message = record.getMessage()
        if self._on_message is not None:
            self._on_message(self.last_message)

    def reason(self, error: Exception) -> str:
        """Return why a connection failed: aiokafka logs the reason, and raises an error without it."""
        return self.last_message or str(error) or "no answer in time"

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        self._logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        # Contexts may overlap, and end in any order.
        self._logger.propagate = not any(isinstance(handler, CapturedKafkaLog) for handler in self._logger.handlers)


@asynccontextmanager
async def readable_errors(options: Mapping[str, object]) -> AsyncIterator[None]:
    """Raise KafkaUnreachable with the reason and a hint in place of what a client with these options raises."""
    with CapturedKafkaLog() as captured:
        try:
            yield
        except (*CONNECT_ERRORS, *VERSION_ERRORS) as error:
            reason, hint = await _explain(options, captured, error)
            message = f"Kafka at {options['bootstrap_servers']} cannot be used: {reason.rstrip(' .:')}. {hint}"
            raise KafkaUnreachable(message.rstrip()) from error


async def _explain(options: Mapping[str, object], captured: CapturedKafkaLog, error: Exception) -> tuple[str, str]:
    """Return the reason of an error, and what to do about it."""
    reason = str(error) if isinstance(error, UnusableBrokers) else captured.reason(error)
    if isinstance(error, VERSION_ERRORS):
        return f"its brokers do not support a request ({error})", VERSION_HINT
    if not any(text in str(error) for text in _NO_BOOTSTRAP) and (unreachable := await unreachable_listeners(options)):
        return unreachable, HINT
    return reason, error_hint(reason)


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer in any state.

    ``stop()`` swallows a cancellation, and if a fetch is waiting to be retried, it raises one itself and leaves the
    connections open. So it is a task of its own; what it leaves is cut off.
    """
    client = client_of(consumer)
    stopping = asyncio.create_task(consumer.stop())
    stopping.add_done_callback(retrieve)
    try:
        await asyncio.wait([stopping], timeout=CLOSE_TIMEOUT_SECONDS)
    finally:
        stopping.cancel()
        client.abort_connections()
        await client.close()
