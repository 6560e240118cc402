"""Produce requests on brokers that answer as told: what is sent when, and how each batch ends."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bridge.kafka import produce_requests
from bridge.kafka.aiokafka_internals import Connection, Exchange
from bridge.kafka.error_policy import BatchRejected
from bridge.kafka.produce_requests import BatchAnswer, OutgoingBatch, SequenceNumbers
from bridge.kafka.producer import AiokafkaProducer
from bridge.kafka.record_batch import batch_maker
from tests.support.consumer import read_all
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.scripted_broker import Request, ScriptedBroker

#: Codes of the Apache Kafka protocol.
NOT_LEADER, INVALID_RECORD = 6, 87
LONG_SECONDS = 60.0
QUOTES = "quotes"


class Answers(list[BatchAnswer]):
    """The answers so far."""

    async def arrive(self, count: int = 1) -> list[BatchAnswer]:
        """Wait until there are so many."""
        await eventually(lambda: len(self) >= count, f"{count} answers")
        return self

    @property
    def errors(self) -> list[str | None]:
        """Return the names of the errors, None of those that have none."""
        return [None if answer.error is None else type(answer.error).__name__ for answer in self]


def batch(partition: int = 0, *values: bytes, topic: str = QUOTES) -> OutgoingBatch:
    """Return a batch with these values, or one."""
    made = batch_maker("none", 1 << 20)()
    made.fill([(1_000, b"AAPL", value, None) for value in values or (b"a record",)])
    return OutgoingBatch(topic, partition, made)


def produced(broker: ScriptedBroker) -> list[Request]:
    """Return the produce requests so far."""
    return broker.requests("Produce")


def values(broker: ScriptedBroker) -> list[bytes | None]:
    """Return the values that the topic has."""
    return [message.value for message in read_all(broker.bootstrap_servers, [QUOTES])]


@asynccontextmanager
async def started(
    broker: ScriptedBroker, may_send: Callable[[], bool] = lambda: True, **options: Any
) -> AsyncIterator[AiokafkaProducer]:
    """Start a producer, and abandon it."""
    options = {"bootstrap_servers": broker.bootstrap_servers, "client_id": "aries-bridge-test", **options}
    producer = await AiokafkaProducer.start(options, [QUOTES], may_send=may_send)
    try:
        yield producer
    finally:
        await producer.abandon()


@pytest.fixture
def quotes(scripted_broker: ScriptedBroker) -> ScriptedBroker:
    """Return a cluster with a topic of four partitions."""
    scripted_broker.create_topic(QUOTES, 4)
    return scripted_broker


def connection_of(producer: AiokafkaProducer, node: int = 0) -> Connection:
    """Return the connection to a broker."""
    connection = producer._client.open_connection(node)
    assert connection is not None
    return connection


@pytest.mark.parametrize(("newest", "spoken"), [(3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8), (9, 8)])
async def test_brokers_of_all_ages_are_understood(quotes: ScriptedBroker, newest: int, spoken: int) -> None:
    """The newest common version is spoken; acknowledgements and errors are understood in each."""
    quotes.add_rule("ApiVersions", versions={"Produce": (0, newest)})
    quotes.add_rule("Produce", partition=1, error=INVALID_RECORD, error_message="no", record_errors=[0])
    answers = Answers()
    async with started(quotes) as producer:
        producer.send([batch(0, b"good"), batch(1)], answers.extend)
        good, bad = await answers.arrive(2)
    assert good == (QUOTES, 0, None)
    assert isinstance(bad.error, BatchRejected)
    assert (bad.error.code, bad.error.message) == (INVALID_RECORD, "no" if spoken >= 8 else "")
    assert bad.error.record_indices == ((0,) if spoken >= 8 else ())
    assert [request.version for request in produced(quotes)] == [spoken]
    assert values(quotes) == [b"good"]


@pytest.mark.parametrize("scripted_broker", [3], indirect=True)
async def test_a_round_is_one_request_for_each_leader(quotes: ScriptedBroker) -> None:
    """All batches for a broker are in one request, and each request is answered by itself."""
    leaders = [0, 1, 2, 0]
    for partition, node in enumerate(leaders):
        quotes.move_leader(QUOTES, partition, node)
    told: list[list[BatchAnswer]] = []
    async with started(quotes) as producer:
        producer.send([batch(number) for number in range(4)], lambda answers: told.append(list(answers)))
        await eventually(lambda: sum(map(len, told)) == 4, "four answers")
    sent = {request.node: [one.partition for one in request.batches] for request in produced(quotes)}
    assert sent == {0: [0, 3], 1: [1], 2: [2]}
    assert len(produced(quotes)) == len(told) == 3
    assert {answer.error for answers in told for answer in answers} == {None}


async def test_a_broker_has_one_request_at_a_time(quotes: ScriptedBroker) -> None:
    """What comes meanwhile waits, and goes out together."""
    answers = Answers()
    rule = quotes.add_rule("Produce", delay_seconds=LONG_SECONDS, times=1)
    async with started(quotes) as producer:
        assert producer.busy_since(QUOTES, 3) is None
        producer.send([batch(0)], answers.extend)
        assert producer.busy_since(QUOTES, 3) is not None
        for number in (1, 2, 3):
            producer.send([batch(number)], answers.extend)
        await eventually(lambda: produced(quotes), "the first request")
        rule.remove()
        await answers.arrive(4)
        assert producer.busy_since(QUOTES, 3) is None
    assert [len(request.batches) for request in produced(quotes)] == [1, 3]
    assert answers.errors == [None] * 4


async def test_a_request_is_bounded_but_a_batch_is_not(quotes: ScriptedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches beyond the size of a request wait for the next one; a larger one goes alone."""
    monkeypatch.setattr(produce_requests, "MAX_REQUEST_BYTES", 1500)
    answers = Answers()
    sizes = (600, 600, 4000, 600)
    async with started(quotes) as producer:
        producer.send([batch(number, bytes(size)) for number, size in enumerate(sizes)], answers.extend)
        await answers.arrive(4)
    assert [[one.partition for one in request.batches] for request in produced(quotes)] == [[0, 1], [2], [3]]


@pytest.mark.parametrize("scripted_broker", [2], indirect=True)
async def test_a_batch_follows_its_leader_under_its_sequence_number(quotes: ScriptedBroker) -> None:
    """The old leader says so; with newer metadata the same batch goes to the new one."""
    answers = Answers()
    async with started(quotes) as producer:
        producer.send([batch(0, b"1", b"2")], answers.extend)
        await answers.arrive(1)
        new = 1 - quotes.leader_of(QUOTES, 0)
        quotes.move_leader(QUOTES, 0, new)
        producer.send([batch(0, b"3")], answers.extend)
        await answers.arrive(2)
        assert isinstance(answers[1].error, BatchRejected)
        assert answers[1].error.code == NOT_LEADER
        producer.rewind(QUOTES, 0, 1)
        producer.refresh_metadata()
        await eventually(lambda: producer._client.leader(QUOTES, 0) == new, "the new leader")
        producer.send([batch(0, b"3")], answers.extend)
        await answers.arrive(3)
    sent = produced(quotes)
    assert [request.batches[0].first_sequence for request in sent] == [0, 2, 2]
    assert sent[-1].node == new
    assert values(quotes) == [b"1", b"2", b"3"]


async def test_a_lost_answer_costs_no_repeat(quotes: ScriptedBroker) -> None:
    """The batch fails once, and a repetition on a new connection is recognized by the broker."""
    quotes.add_rule("Produce", disconnect="after", times=1)
    answers = Answers()
    async with started(quotes) as producer:
        producer.send([batch(0, b"1")], answers.extend)
        await answers.arrive(1)
        producer.rewind(QUOTES, 0, 1)
        producer.send([batch(0, b"1")], answers.extend)
        await answers.arrive(2)
    assert answers.errors == ["KafkaConnectionError", None]
    assert values(quotes) == [b"1"]


async def test_a_connection_that_is_being_cut_takes_nothing(quotes: ScriptedBroker) -> None:
    """What is sent in the moment before its end is noticed goes out on a new one."""
    answers = Answers()
    async with started(quotes) as producer:
        connection_of(producer).abort()
        producer.send([batch(0)], answers.extend)
        await answers.arrive(1)
    assert answers.errors == [None]
    assert len(produced(quotes)) == 1


async def test_an_answer_that_does_not_come_in_time_ends_the_connection(quotes: ScriptedBroker) -> None:
    """Whatever waits for the broker goes out on a new one."""
    quotes.add_rule("Produce", delay_seconds=LONG_SECONDS, times=1)
    answers = Answers()
    async with started(quotes, request_timeout_ms=300) as producer:
        first = connection_of(producer)
        producer.send([batch(0)], answers.extend)
        producer.send([batch(1)], answers.extend)
        await answers.arrive(2)
        assert connection_of(producer) is not first
    assert answers.errors == ["RequestTimedOutError", None]
    assert len(produced(quotes)) == 2


async def test_a_broker_that_throttles_gets_nothing_meanwhile(quotes: ScriptedBroker) -> None:
    """The batches wait for as long as it asked (KIP-219), and then go out."""
    quotes.add_rule("Produce", throttle_seconds=0.3, times=1)
    answers = Answers()
    async with started(quotes) as producer:
        producer.send([batch(0)], answers.extend)
        await answers.arrive(1)
        producer.send([batch(1)], answers.extend)
        assert producer.busy_since(QUOTES, 1) is not None
        await answers.arrive(2)
    first, second = produced(quotes)
    assert second.time - first.time >= 0.3
    assert answers.errors == [None, None]


async def test_nothing_is_written_if_nothing_may_be_sent(quotes: ScriptedBroker) -> None:
    """The batches come back unsent, those that waited for the broker, too; sent later, they are the first."""
    allowed = True
    answers = Answers()
    delay = quotes.add_rule("Produce", delay_seconds=LONG_SECONDS, times=1)
    async with started(quotes, lambda: allowed) as producer:
        producer.send([batch(0, b"1")], answers.extend)
        producer.send([batch(1, b"2")], answers.extend)
        await eventually(lambda: produced(quotes), "the first request")
        allowed = False
        delay.remove()
        await answers.arrive(2)
        producer.send([batch(2), batch(3)], answers.extend)
        assert answers.errors == [None, "NotSent", "NotSent", "NotSent"]
        assert producer.busy_since(QUOTES, 0) is None
        for number in (1, 2, 3):
            producer.rewind(QUOTES, number, 1)
        assert len(produced(quotes)) == 1
        allowed = True
        producer.send([batch(1, b"2")], answers.extend)
        await answers.arrive(5)
    assert [one.first_sequence for request in produced(quotes) for one in request.batches] == [0, 0]
    assert sorted(filter(None, values(quotes))) == [b"1", b"2"]


async def test_it_is_asked_again_behind_a_new_connection(quotes: ScriptedBroker) -> None:
    """A permission that ends while a connection is opened counts."""
    asked = 0

    def may_send() -> bool:
        nonlocal asked
        asked += 1
        return False

    answers = Answers()
    async with started(quotes, may_send) as producer:
        connection_of(producer).close()
        producer.send([batch(0)], answers.extend)
        assert (asked, answers) == (0, [])
        await answers.arrive(1)
    assert (asked, answers.errors, produced(quotes)) == (1, ["NotSent"], [])


async def test_a_batch_without_a_leader_fails_at_once(quotes: ScriptedBroker) -> None:
    """Its records are kept elsewhere; the others of the round are sent."""
    answers = Answers()
    async with started(quotes) as producer:
        producer.send([batch(0, topic="unknown"), batch(0)], answers.extend)
        await answers.arrive(2)
    assert {answer.topic: answer.error is None for answer in answers} == {"unknown": False, QUOTES: True}
    assert "LeaderNotAvailableError" in answers.errors


async def test_a_broker_that_cannot_be_reached_fails_its_batches(quotes: ScriptedBroker) -> None:
    """Those that wait with them, too, and the reason is known."""
    answers = Answers()
    async with started(quotes) as producer:
        quotes.add_rule("Metadata", advertised={0: "127.0.0.1:1"})
        producer.refresh_metadata()
        await eventually(lambda: producer._client.cluster.broker_metadata(0).port == 1, "the new address")
        connection_of(producer).close()
        producer.send([batch(0), batch(1)], answers.extend)
        producer.send([batch(2)], answers.extend)
        await answers.arrive(3)
        assert answers.errors == ["NodeNotReadyError"] * 3
        assert "cannot be reached at 127.0.0.1:1" in producer.last_failure


async def test_a_connection_that_is_lost_at_once_fails_its_batches(
    quotes: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a broker that closes every connection would be connected to again and again, without a pause."""
    opened = 0

    async def open_and_lose(host: str, port: int, **options: object) -> Connection:
        nonlocal opened
        opened += 1
        connection = await really_open(host, port, **options)
        connection.close()
        return connection

    really_open = Connection.open
    answers = Answers()
    async with started(quotes) as producer:
        connection_of(producer).close()
        monkeypatch.setattr(Connection, "open", open_and_lose)
        producer.send([batch(0), batch(1)], answers.extend)
        await answers.arrive(2)
        assert (answers.errors, opened) == (["KafkaConnectionError"] * 2, 1)


async def test_a_batch_ends_once_when_its_producer_is_abandoned(quotes: ScriptedBroker) -> None:
    """Sent or waiting; no answer comes after that, and nothing can be sent."""
    answers = Answers()
    rule = quotes.add_rule("Produce", delay_seconds=LONG_SECONDS)
    async with started(quotes) as producer:
        producer.send([batch(0)], answers.extend)
        producer.send([batch(1)], answers.extend)
        await eventually(lambda: produced(quotes), "the request")
        await producer.abandon()
        assert answers.errors == ["ProducerClosed", "ProducerClosed"]
        rule.remove()
        await eventually(lambda: quotes.connections()[1] == 0, "all connections are closed")
        with pytest.raises(Exception, match="ProducerClosed"):
            producer.send([batch(2)], answers.extend)
        assert producer.has_ended()
    assert len(answers) == 2
    assert len(produced(quotes)) == 1


async def test_a_connection_that_is_opened_meanwhile_does_not_outlive_its_producer(quotes: ScriptedBroker) -> None:
    """Whoever asks the brokers while the producer is abandoned leaves nothing open."""
    async with started(quotes) as producer:
        connection_of(producer).close()
        rule = quotes.add_rule("ApiVersions", delay_seconds=LONG_SECONDS)
        mark = quotes.request_count
        asking = asyncio.create_task(producer.why_silent())
        await eventually(lambda: quotes.requests("ApiVersions", mark), "a new connection")
        await producer.abandon()
        rule.remove()
        assert await asking
        await eventually(lambda: quotes.connections()[1] == 0, "all connections are closed")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (struct.pack(">ii", 0, 0), None),
        (struct.pack(">i", 99), "KafkaConnectionError"),
        (struct.pack(">iii", 1, 0, 0), "KafkaConnectionError"),
    ],
    ids=["names no batch", "ends early", "is something else"],
)
async def test_an_answer_that_says_nothing_is_no_acknowledgement(
    quotes: ScriptedBroker, answer: bytes, error: str | None
) -> None:
    """The batches are sent again: a broker may have them."""
    answers = Answers()
    quotes.add_rule("Produce", delay_seconds=LONG_SECONDS)
    async with started(quotes) as producer:
        connection = connection_of(producer)
        producer.send([batch(0)], answers.extend)
        frame = struct.pack(">i", connection._correlation_id) + answer
        connection._receive(struct.pack(">i", len(frame)) + frame)
        [ended] = answers
        if error is None:
            assert isinstance(ended.error, BatchRejected)
            assert ended.error.name == "UNKNOWN_SERVER_ERROR"
        else:
            assert answers.errors == [error]
            assert not connection.connected()


async def test_an_answer_to_another_request_ends_the_connection(quotes: ScriptedBroker) -> None:
    """Nothing that it carries can be trusted any more."""
    answers = Answers()
    quotes.add_rule("Produce", delay_seconds=LONG_SECONDS)
    async with started(quotes) as producer:
        connection = connection_of(producer)
        producer.send([batch(0)], answers.extend)
        connection._receive(struct.pack(">iiii", 12, connection._correlation_id + 1, 0, 0))
        assert answers.errors == ["CorrelationIdError"]
        assert not connection.connected()


class Heard(Exchange):
    """A request whose answer is kept."""

    def __init__(self) -> None:
        self.answer: bytes | None = None

    def receive(self, answer: bytes, at: int) -> None:
        """Keep the answer."""
        self.answer = answer[at:]

    def set_exception(self, error: BaseException) -> None:
        """Fail the test."""
        raise error

    def done(self) -> bool:
        """Return whether there is an answer."""
        return self.answer is not None


@given(bodies=some.lists(some.binary(max_size=30), min_size=1, max_size=6), data=some.data())
def test_answers_are_cut_out_however_they_arrive(bodies: list[bytes], data: some.DataObject) -> None:
    """Frames may come in pieces, and several at once."""

    async def receive() -> list[bytes | None]:
        connection = Connection("", 0)
        connection._writer = object()  # it counts as open
        requests = [Heard() for _ in bodies]
        connection._requests.extend((number, one, one) for number, one in enumerate(requests))
        wire = b"".join(struct.pack(">ii", 4 + len(body), number) + body for number, body in enumerate(bodies))
        at = 0
        while at < len(wire):
            end = data.draw(some.integers(at + 1, len(wire)))
            connection._receive(wire[at:end])
            at = end
        assert not connection._unread
        return [one.answer for one in requests]

    assert asyncio.run(receive()) == bodies


def test_sequence_numbers_begin_again_at_zero() -> None:
    """After 2**31 - 1 comes 0, as in Kafka's own client; a rewind goes back over that."""
    sequences, place = SequenceNumbers(), (QUOTES, 0)
    assert sequences.take(place, (1 << 31) - 2) == 0
    assert sequences.take(place, 5) == (1 << 31) - 2
    assert sequences.take(place, 1) == 3
    sequences.rewind(place, 1)
    sequences.rewind(place, 5)
    assert sequences.take(place, 1) == (1 << 31) - 2
    assert sequences.take((QUOTES, 1), 1) == 0
