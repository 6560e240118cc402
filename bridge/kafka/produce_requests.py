"""The produce requests of a producer: one in flight for each broker, with a batch of every partition that has one.

A batch is answered exactly once: by the broker, by the loss of its connection, or when the producer is abandoned. None
is sent again here; what becomes of it is the caller's to decide.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka.conn import CloseReason
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    ProducerClosed,
    RequestTimedOutError,
)

from bridge.kafka.aiokafka_internals import Exchange
from bridge.kafka.error_policy import UNKNOWN_SERVER_ERROR, BatchRejected, NotSent
from bridge.kafka.produce_protocol import decode, encode, produce_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.kafka.aiokafka_internals import Client, Connection
    from bridge.kafka.produce_protocol import ProduceAnswer
    from bridge.kafka.record_batch import RecordBatch

#: Bytes of batches, before compression, in one produce request; a single larger batch goes alone. A broker reads at
#: most ``socket.request.max.bytes`` (100 MiB), and batches are compressed in the event loop, a request at a time.
MAX_REQUEST_BYTES: Final = 4 << 20
_SEQUENCES: Final = 1 << 31

#: A topic's name, and the number of a partition.
Place = tuple[str, int]


class OutgoingBatch(NamedTuple):
    """A batch, and the partition that it is for."""

    topic: str
    partition: int
    batch: RecordBatch


class BatchAnswer(NamedTuple):
    """How the batch of a partition has ended: ``error`` is None if Kafka has it."""

    topic: str
    partition: int
    error: BaseException | None


#: Called with the answers that one request brings.
OnAnswers = Callable[[Sequence[BatchAnswer]], None]


class SequenceNumbers:
    """The next sequence number of each partition; after 2**31 - 1 comes 0, as in Kafka's own client."""

    def __init__(self) -> None:
        self._next: dict[Place, int] = {}

    def take(self, place: Place, records: int) -> int:
        """Return the sequence number of a batch with so many records."""
        number = self._next.get(place, 0)
        self._next[place] = (number + records) % _SEQUENCES
        return number

    def rewind(self, place: Place, records: int) -> None:
        """Let the next batch have the number of the last one, which had so many records."""
        self.take(place, -records)


#: A batch on its way: its partition, itself, its sequence number, and what is called with its answer.
_Pending = tuple[Place, "RecordBatch", int, OnAnswers]


@dataclass(slots=True, eq=False)
class _Broker:
    """What is sent to one broker, and what waits for it."""

    node: int
    #: Since when it has something to answer (monotonic seconds).
    busy_since: float = 0.0
    waiting: list[_Pending] = field(default_factory=list)
    request: _Request | None = None
    #: Opens the connection, if none is open.
    opening: asyncio.Task[Connection | None] | None = None
    #: Ends the pause that the broker has asked for (KIP-219), if it has.
    pause: asyncio.TimerHandle | None = None
    #: The connection that was used last, and the version of produce requests that is spoken there, if one is.
    connection: Connection | None = None
    version: int | None = None

    def take_batches(self) -> list[_Pending]:
        """Return the batches of the next request, oldest first."""
        if len(self.waiting) == 1:
            batches, self.waiting = self.waiting, []
            return batches
        size = count = 0
        for _, batch, _, _ in self.waiting:
            size += batch.size_bytes
            if count and size > MAX_REQUEST_BYTES:
                break
            count += 1
        batches, self.waiting = self.waiting[:count], self.waiting[count:]
        return batches


class _Request(Exchange):
    """A request and the batches in it, which end with it: ``on_end`` is called once."""

    __slots__ = ("_is_done", "_is_overdue", "_on_end", "_version", "batches", "broker", "connection", "deadline")

    def __init__(
        self,
        broker: _Broker,
        connection: Connection,
        version: int,
        batches: list[_Pending],
        *,
        deadline: float,
        on_end: Callable[[_Request, ProduceAnswer | BaseException], None],
    ) -> None:
        self.broker = broker
        self.connection = connection
        self.batches = batches
        self.deadline = deadline
        self._version = version
        self._on_end = on_end
        self._is_done = False
        self._is_overdue = False

    def receive(self, answer: bytes, at: int) -> None:
        """End the batches with their parts of the answer."""
        try:
            decoded = decode(self._version, answer, at)
        except (struct.error, ValueError) as error:
            self.connection.close(reason=CloseReason.OUT_OF_SYNC)
            self.set_exception(KafkaConnectionError(f"the answer to a produce request cannot be read: {error}"))
        else:
            self._end(decoded)

    def set_exception(self, error: BaseException) -> None:
        """End the batches without an answer: a broker may have them."""
        self._end(RequestTimedOutError() if self._is_overdue else error)

    def done(self) -> bool:
        """Return whether the batches have ended."""
        return self._is_done

    def expire(self) -> None:
        """Close the connection: no answer has come in time."""
        self._is_overdue = True
        self.connection.close(reason=CloseReason.CONNECTION_TIMEOUT)

    def _end(self, outcome: ProduceAnswer | BaseException) -> None:
        if not self._is_done:
            self._is_done = True
            self._on_end(self, outcome)


class ProduceRequests:
    """The batches of an idempotent producer on their way to the leaders of their partitions.

    ``may_send`` is asked immediately before each request is written; if it says no, nothing is written, and the batches
    end with ``NotSent``.
    """

    def __init__(self, client: Client, may_send: Callable[[], bool]) -> None:
        self._client = client
        self._may_send = may_send
        self._client_id = client.client_id.encode()
        self._timeout_ms = client.request_timeout_ms
        self._loop = asyncio.get_running_loop()
        self._producer = -1, -1
        self._sequences = SequenceNumbers()
        self._brokers: dict[int, _Broker] = {}
        self._expiry: asyncio.TimerHandle | None = None
        #: Whether it sends nothing, as it was not started, or is abandoned.
        self.is_closed = True

    def start(self, producer_id: int, producer_epoch: int) -> None:
        """Send under this producer id from now on."""
        self._producer = producer_id, producer_epoch
        self.is_closed = False

    def send(self, batches: Sequence[OutgoingBatch], on_answers: OnAnswers) -> None:
        """Send batches, of which no partition has another in flight; raise ``ProducerClosed``, and send none then."""
        if self.is_closed:
            raise ProducerClosed
        leaderless = []
        brokers: dict[int, _Broker] = {}
        for topic, partition, batch in batches:
            place = topic, partition
            pending = (place, batch, self._sequences.take(place, batch.records), on_answers)
            leader = self._client.leader(topic, partition)
            if leader is None:
                leaderless.append(pending)
                continue
            if (broker := self._brokers.get(leader)) is None:
                broker = self._brokers[leader] = _Broker(leader)
            brokers[leader] = broker
            if broker.request is None and not broker.waiting:
                broker.busy_since = time.monotonic()
            broker.waiting.append(pending)
        for broker in brokers.values():
            self._send_next(broker)
        if leaderless:
            _end_all(leaderless, LeaderNotAvailableError())

    def rewind(self, place: Place, records: int) -> None:
        """Let the next batch of a partition have the sequence number of the last one, which failed."""
        self._sequences.rewind(place, records)

    def busy_since(self, topic: str, partition: int) -> float | None:
        """Return since when the leader of a partition has something to answer first (monotonic seconds), if it has."""
        leader = self._client.leader(topic, partition)
        broker = None if leader is None else self._brokers.get(leader)
        if broker is None or (broker.request is None and not broker.waiting):
            return None
        return broker.busy_since

    def abandon(self) -> set[asyncio.Task[Connection | None]]:
        """End every batch, sent or not, with ``ProducerClosed``; return tasks that were cancelled.

        The connections are cut already.
        """
        self.is_closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        tasks = set()
        for broker in self._brokers.values():
            if broker.pause is not None:
                broker.pause.cancel()
            if broker.opening is not None:
                broker.opening.cancel()
                tasks.add(broker.opening)
            if broker.request is not None:
                broker.request.set_exception(ProducerClosed())
            self._end_waiting(broker, ProducerClosed())
        return tasks

    # -- one broker ---------------------------------------------------------------------------------------------

    def _send_next(self, broker: _Broker) -> None:
        """Send a request with what waits for a broker, if it takes one now."""
        is_busy = broker.request is not None or broker.opening is not None or broker.pause is not None
        if is_busy or not broker.waiting or self.is_closed:
            return
        connection = self._client.open_connection(broker.node)
        if connection is None:
            broker.opening = asyncio.create_task(self._client.connect(broker.node), name="kafka connection")
            broker.opening.add_done_callback(lambda opened: self._on_opened(broker, opened))
        else:
            self._write(broker, connection)

    def _on_opened(self, broker: _Broker, opened: asyncio.Task[Connection | None]) -> None:
        broker.opening = None
        if opened.cancelled() or self.is_closed:
            return
        if (error := opened.exception()) is not None:
            self._end_waiting(broker, error)
        elif (connection := opened.result()) is None:
            self._end_waiting(broker, NodeNotReadyError(f"broker {broker.node} cannot be reached"))
        elif not connection.connected():
            self._end_waiting(broker, KafkaConnectionError(f"broker {broker.node} has closed its connection at once"))
        else:
            self._send_next(broker)

    def _write(self, broker: _Broker, connection: Connection) -> None:
        """Build a request and write it, without anything between the last question and the transport."""
        batches = broker.take_batches()
        if connection is not broker.connection:
            broker.connection, broker.version = connection, produce_version(connection.versions)
        version = broker.version
        if version is None:
            _end_all(batches, IncompatibleBrokerVersion(f"broker {broker.node} takes no produce request of ours"))
            self._send_next(broker)
            return
        topics: dict[str, list[tuple[int, bytearray]]] = {}
        for (topic, partition), batch, sequence, _ in batches:
            encoded = batch.encode(*self._producer, sequence)
            topics.setdefault(topic, []).append((partition, encoded))
        correlation_id = connection.next_correlation_id()
        frame = encode(version, correlation_id, self._client_id, self._timeout_ms, topics)
        deadline = self._loop.time() + self._timeout_ms / 1000
        request = _Request(broker, connection, version, batches, deadline=deadline, on_end=self._on_end)
        if not self._may_send():
            _end_all(batches, NotSent())
            self._end_waiting(broker, NotSent())
            return
        try:
            connection.write(frame, correlation_id, request)
        except KafkaError as error:
            _end_all(batches, error)
            self._send_next(broker)
            return
        broker.request = request
        if self._expiry is None:
            self._expiry = self._loop.call_at(deadline, self._expire)

    def _on_end(self, request: _Request, outcome: ProduceAnswer | BaseException) -> None:
        """Tell how a request has ended, and send the next one."""
        broker = request.broker
        broker.request = None
        broker.busy_since = time.monotonic()
        if isinstance(outcome, BaseException):
            _end_all(request.batches, outcome)
        else:
            if outcome.throttle_seconds:
                broker.pause = self._loop.call_later(outcome.throttle_seconds, self._end_pause, broker)
            _end_each(request.batches, outcome.errors)
        self._send_next(broker)

    @staticmethod
    def _end_waiting(broker: _Broker, error: BaseException) -> None:
        waiting, broker.waiting = broker.waiting, []
        _end_all(waiting, error)

    def _end_pause(self, broker: _Broker) -> None:
        broker.pause = None
        self._send_next(broker)

    def _expire(self) -> None:
        """End the requests that were not answered in time; one timer does for all of them."""
        self._expiry = None
        now = self._loop.time()
        for request in [broker.request for broker in self._brokers.values() if broker.request is not None]:
            if request.deadline <= now:
                request.expire()
        left = [broker.request.deadline for broker in self._brokers.values() if broker.request is not None]
        if left and self._expiry is None:
            self._expiry = self._loop.call_at(min(left), self._expire)


def _end_all(batches: Sequence[_Pending], error: BaseException) -> None:
    _end_each(batches, dict.fromkeys([place for place, *_ in batches], error))


def _end_each(batches: Sequence[_Pending], errors: Mapping[Place, BaseException | None]) -> None:
    """Hand on the answers of batches; of one that has none it is not known whether Kafka has it."""
    answers_of: dict[OnAnswers, list[BatchAnswer]] = {}
    for place, _, _, on_answers in batches:
        error = (
            errors[place] if place in errors else BatchRejected(UNKNOWN_SERVER_ERROR, "no answer for this partition")
        )
        answers_of.setdefault(on_answers, []).append(BatchAnswer(*place, error))
    for on_answers, answers in answers_of.items():
        on_answers(answers)
