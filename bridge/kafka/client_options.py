"""Kafka as it is reached from here: the settings of its side alone, and clear words where it does not answer."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self

from aiokafka.errors import KafkaError

from bridge.errors import KafkaUnreachable
from bridge.kafka.error_hints import advice
from bridge.kafka.security import KafkaSecuritySettings, security_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aiokafka import AIOKafkaConsumer


REQUEST_TIMEOUT_SECONDS = 30.0
#: How long a command waits until it says that Kafka cannot be reached.
CONNECT_TIMEOUT_SECONDS = 15.0
CLOSE_TIMEOUT_SECONDS = 3.0


class KafkaSettings(KafkaSecuritySettings, Protocol):
    """The settings that say how to connect to Kafka."""

    @property
    def kafka_bootstrap_servers(self) -> Sequence[str]: ...


def servers(settings: KafkaSettings) -> str:
    """Return the bootstrap servers as they are written."""
    return ",".join(settings.kafka_bootstrap_servers)


def client_options(settings: KafkaSettings, name: str) -> dict[str, object]:
    """Return the arguments of any aiokafka client of ours; raises what ``security_options`` raises.

    Secrets and certificates are read anew.
    """
    return {
        "bootstrap_servers": servers(settings),
        "client_id": f"aries-bridge-{name}",
        "request_timeout_ms": int(REQUEST_TIMEOUT_SECONDS * 1000),
        **security_options(settings),
    }


class CapturedKafkaLog(logging.Handler):
    """Take what aiokafka logs off the terminal while the context lasts; keep the last of it, and pass it on."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._tell = tell
        self._logger = logging.getLogger("aiokafka")

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()
        if self._tell is not None:
            self._tell(self.last)

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        self._logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        # Contexts may overlap, in any order: the last to end gives the logger back.
        self._logger.propagate = not any(isinstance(handler, CapturedKafkaLog) for handler in self._logger.handlers)


@contextmanager
def readable_errors(servers: str) -> Iterator[None]:
    """Turn what aiokafka raises into KafkaUnreachable; the reason is what it logged last, as it raises without it."""
    with CapturedKafkaLog() as words:
        try:
            yield
        except (KafkaError, OSError, TimeoutError) as error:
            reason = words.last or str(error) or "no answer in time"
            said = f"Kafka at {servers} cannot be used: {reason.rstrip(' .:')}. {advice(reason)}"
            raise KafkaUnreachable(said.rstrip()) from error


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer in whatever state.

    ``stop()`` itself ends as if cancelled when a fetch is just waiting to be tried again, and then leaves the
    connections open.
    """
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await consumer.stop()
    except (asyncio.CancelledError, TimeoutError, KafkaError):
        await consumer._client.close()  # noqa: SLF001 - see above; there is no public way to it
