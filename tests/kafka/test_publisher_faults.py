"""The publisher with a producer that a test answers for: rebuilds, bisecting, blocked topics, moved brokers."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import errors as kafka_errors
from structlog.testing import capture_logs

from bridge.errors import KafkaUnreachable, TopicConfigurationError, UnsupportedLibrary
from bridge.kafka import (
    aiokafka_internals,
    batch_recovery,
    batch_sender,
    metadata_watchdog,
    missing_topics,
    publisher,
    topic_backoff,
)
from bridge.kafka.batch_sender import Batching
from bridge.kafka.broker_support import Lack
from bridge.kafka.error_policy import BatchRejected, NotSent
from bridge.kafka.produce_requests import BatchAnswer
from bridge.kafka.publisher import Publisher
from bridge.market_data import Update, UpdateKind
from bridge.observability.latency import LatencyMetrics
from bridge.pipeline.assembly import Pipeline, assemble
from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.topics import Topic, topic_names
from tests.kafka.fake_producer import FakeProducer, SentBatch
from tests.support.background import in_background
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

SCHEMAS = schemas.load()
NAMES = topic_names("t", {})
QUOTES, SALES = NAMES[Topic.QUOTES], NAMES[Topic.TIMESALES]
#: Codes of the Apache Kafka protocol.
UNKNOWN_TOPIC, NOT_LEADER, TOO_LARGE, NOT_ENOUGH_REPLICAS, TOPIC_DENIED = 3, 6, 10, 19, 29
INVALID_TIMESTAMP, OUT_OF_ORDER, UNKNOWN_PRODUCER_ID, UNSUPPORTED_COMPRESSION, INVALID_RECORD = 32, 45, 59, 76, 87
#: The waits of the code under test, short enough to wait for.
QUICK = 0.001


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every wait."""
    monkeypatch.setattr(publisher, "BACKOFF_MIN_SECONDS", QUICK)
    monkeypatch.setattr(publisher, "BACKOFF_MAX_SECONDS", QUICK)
    monkeypatch.setattr(topic_backoff, "BACKOFF_MIN_SECONDS", QUICK)
    monkeypatch.setattr(topic_backoff, "BACKOFF_MAX_SECONDS", QUICK)
    monkeypatch.setattr(batch_recovery, "RESEND_MIN_SECONDS", QUICK)
    monkeypatch.setattr(batch_recovery, "RESEND_MAX_SECONDS", QUICK)
    monkeypatch.setattr(metadata_watchdog, "DELIVERY_CHECK_SECONDS", QUICK)
    monkeypatch.setattr(metadata_watchdog, "METADATA_CHECK_SECONDS", QUICK)
    monkeypatch.setattr(batch_sender, "SETTLE_SECONDS", 0.05)


class Kafka:
    """The producers that a publisher has started, one after the other, and the records that it is given."""

    def __init__(self, *, delivery_timeout_seconds: float) -> None:
        #: Whether anything may be sent.
        self.may_send = True
        self.producers: list[FakeProducer] = []
        #: Raised by the next attempts to start a producer.
        self.refusals: list[Exception] = []
        self._next: list[FakeProducer] = []
        self.pipeline: Pipeline = assemble(
            SCHEMAS,
            names=NAMES,
            wanted={"AAPL": frozenset({Topic.TIMESALES, Topic.QUOTES})},
            dialect="envelope",
            partition=lambda _key, _partitions: 0,
            budget_bytes=1 << 20,
        )
        self.pipeline.ingest.start_session(7)
        self.publisher = Publisher(
            self.pipeline.buffer,
            self.pipeline.ingest,
            LatencyMetrics(),
            names=NAMES,
            topics=list(Topic),
            options=lambda: {"bootstrap_servers": "kafka:9092"},
            batching=Batching(linger_seconds=0, batch_bytes=1 << 16, compression="none"),
            delivery_timeout_seconds=delivery_timeout_seconds,
            may_send=lambda: self.may_send,
            start_producer=self._start,
        )

    async def _start(
        self, options: Mapping[str, object], topics: Collection[str], timeout_seconds: float
    ) -> FakeProducer:
        if self.refusals:
            raise self.refusals.pop(0)
        self.producers.append(self._next.pop(0) if self._next else FakeProducer())
        return self.producers[-1]

    def starting(self, producer: FakeProducer) -> FakeProducer:
        """Let a start return this producer."""
        self._next.append(producer)
        return producer

    def add(self, topic: Topic, *values: bytes) -> None:
        """Queue records."""
        queue = self.pipeline.buffer.queue_for(topic, b"AAPL")
        for value in values:
            self.pipeline.buffer.add(queue, (1, b"AAPL", value, None))

    def add_sales(self, *prices: str) -> None:
        """Ingest executions of one symbol."""
        for price in prices:
            self.pipeline.ingest.ingest([(b"", Update(UpdateKind.TIMESALE, "AAPL", {"price": price, "size": 1}))], 1)

    async def sales(self) -> list[dict[str, Any]]:
        """Return the executions that are not acknowledged, oldest first."""
        deserializer = Deserializer(SCHEMAS)
        return [(await deserializer.decode(value)).record for value in self.values(Topic.TIMESALES)]

    @property
    def is_held(self) -> bool:
        """Return whether a topic is left alone for a while."""
        return bool(self.publisher._topic_backoff)

    def values(self, topic: Topic) -> list[bytes]:
        """Return the records of a topic that are not acknowledged, oldest first."""
        queue = self.pipeline.buffer.queue_for(topic, b"AAPL")
        return [value for _, _, value, _ in (*queue.in_flight, *queue.waiting)]

    async def acknowledge_until(self, holds: Callable[[], bool]) -> None:
        """Acknowledge every batch of the first producer until a condition holds."""
        number = 0
        while not holds():
            (await self.batch(0, number)).acknowledge()
            number += 1
            await asyncio.sleep(0)

    async def batch(self, producer: int, number: int = 0) -> SentBatch:
        """Wait for a batch that a producer was given, both counted from 0."""
        await eventually(lambda: len(self.producers) > producer, f"producer {producer}")
        sent = self.producers[producer].sent
        await eventually(lambda: len(sent) > number, f"batch {number} of producer {producer}")
        return sent[number]


@asynccontextmanager
async def publishing(*, delivery_timeout_seconds: float = 60.0) -> AsyncIterator[Kafka]:
    """Run a publisher until the block ends."""
    kafka = Kafka(delivery_timeout_seconds=delivery_timeout_seconds)
    await kafka.publisher.connect()
    try:
        async with in_background(kafka.publisher.run()):
            yield kafka
    finally:
        await kafka.publisher.close()


@asynccontextmanager
async def starting(kafka: Kafka) -> AsyncIterator[asyncio.Task[None]]:
    """Start a publisher beside the test, and end it."""
    task = asyncio.create_task(kafka.publisher.connect())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        await kafka.publisher.close()


async def test_acknowledged_records_leave_the_buffer_and_are_accounted_for() -> None:
    """One batch is in flight for a partition; the next one waits for its acknowledgement."""
    async with publishing() as kafka:
        kafka.add(Topic.QUOTES, b"1")
        first = await kafka.batch(0)
        kafka.add(Topic.QUOTES, b"2", b"3")
        await asyncio.sleep(0)
        assert len(kafka.producers[0].sent) == 1
        first.acknowledge()
        second = await kafka.batch(0, 1)
        assert (second.topic, second.records) == (QUOTES, 2)
        second.acknowledge()
        await kafka.publisher.drained()
        assert kafka.pipeline.accounts.published[Topic.QUOTES] == 3
        assert kafka.publisher.state.acking


async def test_a_failed_batch_replaces_the_producer_and_is_sent_again_first() -> None:
    """What was in flight comes before what was queued since, through a new producer."""
    async with publishing() as kafka:
        kafka.add(Topic.QUOTES, b"1", b"2")
        first = await kafka.batch(0)
        kafka.add(Topic.QUOTES, b"3")
        with capture_logs() as logs:
            first.reject(BatchRejected(OUT_OF_ORDER))
            again = await kafka.batch(1)
        assert kafka.producers[0].abandoned
        assert (again.records, kafka.values(Topic.QUOTES)) == (3, [b"1", b"2", b"3"])
        assert kafka.publisher.state.rebuilds == 1
        assert [line["event"] for line in logs] == ["producer replaced, resending", "new producer ready"]
        assert (logs[0]["topic"], logs[0]["records"]) == (QUOTES, 2)


async def test_an_answer_to_a_replaced_producer_is_ignored() -> None:
    """A late acknowledgement must not settle records that were requeued."""
    async with publishing() as kafka:
        kafka.add(Topic.QUOTES, b"1")
        kafka.add(Topic.TIMESALES, b"2")
        lost, late = await kafka.batch(0), await kafka.batch(0, 1)
        lost.reject(BatchRejected(UNKNOWN_PRODUCER_ID))
        await kafka.batch(1, 1)
        late.acknowledge()
        await asyncio.sleep(0)
        assert kafka.values(Topic.TIMESALES) == [b"2"]
        assert kafka.pipeline.accounts.published.total() == 0


async def test_batches_in_flight_may_settle_before_the_producer_is_replaced() -> None:
    """Each batch that is still acknowledged is no repeat."""
    async with publishing() as kafka:
        kafka.add(Topic.QUOTES, b"1")
        kafka.add(Topic.TIMESALES, b"2")
        lost, other = await kafka.batch(0), await kafka.batch(0, 1)
        lost.reject(BatchRejected(UNKNOWN_PRODUCER_ID))
        other.acknowledge()
        await kafka.batch(1)
        assert kafka.pipeline.accounts.published[Topic.TIMESALES] == 1
        assert [batch.topic for batch in kafka.producers[1].sent] == [QUOTES]


async def test_a_rejected_record_is_found_by_halves_and_becomes_a_dead_letter() -> None:
    """Its neighbours are published, by the same producer."""
    async with publishing() as kafka:
        kafka.add(Topic.TIMESALES, b"1", b"2", b"3", b"bad")
        batches = []
        for number, is_bad in enumerate((True, False, True, False, True)):
            batch = await kafka.batch(0, number)
            batches.append(batch.records)
            if is_bad:
                batch.reject(BatchRejected(TOO_LARGE))
            else:
                batch.acknowledge()
        letter = await kafka.batch(0, 5)
        assert (letter.topic, batches) == (NAMES[Topic.DLQ], [4, 2, 2, 1, 1])
        letter.acknowledge()
        await kafka.publisher.drained()
        accounts = kafka.pipeline.accounts
        assert accounts.published[Topic.TIMESALES] == 3
        assert (dict(accounts.dead_lettered), accounts.pending) == ({"record_refused": 1}, 0)
        assert kafka.producers[0].rewound == [(SALES, 0, 4), (SALES, 0, 2), (SALES, 0, 1)]
        assert kafka.publisher.state.rebuilds == 0


async def test_records_that_the_broker_names_are_dead_lettered_without_a_search() -> None:
    """A response with the indices of records at fault takes one more request, however large the batch is."""
    async with publishing() as kafka:
        kafka.add_sales("1", "2", "3", "4", "5")
        (await kafka.batch(0)).reject(BatchRejected(INVALID_RECORD, record_indices=(3, 0)))
        again, letters = await kafka.batch(0, 1), await kafka.batch(0, 2)
        assert {(one.topic, one.records) for one in (again, letters)} == {(SALES, 3), (NAMES[Topic.DLQ], 2)}
        assert [record["after_gap"] for record in await kafka.sales()] == [True, False, True]


@pytest.mark.parametrize("code", [INVALID_TIMESTAMP, INVALID_RECORD, TOO_LARGE, 119])
async def test_a_topic_of_which_every_record_is_rejected_waits_and_loses_nothing(code: int) -> None:
    """It is the topic, not its records: a clock, a validating broker, a limit. All are kept, in order."""
    async with publishing() as kafka:
        kafka.add_sales("1", "2", "3")
        with capture_logs() as logs:
            number = 0
            while not kafka.is_held:
                (await kafka.batch(0, number)).reject(BatchRejected(code))
                number += 1
                sent = kafka.producers[0].sent
                await eventually(lambda sent=sent, at=number: len(sent) > at or kafka.is_held, "the next attempt")  # type: ignore[misc]
        assert [record["seq"] for record in await kafka.sales()] == [0, 1, 2]
        assert [record["after_gap"] for record in await kafka.sales()] == [True, False, False]
        assert kafka.pipeline.accounts.dead_lettered.total() == 0
        [blocked] = [line for line in logs if line["event"] == "topic not writable, buffering"]
        assert (blocked["topic"], blocked["reason"]) == (SALES, str(BatchRejected(code)))
        assert kafka.publisher.state.rebuilds == 0


async def test_a_lone_record_that_is_rejected_waits_for_the_next_one_to_prove_it() -> None:
    """If Kafka accepts the next one, the rejected record is at fault, and the next one has ``after_gap``."""
    async with publishing() as kafka:
        kafka.add_sales("1")
        (await kafka.batch(0)).reject(BatchRejected(INVALID_RECORD))
        await eventually(lambda: kafka.is_held, "the topic is held")
        kafka.add_sales("2", "3")
        (await kafka.batch(0, 1)).reject(BatchRejected(INVALID_RECORD))
        if (probe := await kafka.batch(0, 2)).records > 1:  # the first attempt was a batch of all three
            probe.reject(BatchRejected(INVALID_RECORD))
            probe = await kafka.batch(0, 3)
        [first, *_] = await kafka.sales()
        assert (probe.records, first["seq"], first["after_gap"]) == (1, 1, True)
        probe.acknowledge()
        await eventually(lambda: kafka.pipeline.accounts.published[Topic.TIMESALES] == 1, "one is published")
        letters = kafka.pipeline.buffer.queue_for(Topic.DLQ, b"AAPL")
        assert [reason for *_, reason in (*letters.in_flight, *letters.waiting)] == ["record_refused"]


@pytest.mark.parametrize(
    "error",
    [BatchRejected(NOT_LEADER), kafka_errors.KafkaConnectionError(), kafka_errors.RequestTimedOutError()],
    ids=["moved leader", "connection lost", "no answer"],
)
async def test_a_batch_that_a_broker_may_have_is_sent_again_whole(error: Exception) -> None:
    """With the same records under the same sequence number, so that the broker can recognize it."""
    async with publishing() as kafka:
        kafka.add(Topic.QUOTES, b"1", b"2")
        (await kafka.batch(0)).reject(error)
        kafka.add(Topic.QUOTES, b"3")
        again = await kafka.batch(0, 1)
        assert (again.records, kafka.producers[0].rewound) == (2, [(QUOTES, 0, 2)])
        again.acknowledge()
        assert (await kafka.batch(0, 2)).records == 1
        assert kafka.publisher.state.rebuilds == 0


async def test_an_answer_that_says_not_now_again_and_again_blocks_the_topic_visibly() -> None:
    """A leader election passes quickly; too few replicas in sync may last."""
    async with publishing() as kafka:
        kafka.add(Topic.QUOTES, b"1")
        with capture_logs() as logs:
            for number in range(batch_recovery.MAX_QUICK_RESENDS + 1):
                (await kafka.batch(0, number)).reject(BatchRejected(NOT_ENOUGH_REPLICAS))
            (await kafka.batch(0, batch_recovery.MAX_QUICK_RESENDS + 1)).acknowledge()
            await kafka.publisher.drained()
        events = [line["event"] for line in logs]
        assert events == ["topic not writable, buffering", "topic writable again"]
        assert "min.insync.replicas" in logs[0]["reason"]


@pytest.mark.parametrize("code", [TOPIC_DENIED, UNSUPPORTED_COMPRESSION])
async def test_a_blocked_topic_waits_while_the_others_go_on(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records stay, it is logged once and named, and no producer is replaced for it."""
    monkeypatch.setattr(topic_backoff, "BACKOFF_MIN_SECONDS", 3600.0)
    monkeypatch.setattr(topic_backoff, "BACKOFF_MAX_SECONDS", 3600.0)
    async with publishing() as kafka:
        with capture_logs() as logs:
            kafka.add(Topic.TIMESALES, b"1")
            (await kafka.batch(0)).reject(BatchRejected(code))
            kafka.add(Topic.QUOTES, b"2")
            (await kafka.batch(0, 1)).acknowledge()
            await eventually(lambda: kafka.pipeline.accounts.published[Topic.QUOTES] == 1, "the quote is published")
        assert kafka.values(Topic.TIMESALES) == [b"1"]
        assert kafka.publisher.blocked_topics() == {SALES}
        assert [line["topic"] for line in logs if line["event"] == "topic not writable, buffering"] == [SALES]
        assert kafka.publisher.state.rebuilds == 0


async def test_a_missing_topic_is_reported_by_its_metadata() -> None:
    """A broker only reports an unknown topic or partition; metadata shows which of the two is missing."""
    async with publishing() as kafka:
        with capture_logs() as logs:
            kafka.add(Topic.TIMESALES, b"1")
            batch = await kafka.batch(0)
            kafka.producers[0].missing.add(SALES)
            batch.reject(BatchRejected(UNKNOWN_TOPIC))
            await eventually(lambda: logs, "it is logged")
        assert "the topic does not exist" in logs[0]["reason"]
        assert kafka.publisher.state.rebuilds == 0
        kafka.producers[0].missing.clear()
        (await kafka.batch(0, 1)).acknowledge()
        await eventually(lambda: kafka.pipeline.accounts.published[Topic.TIMESALES] == 1, "published")


async def test_a_blocked_topic_leaves_room_for_the_others() -> None:
    """Its records take a part of the budget and are dropped beyond that; the others are published as before."""
    async with publishing() as kafka:
        buffer, ingest = kafka.pipeline.buffer, kafka.pipeline.ingest
        buffer.budget_bytes = 20_000
        kafka.producers[0].leaderless.add(SALES)
        kafka.add_sales("1")
        await eventually(kafka.publisher.blocked_topics, "the topic is blocked")
        kafka.add_sales(*["1"] * 200)
        assert kafka.pipeline.accounts.dropped[Topic.TIMESALES, "overload"] > 0
        quotes = 0
        for number in range(60):
            ingest.ingest([(b"", Update(UpdateKind.QUOTE, "AAPL", {"bidPrice": str(number)}))], 1)
            batch = await kafka.batch(0, number)
            quotes += batch.topic == QUOTES
            batch.acknowledge()
        await eventually(lambda: kafka.pipeline.accounts.published[Topic.QUOTES] >= quotes, "the quotes are published")
        assert quotes > 50
        assert kafka.pipeline.accounts.conflated.total() == 0
        assert buffer.stalled_bytes <= 15_000


async def test_what_a_blocked_topic_holds_beyond_its_share_is_dropped_visibly() -> None:
    """A topic that filled the budget before it was blocked leaves room for the others; ``after_gap`` follows."""
    async with publishing() as kafka:
        buffer = kafka.pipeline.buffer
        buffer.budget_bytes = 20_000
        kafka.producers[0].leaderless.add(SALES)
        kafka.add_sales(*["1"] * 200)
        await eventually(lambda: buffer.stalled_bytes and buffer.stalled_bytes <= 15_000, "room for the others")
        dropped = kafka.pipeline.accounts.dropped[Topic.TIMESALES, "overload"]
        kafka.producers[0].leaderless.clear()
        published = kafka.pipeline.accounts.published
        await kafka.acknowledge_until(lambda: published[Topic.TIMESALES] + dropped == 200)
        kafka.add_sales("2")
        [*_, last] = await kafka.sales()
        assert (last["seq"], last["after_gap"]) == (200, True)


async def test_a_partition_without_a_leader_waits_and_is_sent_once_it_has_one() -> None:
    """No batch is given to a producer without a leader to send it to; metadata is refreshed meanwhile."""
    async with publishing() as kafka:
        producer = kafka.producers[0]
        producer.leaderless.add(SALES)
        kafka.add(Topic.TIMESALES, b"1")
        await eventually(lambda: producer.metadata_requests, "metadata is asked for")
        assert (producer.sent, kafka.publisher.blocked_topics()) == ([], {SALES})
        producer.leaderless.clear()
        assert (await kafka.batch(0)).topic == SALES
        assert kafka.publisher.state.rebuilds == 0


async def test_a_batch_that_is_not_acknowledged_in_time_replaces_the_producer() -> None:
    """The delivery timeout counts from when the batch was sent."""
    async with publishing(delivery_timeout_seconds=0.01) as kafka:
        kafka.add(Topic.QUOTES, b"1")
        await kafka.batch(0)
        await kafka.batch(1)
        assert "no acknowledgement within 0.01 s" in str(kafka.publisher.state.last_error)


async def test_a_producer_whose_task_has_ended_is_replaced() -> None:
    """Nothing would be sent any more, and nothing would fail."""
    async with publishing() as kafka:
        kafka.producers[0].ended = True
        await eventually(lambda: len(kafka.producers) > 1, "a new producer")
        kafka.add(Topic.QUOTES, b"1")
        assert (await kafka.batch(1)).records == 1


async def test_large_batches_are_made_in_turns_and_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between them others have their turn; what was made when the producer is lost goes through the next one."""
    monkeypatch.setattr(batch_sender, "RECORDS_PER_TURN", 0)
    async with publishing() as kafka:
        kafka.add(Topic.CONTROL, b"0")
        (await kafka.batch(0)).acknowledge()
        kafka.add(Topic.QUOTES, b"1", b"2")
        kafka.add(Topic.TIMESALES, b"3")
        queues = [kafka.pipeline.buffer.queue_for(topic, b"AAPL") for topic in (Topic.QUOTES, Topic.TIMESALES)]
        await asyncio.sleep(0)
        assert [len(queue.in_flight) for queue in queues] == [2, 0]
        kafka.publisher.cut("lost meanwhile")
        again = [await kafka.batch(1, number) for number in range(2)]
        assert len(kafka.producers[0].sent) == 1
        assert [(one.topic, one.records) for one in again] == [(QUOTES, 2), (SALES, 1)]
        for one in again:
            one.acknowledge()
        assert kafka.pipeline.buffer.empty


async def test_a_producer_that_takes_nothing_is_replaced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is in flight that could still be acknowledged."""
    monkeypatch.setattr(batch_sender, "SETTLE_SECONDS", 600.0)
    monkeypatch.setattr(metadata_watchdog, "METADATA_CHECK_SECONDS", 600.0)
    async with publishing() as kafka:
        kafka.producers[0].ended = True
        kafka.add(Topic.QUOTES, b"1", b"2")
        again = await kafka.batch(1)
        assert (again.records, kafka.values(Topic.QUOTES)) == (2, [b"1", b"2"])
        assert kafka.producers[0].abandoned


@pytest.mark.parametrize("error", [None, BatchRejected(NOT_LEADER), NotSent()], ids=["taken", "rejected", "not sent"])
async def test_an_answer_for_records_that_were_given_up_changes_nothing(error: Exception | None) -> None:
    """They are accounted for as undelivered; the others of the same answer count."""
    async with publishing() as kafka:
        kafka.add_sales("1")
        sales = await kafka.batch(0)
        kafka.pipeline.buffer.give_up(keep=Topic.CONTROL)
        kafka.add(Topic.CONTROL, b"the last one")
        control = await kafka.batch(0, 1)
        answers = [BatchAnswer(one.topic, one.partition, None) for one in (sales, control)]
        control.on_answers([answers[0]._replace(error=error), answers[1]])
        accounts = kafka.pipeline.accounts
        assert (accounts.undelivered.total(), accounts.published.total(), accounts.announced) == (1, 0, 1)
        assert kafka.pipeline.buffer.empty


async def test_brokers_that_have_moved_replace_the_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that stays unanswered while Kafka answers at its bootstrap servers is sent again."""
    monkeypatch.setattr(metadata_watchdog, "UNREACHABLE_AFTER_SECONDS", QUICK)
    async with publishing() as kafka:
        kafka.producers[0].stranded = True
        kafka.add(Topic.QUOTES, b"1")
        await kafka.batch(0)
        assert (await kafka.batch(1)).records == 1
        assert "none of the known brokers answers" in str(kafka.publisher.state.last_error)


async def test_kafka_that_cannot_be_reached_is_tried_again() -> None:
    """Each attempt is logged, and the last error is there to see until a producer is connected."""
    async with publishing() as kafka:
        kafka.refusals = [KafkaUnreachable("no route"), KafkaUnreachable("no route")]
        kafka.add(Topic.QUOTES, b"1")
        with capture_logs() as logs:
            (await kafka.batch(0)).reject(BatchRejected(OUT_OF_ORDER))
            await kafka.batch(1)
        unavailable = [line for line in logs if line["event"] == "Kafka unavailable, retrying"]
        assert [line["reason"] for line in unavailable] == ["no route", "no route"]
        assert kafka.publisher.state.connected


async def test_records_of_a_busy_broker_wait_and_go_together() -> None:
    """A batch is filled when its broker takes it."""
    async with publishing() as kafka:
        kafka.add(Topic.TIMESALES, b"1")
        other = await kafka.batch(0)
        kafka.producers[0].busy = {QUOTES: time.monotonic()}
        kafka.add(Topic.QUOTES, b"1")
        buffer = kafka.pipeline.buffer
        await eventually(lambda: buffer.ready_bytes == 0, "the queue waits")
        kafka.add(Topic.QUOTES, b"2")
        assert len(kafka.producers[0].sent) == 1
        kafka.producers[0].busy = {}
        other.acknowledge()
        later = await kafka.batch(0, 1)
        assert (later.topic, later.records) == (QUOTES, 2)


async def test_a_queue_whose_broker_is_silent_is_stalled() -> None:
    """It shares the budget of stalled queues, though none of its batches was sent, until its broker takes one."""
    async with publishing() as kafka:
        queue = kafka.pipeline.buffer.queue_for(Topic.QUOTES, b"AAPL")
        kafka.producers[0].busy = {QUOTES: time.monotonic() - metadata_watchdog.STALLED_AFTER_SECONDS}
        kafka.add(Topic.QUOTES, b"1")
        await eventually(lambda: queue.is_stalled, "the queue is stalled")
        assert kafka.pipeline.buffer.oldest_unanswered() is None
        kafka.producers[0].busy = {}
        (await kafka.batch(0)).acknowledge()
        assert not queue.is_stalled


async def test_nothing_is_sent_while_it_may_not_be() -> None:
    """Records wait in their queues, for which no broker is overdue, and go out when it is allowed."""
    async with publishing() as kafka:
        kafka.may_send = False
        kafka.add(Topic.QUOTES, b"1")
        kafka.add(Topic.TIMESALES, b"2")
        buffer = kafka.pipeline.buffer
        await eventually(lambda: buffer.ready_bytes == 0, "the queues are deferred")
        assert kafka.producers[0].sent == []
        assert buffer.oldest_unanswered() is None
        kafka.may_send = True
        buffer.resume_deferred()
        await kafka.batch(0, 1)
        assert {one.topic for one in kafka.producers[0].sent} == {QUOTES, SALES}


async def test_a_batch_that_was_not_sent_after_all_is_as_if_it_never_had_been() -> None:
    """Its records are the first again, under the same sequence numbers, and its topic and broker are not at fault."""
    async with publishing() as kafka:
        kafka.add(Topic.QUOTES, b"1", b"2")
        first = await kafka.batch(0)
        kafka.may_send = False
        kafka.add(Topic.QUOTES, b"3")
        before = kafka.publisher.state.last_error
        first.reject(NotSent())
        buffer = kafka.pipeline.buffer
        assert kafka.producers[0].rewound == [(QUOTES, 0, 2)]
        assert kafka.values(Topic.QUOTES) == [b"1", b"2", b"3"]
        assert (buffer.oldest_unanswered(), kafka.is_held) == (None, False)
        assert (kafka.publisher.state.last_error, kafka.publisher.state.rebuilds) == (before, 0)
        assert kafka.producers[0].metadata_requests == 0
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(kafka.producers[0].sent) == 1
        kafka.may_send = True
        buffer.resume_deferred()
        again = await kafka.batch(0, 1)
        assert again.records == 3
        again.acknowledge()
        await kafka.publisher.drained()
        assert kafka.pipeline.accounts.published[Topic.QUOTES] == 3


class TestMissingTopics:
    """Topics that do not exist when the bridge starts."""

    @pytest.fixture(autouse=True)
    def often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Look for them again and again."""
        monkeypatch.setattr(missing_topics, "CHECK_SECONDS", QUICK)

    async def test_they_are_waited_for(self) -> None:
        """They are asked for again and again, named once a minute and when others are missing, and used once there."""
        kafka = Kafka(delivery_timeout_seconds=60)
        producer = kafka.starting(FakeProducer(missing={SALES, QUOTES}))
        with capture_logs() as logs:
            async with starting(kafka) as connecting:
                await eventually(lambda: producer.metadata_requests > 3, "topics are asked for")
                assert list(kafka.publisher.state.missing_topics) == [QUOTES, SALES]
                problem = kafka.publisher.problem(0)
                assert problem is not None
                assert problem.startswith(f"waiting for topics: {QUOTES}, {SALES} (")
                assert "aries-bridge topics" in problem
                producer.missing = {SALES}
                await eventually(lambda: len(logs) == 2, "the topic that is left")
                producer.missing = set()
                await connecting
        assert [(line["event"], line["topics"]) for line in logs] == [
            ("topics missing, waiting for them", [QUOTES, SALES]),
            ("topics missing, waiting for them", [SALES]),
        ]
        assert "aries-bridge topics" in logs[0]["hint"]
        assert list(kafka.publisher.state.missing_topics) == []
        assert kafka.pipeline.buffer.partitions(Topic.TIMESALES) == 1

    async def test_they_are_named_again_after_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An operator who looks at the end of the log sees what is missing."""
        monkeypatch.setattr(missing_topics, "REMINDER_SECONDS", 0.0)
        kafka = Kafka(delivery_timeout_seconds=60)
        kafka.starting(FakeProducer(missing={SALES}))
        with capture_logs() as logs:
            async with starting(kafka):
                await eventually(lambda: len(logs) > 2, "reminders")

    async def test_one_that_may_not_be_described_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It may exist: to wait for it would not help."""
        monkeypatch.setattr(missing_topics, "HIDDEN_SECONDS", QUICK)
        kafka = Kafka(delivery_timeout_seconds=60)
        kafka.starting(FakeProducer(missing={SALES, QUOTES}, hidden={SALES}))
        with pytest.raises(TopicConfigurationError, match=f"no topic {QUOTES}, {SALES} .*may not describe"):
            await kafka.publisher.connect()

    async def test_a_right_may_come_a_moment_late(self) -> None:
        """A broker learns of a right after it was granted; nothing is reported before."""
        kafka = Kafka(delivery_timeout_seconds=60)
        producer = kafka.starting(FakeProducer(missing={SALES}, hidden={SALES}))
        with capture_logs() as logs:
            async with starting(kafka) as connecting:
                await eventually(lambda: producer.metadata_requests, "topics are asked for")
                producer.hidden, producer.missing = set(), set()
                await connecting
        assert logs == []

    async def test_kafka_may_go_away_meanwhile(self) -> None:
        """A producer whose brokers are silent is replaced, and the wait goes on."""
        kafka = Kafka(delivery_timeout_seconds=60)
        first = kafka.starting(FakeProducer(missing={SALES}))
        with capture_logs() as logs:
            async with starting(kafka) as connecting:
                await eventually(lambda: first.metadata_requests, "topics are asked for")
                second = kafka.starting(FakeProducer())
                first.silence = "broker 1 is gone"
                await connecting
        assert first.abandoned
        assert not second.abandoned
        assert [line["reason"] for line in logs if line["event"] == "Kafka connection lost"] == ["broker 1 is gone"]


class TestStates:
    """Whether Kafka is connected and acknowledges is known and told, also when there is nothing to send."""

    @pytest.fixture(autouse=True)
    def often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ask brokers again and again."""
        monkeypatch.setattr(metadata_watchdog, "ASK_AFTER_SECONDS", QUICK)

    async def test_a_loss_and_a_recovery_are_one_line_each(self) -> None:
        """A quiet feed hides no outage: brokers are asked, the error is kept, and the recovery has its duration."""
        with capture_logs() as logs:
            async with publishing() as kafka:
                kafka.add(Topic.QUOTES, b"1")
                (await kafka.batch(0)).acknowledge()
                state = kafka.publisher.state
                await eventually(lambda: kafka.publisher.problem(0) is None, "an acknowledgement")
                before_us = state.connected_since_us
                kafka.producers[0].silence = "broker 1 cannot be reached at k:1: refused"
                await eventually(lambda: not state.connected, "the silence is noticed")
                assert state.last_error == "broker 1 cannot be reached at k:1: refused"
                assert state.connected_since_us > before_us
                await eventually(lambda: len(logs) == 2, "both states are told")
                kafka.producers[0].silence = ""
                await eventually(lambda: len(logs) == 4, "both states are told again")
                assert state.connected_since_us > before_us
        lost, missing, *recovered = logs
        assert (lost["event"], lost["log_level"]) == ("Kafka connection lost", "warning")
        assert (missing["event"], missing["log_level"]) == ("records not acknowledged, buffering", "warning")
        assert missing["reason"] == "not connected: broker 1 cannot be reached at k:1: refused"
        assert sorted(line["event"] for line in recovered) == [
            "Kafka connection restored",
            "records acknowledged again",
        ]
        assert all(line["seconds"] >= 0 and line["log_level"] == "info" for line in recovered)

    async def test_a_failed_connection_of_a_batch_is_followed_up(self) -> None:
        """What the client said last is the error, and the brokers are asked whether they are all gone."""
        async with publishing() as kafka:
            kafka.add(Topic.QUOTES, b"1")
            kafka.producers[0].last_failure = "broker 2 cannot be reached at k:2: refused"
            (await kafka.batch(0)).reject(kafka_errors.NodeNotReadyError("node id 2"))
            state = kafka.publisher.state
            await eventually(lambda: state.last_error, "the error")
            assert state.last_error == "broker 2 cannot be reached at k:2: refused"
            assert state.connected  # another broker answers

    async def test_brokers_that_have_moved_are_found_with_nothing_to_send(self) -> None:
        """A producer whose brokers are all silent while Kafka can be reached is replaced."""
        async with publishing() as kafka:
            kafka.producers[0].stranded = True
            kafka.producers[0].silence = "gone"
            await eventually(lambda: len(kafka.producers) == 2, "a new producer")


async def test_a_compression_that_brokers_do_not_support_is_found_at_the_start() -> None:
    """Nothing is read meanwhile; the start is tried again, as brokers may be upgraded."""
    kafka = Kafka(delivery_timeout_seconds=60)
    first = kafka.starting(FakeProducer(lack=Lack("no zstd", "Set KAFKA_COMPRESSION.")))
    with capture_logs() as logs:
        async with starting(kafka) as connecting:
            await connecting
    assert first.abandoned
    assert [line["reason"] for line in logs] == ["Kafka at kafka:9092 cannot be used: no zstd. Set KAFKA_COMPRESSION."]


async def test_close_is_graceful_only_if_nothing_is_in_flight() -> None:
    """A producer with batches in flight could wait for ever for their acknowledgements."""
    async with publishing() as kafka:
        pass
    assert (kafka.producers[0].closed, kafka.producers[0].abandoned) == (True, False)
    async with publishing() as kafka:
        kafka.add(Topic.QUOTES, b"1")
        await kafka.batch(0)
    assert (kafka.producers[0].closed, kafka.producers[0].abandoned) == (False, True)


async def test_a_library_without_a_name_that_is_used_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start fails with the version that is needed, instead of failing later."""
    names: dict[str, Any] = {"client": ("_conns",), "connection": ("_gone",)}
    monkeypatch.setattr(aiokafka_internals, "REQUIRED", names)
    with pytest.raises(UnsupportedLibrary, match=r"lacks connection\._gone.*install aiokafka 0\.14\.0"):
        await Kafka(delivery_timeout_seconds=60).publisher.connect()
