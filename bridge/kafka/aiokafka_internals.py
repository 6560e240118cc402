"""The private parts of aiokafka that the bridge uses, all of them; ``pyproject.toml`` pins the version they are of.

``AIOKafkaProducer`` cannot be used as it is: ``stop()`` waits for acknowledgements without a deadline (aiokafka
#1101), ``send()`` after a failed ``start()`` hangs (#759), and a failed batch can poison it for good (#1017, #1133).
So the bridge assembles a producer from the same parts, and these classes add what it takes to end one in any state.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import aiokafka
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerClosed
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.metadata import MetadataRequest

from bridge.errors import UnsupportedLibrary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.kafka.record_batch import RecordBatch

#: The version that this module was written for and tested with.
VERSION: Final = "0.14.0"
#: Every private name that is used, here and by aiokafka of our subclasses and of ``RecordBatch``.
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "client": ("_conns", "_md_synchronizer", "_sync_task", "cluster", "force_metadata_update"),
    "accumulator": ("_append_batch", "_batches", "_closed", "_exception", "_pending_batches", "fail_all"),
    "sender": ("_fail_all", "_send_produce_req", "sender_task", "start"),
}
#: aiokafka's own logger, as ``bridge.kafka.client_options`` reads the reason of a failure there.
log = logging.getLogger("aiokafka.client")

_ALL_IN_SYNC: Final = -1
_RETRY_BACKOFF_MS: Final = 100
_CONNECTION_OPTIONS: Final = (
    *("client_id", "request_timeout_ms", "ssl_context", "security_protocol", "sasl_mechanism", "sasl_plain_username"),
    *("sasl_plain_password", "sasl_oauth_token_provider"),
)


class Client(AIOKafkaClient):  # type: ignore[misc]  # aiokafka ships no types
    """A client that leaves no connection open when its start is cancelled."""

    _sync_task: asyncio.Task[None] | None

    def __init__(self, options: Mapping[str, object]) -> None:
        super().__init__(**options)
        self._connection_options = {name: options[name] for name in _CONNECTION_OPTIONS if name in options}

    async def bootstrap(self) -> None:
        """Get the list of brokers from the first bootstrap server that answers; raise ``KafkaConnectionError``."""
        for host, port, _ in self.hosts:
            if await self._bootstrap_from(host, port):
                break
        else:
            raise KafkaConnectionError(f"Unable to bootstrap from {self.hosts}")
        self._sync_task = asyncio.create_task(self._md_synchronizer(), name="kafka metadata")

    async def _bootstrap_from(self, host: str, port: int) -> bool:
        try:
            connection = await create_conn(host, port, **self._connection_options)
        except (OSError, KafkaError, TimeoutError) as error:
            log.error('Unable connect to "%s:%s": %s', host, port, error)  # noqa: TRY400 - retried, not unexpected
            return False
        try:
            metadata = await connection.send(MetadataRequest([]))
        except (KafkaError, TimeoutError) as error:
            log.warning('Unable to request metadata from "%s:%s": %s', host, port, error)
            return False
        finally:
            connection.close()
        self.cluster.update_metadata(metadata)
        if not self.cluster.brokers():  # how a rejected OAUTHBEARER token looks to aiokafka; it would wait for ever
            raise KafkaConnectionError("No broker metadata in the answer")
        return True

    def abort_connections(self) -> None:
        """Close all connections at once, with what they have not sent yet: it would arrive late."""
        for connection in self._conns.values():
            writer = connection._writer  # noqa: SLF001 - this is the module for it
            if writer is not None:
                writer.transport.abort()

    def detach_synchronizer(self) -> asyncio.Task[None] | None:
        """Return the task that updates metadata, and keep ``close()`` from awaiting it: it may have failed."""
        task, self._sync_task = self._sync_task, None
        return task


class BatchSender(Sender):  # type: ignore[misc]  # aiokafka ships no types
    """aiokafka's sender, with its requests kept where they can be cancelled."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.requests: set[asyncio.Task[Any]] = set()

    async def _send_produce_req(self, node_id: int, batches: Mapping[TopicPartition, object]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.requests.add(task)
        try:
            await super()._send_produce_req(node_id, batches)
        finally:
            self.requests.discard(task)

    def _fail_all(self, task: asyncio.Task[None]) -> None:
        """Fail all batches when the sender has ended; aiokafka's also fails a transaction, and there is none."""
        for request in self.requests:
            request.cancel()
            request.add_done_callback(retrieve)
        self._message_accumulator.fail_everything(retrieve(task) or ProducerClosed())


class BatchAccumulator(MessageAccumulator):  # type: ignore[misc]  # aiokafka ships no types
    """aiokafka's accumulator, for whole batches alone."""

    def send(self, batch: RecordBatch, topic: str, partition: int) -> asyncio.Future[object]:
        """Queue a batch and return its acknowledgement to come; raise ``KafkaError`` if the producer has ended.

        This is the last step of ``AIOKafkaProducer.send_batch``, without looking for the partition and without
        waiting for an earlier batch of the partition: there never is one.
        """
        if self._closed or self._exception is not None:
            raise self._exception or ProducerClosed()
        acknowledgement: asyncio.Future[object] = self._append_batch(batch, TopicPartition(topic, partition)).future
        return acknowledgement

    def fail_everything(self, error: BaseException) -> None:
        """Fail all batches, those in a request and those that wait.

        aiokafka's ``fail_all`` assumes that no batch settles while it waits to be sent again, so none waits any more.
        """
        waiting = [batch for batches in self._batches.values() for batch in batches]
        self._batches.clear()
        self._pending_batches.update(waiting)
        self.fail_all(error)
        for batch in waiting:
            batch._drain_waiter.exception()  # noqa: SLF001 - retrieved here: nothing else awaits it


def assemble(options: Mapping[str, object]) -> tuple[Client, BatchAccumulator, BatchSender]:
    """Return the parts of an idempotent producer with ``acks=all``, not started; ``options`` are the client's."""
    client = Client(options)
    timeout_ms = client._request_timeout_ms  # noqa: SLF001 - this is the module for it
    transactions = TransactionManager(None, (1 << 31) - 1)
    accumulator = BatchAccumulator(client.cluster, 0, 0, timeout_ms / 1000, txn_manager=transactions)
    sender = BatchSender(
        client,
        acks=_ALL_IN_SYNC,
        txn_manager=transactions,
        message_accumulator=accumulator,
        retry_backoff_ms=_RETRY_BACKOFF_MS,
        request_timeout_ms=timeout_ms,
    )
    return client, accumulator, sender


def check_version() -> None:
    """Raise ``UnsupportedLibrary`` if the installed aiokafka lacks a name that is used here; needs a running loop."""
    parts = dict(zip(("client", "accumulator", "sender"), assemble({}), strict=True))
    missing = [f"{part}.{name}" for part, names in REQUIRED.items() for name in names if not hasattr(parts[part], name)]
    if missing:
        raise UnsupportedLibrary("aiokafka", aiokafka.__version__, VERSION, missing)


def client_of(consumer: aiokafka.AIOKafkaConsumer) -> AIOKafkaClient:
    """Return a consumer's client; raise ``UnsupportedLibrary`` if it has none.

    It can request metadata without naming topics, and close the connections of a consumer whose ``stop()`` failed.
    """
    try:
        return consumer._client  # noqa: SLF001 - this is the module for it
    except AttributeError:
        raise UnsupportedLibrary("aiokafka", aiokafka.__version__, VERSION, ["consumer._client"]) from None


def retrieve(task: asyncio.Task[Any]) -> BaseException | None:
    """Return how a task failed, if it did; asyncio then does not report it as never retrieved."""
    return None if task.cancelled() else task.exception()
