"""The private parts of aiokafka that the bridge uses, all of them; ``pyproject.toml`` pins the version they are of.

``AIOKafkaProducer`` cannot be used as it is: ``stop()`` waits for acknowledgements without a deadline (aiokafka
#1101), ``send()`` after a failed ``start()`` hangs (#759), and a failed batch can poison it for good (#1017, #1133).
So the bridge assembles a producer from the same parts. These classes add what it takes to end one in any state, to
give a failed batch back at once, whatever the error, and to send its records again under the same sequence numbers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiokafka
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    ProducerClosed,
    TopicAuthorizationFailedError,
)
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender, SendProduceReqHandler
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest_v3, ProduceRequest_v5, ProduceRequest_v7, ProduceRequest_v8

from bridge.errors import UnsupportedLibrary
from bridge.kafka.error_policy import DUPLICATE_SEQUENCE_NUMBER, NO_ERROR, BatchRejected
from bridge.network.race import first_result

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aiokafka.cluster import ClusterMetadata

    from bridge.kafka.record_batch import RecordBatch

#: The version that this module was written for and tested with.
VERSION: Final = "0.14.0"
#: Every private name that is used, here and by aiokafka of our subclasses and of ``RecordBatch``.
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "client": (
        *("_connections_max_idle_ms", "_conns", "_get_conn", "_get_conn_lock", "_md_synchronizer"),
        *("_on_connection_closed", "_sync_task", "cluster", "force_metadata_update"),
    ),
    "accumulator": ("_append_batch", "_batches", "_closed", "_exception", "_pending_batches", "fail_all"),
    "sender": ("_fail_all", "_send_produce_req", "sender_task", "start"),
}
#: aiokafka's own logger, as ``bridge.kafka.client_options`` reads the reason of a failure there.
log = logging.getLogger("aiokafka.client")

#: How long a bootstrap server may take before the next one is asked, too: several round trips for TLS and SASL.
BOOTSTRAP_DELAY_SECONDS: Final = 1.0
_ALL_IN_SYNC: Final = -1
#: Bytes of batches, before compression, in one produce request; a single larger batch goes alone. A broker reads at
#: most ``socket.request.max.bytes`` (100 MiB), and batches are compressed in the event loop, a request at a time.
MAX_REQUEST_BYTES: Final = 4 << 20
_SEQUENCES: Final = 1 << 31
_RETRY_BACKOFF_MS: Final = 100
#: A lingering time of zero.
_DISCARD: Final = struct.pack("ii", 1, 0)
_CONNECTION_OPTIONS: Final = (
    *("client_id", "request_timeout_ms", "ssl_context", "security_protocol", "sasl_mechanism", "sasl_plain_username"),
    *("sasl_plain_password", "sasl_oauth_token_provider"),
)
#: Brokers that are asked at a time whether they answer.
_ASKED_BROKERS: Final = 3


class Client(AIOKafkaClient):  # type: ignore[misc]  # aiokafka ships no types
    """A client that leaves no connection open when its start is cancelled, and says why it has none."""

    _sync_task: asyncio.Task[None] | None

    def __init__(self, options: Mapping[str, object], topics: Collection[str] = ()) -> None:
        super().__init__(**options)
        #: The bootstrap server that answered, and the versions of each request that it supports, by the request's key.
        self.answered_by = ""
        self.versions: Mapping[int, tuple[int, int]] = {}
        #: Why the last connection to a broker failed, empty if it did not.
        self.last_failure = ""
        #: Topics that may not be described.
        self.hidden_topics: set[str] = set()
        self._topics = set(topics)
        self.cluster.need_all_topic_metadata = True  # a missing topic is not logged at each update
        self._connection_options = {name: options[name] for name in _CONNECTION_OPTIONS if name in options}

    async def bootstrap(self) -> None:
        """Get the list of brokers from the first bootstrap server that answers; raise ``KafkaConnectionError``.

        The next server is asked when one has failed, or has not answered soon: a machine that is off would swallow
        packets until the request's timeout.
        """
        attempts = [partial(self._bootstrap_from, host, port) for host, port, _ in self.hosts]
        answer = await first_result(attempts, BOOTSTRAP_DELAY_SECONDS)
        if answer is None:
            raise KafkaConnectionError(f"Unable to bootstrap from {self.hosts}")
        self.answered_by, self.versions, metadata = answer
        self.cluster.update_metadata(metadata)
        if not self.cluster.brokers():  # how a rejected OAUTHBEARER token looks to aiokafka; it would wait for ever
            raise KafkaConnectionError("No broker metadata in the answer")
        self._sync_task = asyncio.create_task(self._md_synchronizer(), name="kafka metadata")

    async def _bootstrap_from(self, host: str, port: int) -> tuple[str, Mapping[int, tuple[int, int]], Any] | None:
        """Return a server, the versions it supports, and its metadata; None if it does not answer, which is logged."""
        try:
            connection = await create_conn(host, port, **self._connection_options)
        except (OSError, KafkaError, TimeoutError, UnicodeError) as error:  # the last is an impossible host name
            log.error('Unable connect to "%s:%s": %s', host, port, error)  # noqa: TRY400 - retried, not unexpected
            return None
        try:
            metadata = await connection.send(MetadataRequest([], allow_auto_topic_creation=False))
        except (KafkaError, TimeoutError) as error:
            log.warning('Unable to request metadata from "%s:%s": %s', host, port, error)
            return None
        else:
            return f"{host}:{port}", connection._versions, metadata  # noqa: SLF001 - this is the module for it
        finally:
            connection.close()

    async def _metadata_update(self, cluster_metadata: ClusterMetadata, topics: Collection[str]) -> bool:
        """Update what is known of brokers and of our topics alone; no request creates a topic.

        aiokafka's asks for all topics of the cluster if it has no names, and allows their creation if it has.
        """
        if not topics:
            return bool(await super()._metadata_update(cluster_metadata, topics))
        request = MetadataRequest(sorted(topics), allow_auto_topic_creation=False)
        nodes = [broker.nodeId for broker in self.cluster.brokers()]
        random.shuffle(nodes)
        for node in nodes:
            connection = await self._get_conn(node)
            if connection is None:
                continue
            try:
                metadata = await connection.send(request)
            except (KafkaError, TimeoutError) as error:
                log.warning("Unable to request metadata from node with id %s: %r", node, error)
                continue
            if metadata.brokers:
                cluster_metadata.update_metadata(metadata)
                denied = TopicAuthorizationFailedError.errno
                self.hidden_topics = {name for code, name, *_ in metadata.topics if code == denied}
            return bool(metadata.brokers)
        log.error("Unable to update metadata from %s", nodes)
        cluster_metadata.failed_update(None)
        return False

    async def _get_conn(
        self, node_id: int, *, group: ConnectionGroup = ConnectionGroup.DEFAULT, no_hint: bool = False
    ) -> AIOKafkaConnection | None:
        """Return a connection to a broker; None if it has none, and then ``last_failure`` says why.

        aiokafka's does not say which address it tried, and an impossible one ends its metadata updates.
        """
        del no_hint
        if (open_already := self._open_connection(node_id, group)) is not None:
            return open_already
        broker = self.cluster.broker_metadata(node_id)
        if broker is None:
            self.force_metadata_update()
            return None
        try:
            async with self._get_conn_lock:
                if (open_already := self._open_connection(node_id, group)) is not None:
                    return open_already
                connection = await create_conn(
                    broker.host,
                    broker.port,
                    **self._connection_options,
                    on_close=self._on_connection_closed,
                    max_idle_ms=self._connections_max_idle_ms,
                )
                self._conns[node_id, group] = connection
        except (OSError, TimeoutError, KafkaError, UnicodeError) as error:  # the last is an impossible host name
            reason = str(error) or "no answer in time"
            self.last_failure = f"broker {node_id} cannot be reached at {broker.host}:{broker.port}: {reason}"
            log.error("Unable connect to node with id %s: %s", node_id, self.last_failure)  # noqa: TRY400 - retried
            self.force_metadata_update()  # it may have moved
            return None
        self.last_failure = ""
        return connection

    def _open_connection(self, node_id: int, group: ConnectionGroup) -> AIOKafkaConnection | None:
        connection = self._conns.get((node_id, group))
        return connection if connection is not None and connection.connected() else None

    async def why_silent(self) -> str:
        """Ask some of the brokers; return why none of them answers, empty as soon as one does."""
        nodes = [broker.nodeId for broker in self.cluster.brokers()]
        request = MetadataRequest([], allow_auto_topic_creation=False)
        asked = random.sample(nodes, min(_ASKED_BROKERS, len(nodes)))
        asking = [asyncio.create_task(self.send(node, request)) for node in asked]
        reason = ""
        try:
            for answer in asyncio.as_completed(asking):
                try:
                    await answer
                except KafkaError as error:
                    reason = self.last_failure or str(error)
                else:
                    return ""
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return reason or "no broker is known"

    def abort_connections(self) -> None:
        """Close all connections at once, with what they have not sent yet: it would arrive late.

        A lingering time of zero makes the kernel discard its part of that, too (socket(7), SO_LINGER): by default it
        goes on to send that of a closed socket, minutes later if the network comes back then.
        """
        for connection in self._conns.values():
            writer = connection._writer  # noqa: SLF001 - this is the module for it
            if writer is not None:
                with suppress(OSError):  # it is closed already
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
                writer.transport.abort()

    def detach_synchronizer(self) -> asyncio.Task[None] | None:
        """Return the task that updates metadata, and keep ``close()`` from awaiting it: it may have failed."""
        task, self._sync_task = self._sync_task, None
        return task


class Consumer(aiokafka.AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka ships no types
    """A consumer that asks its bootstrap servers side by side."""

    def __init__(self, options: Mapping[str, object], **reading: object) -> None:
        super().__init__(**options, **reading)
        self._client = Client(options)


class _ProduceRequest(Request[ProduceRequest_v3 | ProduceRequest_v5 | ProduceRequest_v7 | ProduceRequest_v8]):  # type: ignore[misc]  # aiokafka ships no types
    """A produce request up to version 8, the first whose response names the rejected records (KIP-467)."""

    API_KEY = 0
    required_acks = _ALL_IN_SYNC

    def __init__(self, timeout_ms: int, topics: list[tuple[str, list[tuple[int, bytes]]]]) -> None:
        self._timeout_ms = timeout_ms
        self._topics = topics

    def build(self, version: type[RequestStruct]) -> RequestStruct:
        """Build the request in one version."""
        return version(None, _ALL_IN_SYNC, self._timeout_ms, self._topics)


class _ProduceHandler(SendProduceReqHandler):  # type: ignore[misc]  # aiokafka ships no types
    """One produce request: every batch in it ends with the response, and none is retried here."""

    def create_request(self) -> _ProduceRequest:
        """Return the request with all batches, compressed now."""
        topics: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for partition, batch in self._batches.items():
            topics[partition.topic].append((partition.partition, batch.get_data_buffer()))
        return _ProduceRequest(self._sender._request_timeout_ms, list(topics.items()))  # noqa: SLF001 - see above

    def _can_retry(self, error: BaseException, batch: MessageBatch) -> bool:  # noqa: ARG002 - aiokafka's signature
        return False

    def handle_response(self, response: Any) -> None:
        """End each batch with its part of the response."""
        for topic, partitions in response.topics:
            for number, code, offset, timestamp, *more in partitions:
                batch = self._batches.get(TopicPartition(topic, number))
                if batch is None:
                    continue
                if code in (NO_ERROR, DUPLICATE_SEQUENCE_NUMBER):
                    batch.done(offset, timestamp)
                else:
                    record_errors, message = more[1:3] if len(more) > 1 else ((), None)
                    batch.failure(BatchRejected(code, message or "", tuple(index for index, _ in record_errors or ())))


class _ProducerState(TransactionManager):  # type: ignore[misc]  # aiokafka ships no types
    """Producer ID, epoch and the next sequence number of each partition."""

    def increment_sequence_number(self, tp: TopicPartition, increment: int) -> None:
        """Advance a sequence number, which begins again at 0 after 2**31 - 1, as in Kafka's own client."""
        self._sequence_numbers[tp] = (self._sequence_numbers[tp] + increment) % _SEQUENCES


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
            await _ProduceHandler(self, batches).do(node_id)
        finally:
            self.requests.discard(task)
        self._in_flight.remove(node_id)
        self._muted_partitions.difference_update(batches)

    def _fail_all(self, task: asyncio.Task[None]) -> None:
        """Fail all batches when the sender has ended; aiokafka's also fails a transaction, and there is none."""
        for request in self.requests:
            request.cancel()
            request.add_done_callback(retrieve)
        self._message_accumulator.fail_everything(retrieve(task) or ProducerClosed())


class BatchAccumulator(MessageAccumulator):  # type: ignore[misc]  # aiokafka ships no types
    """aiokafka's accumulator, for whole batches alone."""

    _waiter_future: asyncio.Future[None]

    def send(self, batch: RecordBatch, topic: str, partition: int) -> asyncio.Future[object]:
        """Queue a batch and return its acknowledgement to come; raise ``KafkaError`` if the producer has ended.

        This is the last step of ``AIOKafkaProducer.send_batch``, without looking for the partition and without
        waiting for an earlier batch of the partition: there never is one.
        """
        if self._closed or self._exception is not None:
            raise self._exception or ProducerClosed()
        acknowledgement: asyncio.Future[object] = self._append_batch(batch, TopicPartition(topic, partition)).future
        return acknowledgement

    def rewind(self, topic: str, partition: int, records: int) -> None:
        """Let the next batch of a partition begin with the sequence number of the last one, which had so many records.

        A batch that was rejected left none behind. One that a broker has without our knowing is recognized by its
        first and last sequence number, so its records must be sent again in the same batch.
        """
        self._txn_manager.increment_sequence_number(TopicPartition(topic, partition), -records)

    def drain_by_nodes(
        self, ignore_nodes: Collection[int], muted_partitions: Collection[TopicPartition] = frozenset()
    ) -> tuple[dict[int, dict[TopicPartition, MessageBatch]], bool]:
        """Return the batches for each broker that has no request in flight, up to ``MAX_REQUEST_BYTES`` for each.

        A batch without a leader fails at once: its records are kept elsewhere.
        """
        nodes: dict[int, dict[TopicPartition, MessageBatch]] = defaultdict(dict)
        sizes: dict[int, int] = defaultdict(int)
        for partition in list(self._batches):
            leader = self._cluster.leader_for_partition(partition)
            if leader is None or leader < 0:
                self._pop_batch(partition).failure(LeaderNotAvailableError())
            elif leader not in ignore_nodes and partition not in muted_partitions:
                size = self._batches[partition][0]._builder.size_bytes  # noqa: SLF001 - a RecordBatch
                if not sizes[leader] or sizes[leader] + size <= MAX_REQUEST_BYTES:
                    sizes[leader] += size
                    nodes[leader][partition] = self._pop_batch(partition)
        if not self._waiter_future.done():
            self._waiter_future.set_result(None)
        self._waiter_future = self._loop.create_future()
        return nodes, False

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


def assemble(
    options: Mapping[str, object], topics: Collection[str] = ()
) -> tuple[Client, BatchAccumulator, BatchSender]:
    """Return the parts of an idempotent producer with ``acks=all``, not started.

    ``options`` are the client's, ``topics`` the names to get metadata of.
    """
    client = Client(options, topics)
    timeout_ms = client._request_timeout_ms  # noqa: SLF001 - this is the module for it
    transactions = _ProducerState(None, (1 << 31) - 1)
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
