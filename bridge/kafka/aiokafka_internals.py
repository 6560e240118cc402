"""The private parts of aiokafka that the bridge uses, all of them; ``pyproject.toml`` pins the version they are of.

Of aiokafka's client the bridge uses what knows brokers, leaders and how to log in. ``AIOKafkaProducer`` is not used:
``stop()`` waits for acknowledgements without a deadline (aiokafka #1101), ``send()`` after a failed ``start()`` hangs
(#759), and a failed batch can poison it for good (#1017, #1133). Produce requests are the bridge's own
(``bridge.kafka.produce_requests``); they take their place among the requests of a connection here.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiokafka
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import (
    CorrelationIdError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.metadata import MetadataRequest

from bridge.errors import UnsupportedLibrary
from bridge.network.race import first_result

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aiokafka.cluster import ClusterMetadata

#: The version that this module was written for and tested with.
VERSION: Final = "0.14.0"
#: Every private name that is used, here and by aiokafka of our subclasses.
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "client": (
        *("_client_id", "_connections_max_idle_ms", "_conns", "_get_conn", "_get_conn_lock", "_md_synchronizer"),
        *("_metadata_update", "_on_connection_closed", "_request_timeout_ms", "_sync_task"),
    ),
    "connection": (
        *("_handle_frame", "_last_action", "_next_correlation_id", "_protocol", "_reader", "_requests", "_versions"),
        "_writer",
    ),
}
#: aiokafka's own logger, as ``bridge.kafka.client_options`` reads the reason of a failure there.
log = logging.getLogger("aiokafka.client")

#: How long a bootstrap server may take before the next one is asked, too: several round trips for TLS and SASL.
BOOTSTRAP_DELAY_SECONDS: Final = 1.0
_SIZE_BYTES: Final = 4
#: A lingering time of zero.
_DISCARD: Final = struct.pack("ii", 1, 0)
_CONNECTION_OPTIONS: Final = (
    *("client_id", "request_timeout_ms", "ssl_context", "security_protocol", "sasl_mechanism", "sasl_plain_username"),
    *("sasl_plain_password", "sasl_oauth_token_provider"),
)
_IS_NO_TOPIC: Final = (UnknownTopicOrPartitionError.errno, TopicAuthorizationFailedError.errno)
#: Brokers that are asked at a time whether they answer.
_ASKED_BROKERS: Final = 3


class Exchange:
    """A request that is bytes, and its answer to come; to aiokafka's connection it is a request and its future.

    No abstract base class: whether something is an instance of one takes two calls for each answer.
    """

    __slots__ = ()

    def receive(self, answer: bytes, at: int) -> None:
        """Take the answer, which begins at this place."""
        raise NotImplementedError

    def set_exception(self, error: BaseException) -> None:
        """End without an answer."""
        raise NotImplementedError

    def done(self) -> bool:
        """Return whether it has ended."""
        raise NotImplementedError


class Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka ships no types
    """A connection that carries requests of our own as bytes, among those of aiokafka.

    Frames are cut out where they are received, without aiokafka's reading task; that ends the connection when there
    is no more to read.
    """

    def __init__(self, host: str, port: int, **options: object) -> None:
        super().__init__(host, port, **options)
        #: Of a connection that is logged in.
        self._transport: asyncio.WriteTransport | None = None
        self._unread = bytearray()
        self._wanted_bytes = _SIZE_BYTES

    @classmethod
    async def open(cls, host: str, port: int, **options: object) -> Connection:
        """Return a connection that is logged in."""
        connection = cls(host, port, **options)
        await connection.connect()
        if connection._writer is not None:  # it may be lost already
            transport = connection._transport = connection._writer.transport
            connection._protocol.data_received = connection._receive  # no request is open: the reader's buffer is empty
            transport.set_protocol(connection._protocol)  # as uvloop has looked its method up already
        return connection

    @property
    def versions(self) -> Mapping[int, tuple[int, int]]:
        """Return the oldest and the newest version of each request that the broker supports, by the request's key."""
        versions: Mapping[int, tuple[int, int]] = self._versions
        return versions

    def connected(self) -> bool:
        """Return whether it is open, and is not being cut."""
        reader, transport = self._reader, self._transport
        if reader is None or transport is None:
            return False
        return not reader.at_eof() and not transport.is_closing()

    def next_correlation_id(self) -> int:
        """Return the id of the next request."""
        number: int = self._next_correlation_id()
        return number

    def write(self, frame: bytes, correlation_id: int, exchange: Exchange) -> None:
        """Send a request; raise ``KafkaConnectionError`` if the connection is closed."""
        if self._writer is None or self._transport is None:
            raise KafkaConnectionError(f"No connection to broker at {self.host}:{self.port}")
        self._transport.write(frame)
        self._requests.append((correlation_id, exchange, exchange))

    def abort(self) -> None:
        """Close it at once, with what it has not sent yet.

        A lingering time of zero makes the kernel discard its part of that, too (socket(7), SO_LINGER): by default it
        goes on to send that of a closed socket, minutes later if the network comes back then.
        """
        transport = self._transport  # also of one that is closing: over TLS that waits for the broker, up to 30 s
        if transport is None and self._writer is not None:
            transport = self._writer.transport
        if transport is not None:
            if (connected := transport.get_extra_info("socket")) is not None:
                with suppress(OSError):  # it is closed already
                    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
            transport.abort()

    def _receive(self, data: bytes) -> None:
        """Handle the frames that are complete, and keep the rest."""
        if self._unread:
            self._unread += data
            if len(self._unread) < self._wanted_bytes:
                return
            data = bytes(self._unread)
            self._unread.clear()
        at, end = 0, len(data)
        self._wanted_bytes = _SIZE_BYTES
        while end - at >= _SIZE_BYTES and self._writer is not None:
            behind = at + _SIZE_BYTES + int.from_bytes(data[at : at + _SIZE_BYTES], "big")
            if behind > end:
                self._wanted_bytes = behind - at
                break
            self._handle_frame(data[at + _SIZE_BYTES : behind])
            at = behind
        self._unread += data[at:]

    def _handle_frame(self, frame: bytes) -> None:
        correlation_id, exchange, _ = self._requests[0]
        if not isinstance(exchange, Exchange):
            super()._handle_frame(frame)
            return
        answered = int.from_bytes(frame[:_SIZE_BYTES], "big")
        if answered != correlation_id:
            self._requests.popleft()
            self.close(reason=CloseReason.OUT_OF_SYNC)
            error = CorrelationIdError(f"Correlation ids do not match: sent {correlation_id}, received {answered}")
            exchange.set_exception(error)
            return
        self._last_action = time.monotonic()
        self._requests.popleft()
        exchange.receive(frame, _SIZE_BYTES)


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
        self._is_closed = False
        self._topics = set(topics)
        #: The leaders that were asked for, of the newest metadata.
        self._leaders: dict[tuple[str, int], int | None] = {}
        self.cluster.add_listener(lambda _: self._leaders.clear())
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
            connection = await Connection.open(host, port, **self._connection_options)
        except (OSError, KafkaError, TimeoutError, UnicodeError) as error:  # the last is an impossible host name
            log.error('Unable connect to "%s:%s": %s', host, port, error)  # noqa: TRY400 - retried, not unexpected
            return None
        try:
            metadata = await connection.send(MetadataRequest([], allow_auto_topic_creation=False))
        except (KafkaError, TimeoutError) as error:
            log.warning('Unable to request metadata from "%s:%s": %s', host, port, error)
            return None
        else:
            return f"{host}:{port}", connection.versions, metadata
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
    ) -> Connection | None:
        """Return a connection to a broker; None if it has none, and then ``last_failure`` says why.

        aiokafka's does not say which address it tried, and an impossible one ends its metadata updates.
        """
        del no_hint
        if (open_already := self.open_connection(node_id, group)) is not None:
            return open_already
        broker = self.cluster.broker_metadata(node_id)
        if broker is None:
            self.force_metadata_update()
            return None
        if self._is_closed:
            return None
        try:
            async with self._get_conn_lock:
                if (open_already := self.open_connection(node_id, group)) is not None:
                    return open_already
                connection = await Connection.open(
                    broker.host,
                    broker.port,
                    **self._connection_options,
                    on_close=self._on_connection_closed,
                    max_idle_ms=self._connections_max_idle_ms,
                )
                if self._is_closed:  # meanwhile
                    connection.abort()
                    return None
                self._conns[node_id, group] = connection
        except (OSError, TimeoutError, KafkaError, UnicodeError) as error:  # the last is an impossible host name
            reason = str(error) or "no answer in time"
            self.last_failure = f"broker {node_id} cannot be reached at {broker.host}:{broker.port}: {reason}"
            log.error("Unable connect to node with id %s: %s", node_id, self.last_failure)  # noqa: TRY400 - retried
            self.force_metadata_update()  # it may have moved
            return None
        self.last_failure = ""
        return connection

    async def connect(self, node_id: int) -> Connection | None:
        """Return a connection to a broker, opened if need be; None if it cannot be reached, see ``last_failure``."""
        return await self._get_conn(node_id)

    def open_connection(self, node_id: int, group: ConnectionGroup = ConnectionGroup.DEFAULT) -> Connection | None:
        """Return the connection to a broker; None if none is open."""
        connection: Connection | None = self._conns.get((node_id, group))
        return connection if connection is not None and connection.connected() else None

    def leader(self, topic: str, partition: int) -> int | None:
        """Return the number of the broker that takes a partition's records; None if it has none, or none is known."""
        place = topic, partition
        if place not in self._leaders:
            leader: int | None = self.cluster.leader_for_partition(TopicPartition(topic, partition))
            self._leaders[place] = None if leader is None or leader < 0 else leader
        return self._leaders[place]

    @property
    def client_id(self) -> str:
        """Return the name by which brokers know this client."""
        name: str = self._client_id
        return name

    @property
    def request_timeout_ms(self) -> int:
        """Return how long an answer may take."""
        timeout_ms: int = self._request_timeout_ms
        return timeout_ms

    def has_ended(self) -> bool:
        """Return whether its metadata are not updated any more."""
        return self._sync_task is None or self._sync_task.done()

    async def has_topic(self, name: str) -> bool:
        """Ask whether a topic exists, and may be described; raise ``KafkaError`` if no broker answers."""
        request = MetadataRequest([name], allow_auto_topic_creation=False)
        for broker in self.cluster.brokers():
            with suppress(NodeNotReadyError):
                metadata = await self.send(broker.nodeId, request)
                return any(code not in _IS_NO_TOPIC for code, *_ in metadata.topics)
        raise NodeNotReadyError("no broker can be reached")

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
        """Close all connections at once, with what they have not sent yet: it would arrive late; open no other."""
        self._is_closed = True
        for connection in self._conns.values():
            connection.abort()

    async def close(self) -> None:
        """Close all connections, and open no other.

        aiokafka's own would swallow a cancellation while its task ends, and pass one on to what tells that a connection
        is closed: after a timeout, the next call would raise CancelledError in a task that was not cancelled.
        """
        self._is_closed = True
        synchronizing = self.detach_synchronizer()
        for task in synchronizing:
            task.cancel()
            task.add_done_callback(retrieve)
        closing = [connection.close(reason=CloseReason.SHUTDOWN) for connection in list(self._conns.values())]
        if waited := [*synchronizing, *closing]:
            await asyncio.wait(waited)

    def detach_synchronizer(self) -> set[asyncio.Task[None]]:
        """Return the task that updates metadata, if any, and keep ``close()`` from awaiting it: it may have failed."""
        task, self._sync_task = self._sync_task, None
        return set() if task is None else {task}


class AdminClient(AIOKafkaAdminClient):  # type: ignore[misc]  # aiokafka ships no types
    """An admin client that asks its bootstrap servers side by side."""

    def __init__(self, options: Mapping[str, object]) -> None:
        super().__init__(**options)
        self._client = Client(options)


class Consumer(aiokafka.AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka ships no types
    """A consumer that asks its bootstrap servers side by side."""

    def __init__(self, options: Mapping[str, object], **reading: object) -> None:
        super().__init__(**options, **reading)
        self._client = Client(options)


def check_version() -> None:
    """Raise ``UnsupportedLibrary`` if the installed aiokafka lacks a name that is used here; needs a running loop."""
    parts = {"client": Client({}), "connection": Connection("", 0)}
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
