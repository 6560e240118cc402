"""Faults of a few records or of one partition, at the publisher with a producer that a test answers for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import KafkaConnectionError
from structlog.testing import capture_logs

from bridge.kafka import batch_recovery, batch_sender
from bridge.kafka.error_policy import BatchRejected
from bridge.topics import Topic
from tests.kafka.test_publisher_faults import (
    NAMES,
    NOT_ENOUGH_REPLICAS,
    SALES,
    TOO_LARGE,
    TOPIC_DENIED,
    Kafka,
    publishing,
    quick,
)
from tests.support.service import eventually

if TYPE_CHECKING:
    from bridge.pipeline.partition_queue import PartitionQueue
    from bridge.pipeline.record_buffer import RecordBuffer

__all__ = ["quick"]  # the fixture that shortens every wait
INVALID_TIMESTAMP = 32


def timesales_queues(buffer: RecordBuffer) -> list[PartitionQueue]:
    """Return the queues of executions, in the order of their partitions."""
    return [queue for queue in buffer.queues() if queue.topic is Topic.TIMESALES]


async def answered(kafka: Kafka, refuses: set[int], letters: int) -> list[int]:
    """Answer each batch of executions until so many dead letters are sent; return the ``seq`` of those taken."""
    taken: list[int] = []
    number = 0
    while letters:
        batch = await kafka.batch(0, number)
        number += 1
        if batch.topic == SALES:
            seqs = [record["seq"] for record in (await kafka.sales())[: batch.records]]
            if refuses.intersection(seqs):
                batch.reject(BatchRejected(TOO_LARGE))
                continue
            taken += seqs
        elif batch.topic == NAMES[Topic.DLQ]:
            letters -= batch.records
        batch.acknowledge()
        await asyncio.sleep(0)
    return taken


async def test_records_at_fault_one_behind_the_other_do_not_block_their_topic() -> None:
    """The search goes further each time, so that a run of them is passed, in order, with the gap marked."""
    async with publishing() as kafka:
        kafka.add_sales("0", "1", "2", "3", "4", "5")
        bad = {0, 1, 2, 3}
        taken = await answered(kafka, bad, letters=4)
        rest = await kafka.sales()
        assert [*taken, *(record["seq"] for record in rest)] == [4, 5]
        assert kafka.pipeline.accounts.dead_lettered == {"record_refused": 4}
        assert kafka.publisher.state.rebuilds == 0


async def test_what_was_taken_before_an_earlier_search_proves_nothing() -> None:
    """A topic that took halves of a batch, and refuses everything later, loses nothing."""
    async with publishing() as kafka:
        kafka.add_sales("0", "1")
        (await kafka.batch(0)).reject(BatchRejected(TOO_LARGE))
        for number in (1, 2):
            (await kafka.batch(0, number)).acknowledge()
        kafka.add_sales("2", "3")
        number = 3
        while not kafka.is_held:
            (await kafka.batch(0, number)).reject(BatchRejected(INVALID_TIMESTAMP))
            number += 1
            sent = kafka.producers[0].sent
            await eventually(lambda sent=sent, at=number: len(sent) > at or kafka.is_held, "the next attempt")  # type: ignore[misc]
        assert [record["seq"] for record in await kafka.sales()] == [2, 3]
        assert kafka.pipeline.accounts.dead_lettered.total() == 0


async def test_a_batch_that_a_broker_may_have_stays_whole_though_its_topic_is_denied_meanwhile() -> None:
    """The lost answer may have been an acknowledgement: with more records the broker would not recognize it."""
    async with publishing() as kafka:
        kafka.add(Topic.TIMESALES, b"1", b"2")
        (await kafka.batch(0)).reject(KafkaConnectionError())
        kafka.add(Topic.TIMESALES, b"3")
        (await kafka.batch(0, 1)).reject(BatchRejected(TOPIC_DENIED))
        assert (await kafka.batch(0, 2)).records == 2


async def test_a_partition_that_is_refused_again_and_again_is_told_once() -> None:
    """Its topic's other partitions are published meanwhile, and do not count as its recovery."""
    async with publishing() as kafka:
        buffer, producer = kafka.pipeline.buffer, kafka.producers[0]
        buffer.open({Topic.TIMESALES: 2})
        refused, healthy = timesales_queues(buffer)
        buffer.add(refused, (1, b"AAPL", b"1", None))
        with capture_logs() as logs:
            rejected = taken = number = 0
            while rejected < 3 * batch_recovery.MAX_QUICK_RESENDS:
                batch = await kafka.batch(0, number)
                number += 1
                if batch.partition == refused.partition:
                    batch.reject(BatchRejected(NOT_ENOUGH_REPLICAS))
                    rejected += 1
                    buffer.add(healthy, (1, b"MSFT", b"1", None))
                else:
                    batch.acknowledge()
                    taken += 1
        assert [line["event"] for line in logs] == ["topic not writable, buffering"]
        assert taken > batch_recovery.MAX_QUICK_RESENDS
        assert producer is kafka.producers[-1]


async def test_a_record_set_aside_keeps_its_follower_when_stalled_queues_shed() -> None:
    """The one behind it stands for it; dropping both would leave nothing to put it back before."""
    async with publishing() as kafka:
        buffer = kafka.pipeline.buffer
        kafka.add_sales("0", "1", "2")
        [queue] = timesales_queues(buffer)
        (await kafka.batch(0)).reject(BatchRejected(TOO_LARGE))
        number = 1
        while not queue.suspects:
            (await kafka.batch(0, number)).reject(BatchRejected(TOO_LARGE))
            number += 1
            await asyncio.sleep(0)
            await eventually(lambda: queue.suspects or len(kafka.producers[0].sent) > number, "the next attempt")  # noqa: B023
        probe = await kafka.batch(0, number)
        kafka.producers[0].leaderless.add(SALES)
        buffer.budget_bytes = 1
        probe.reject(KafkaConnectionError())
        await eventually(kafka.pipeline.accounts.dropped.total, "records are dropped")
        buffer.requeue()
        assert [record["seq"] for record in await kafka.sales()] == [0, 1]


async def test_an_answer_that_comes_after_the_records_were_given_up_changes_nothing() -> None:
    """A drain leaves a blocked topic's batch in flight; its failure must not be sent again without records."""
    async with publishing() as kafka:
        kafka.add(Topic.TIMESALES, b"1")
        batch = await kafka.batch(0)
        kafka.pipeline.buffer.give_up(keep=Topic.CONTROL)
        batch.reject(KafkaConnectionError())
        await asyncio.sleep(0)
        kafka.add(Topic.QUOTES, b"2")
        assert (await kafka.batch(0, 1)).topic == NAMES[Topic.QUOTES]
        assert kafka.producers[0].rewound == []


async def test_a_queue_that_is_emptied_after_it_was_taken_is_passed_over() -> None:
    """Shedding may drop the last record of a queue that the sender is about to send."""
    async with publishing() as kafka:
        buffer = kafka.pipeline.buffer
        kafka.add(Topic.TIMESALES, b"1")
        [queue] = buffer.take_ready()
        buffer.remove_waiting(queue, 0)
        buffer.defer(queue)
        buffer.resume_deferred()
        kafka.add(Topic.QUOTES, b"2")
        assert (await kafka.batch(0)).topic == NAMES[Topic.QUOTES]
        kafka.add(Topic.TIMESALES, b"3")
        assert (await kafka.batch(0, 1)).records == 1


@pytest.mark.parametrize("everything", [False, True])
async def test_a_drain_leaves_a_blocked_topic_only_if_others_can_be_written(
    monkeypatch: pytest.MonkeyPatch, *, everything: bool
) -> None:
    """Where nothing can, Kafka is down, and may come back before the deadline."""
    monkeypatch.setattr(batch_sender, "DRAIN_CHECK_SECONDS", 0.001)
    monkeypatch.setattr(batch_sender, "BLOCKED_DRAIN_SECONDS", 0.001)
    async with publishing() as kafka:
        kafka.producers[0].leaderless.update(NAMES.values() if everything else {SALES})
        kafka.add(Topic.TIMESALES, b"1")
        drain = asyncio.create_task(kafka.publisher.drained())
        done, _ = await asyncio.wait([drain], timeout=0.2 if everything else 10)
        assert bool(done) is not everything
        kafka.producers[0].leaderless.clear()
        if everything:
            (await kafka.batch(0)).acknowledge()
        await drain


async def test_a_drain_leaves_a_topic_that_is_refused_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Being refused is no progress, however often it happens."""
    monkeypatch.setattr(batch_sender, "DRAIN_CHECK_SECONDS", 0.001)
    monkeypatch.setattr(batch_sender, "BLOCKED_DRAIN_SECONDS", 0.05)
    async with publishing() as kafka:
        kafka.add(Topic.TIMESALES, b"1")
        drain = asyncio.create_task(kafka.publisher.drained())
        number = 0
        while not drain.done():
            if len(kafka.producers[0].sent) > number:
                kafka.producers[0].sent[number].reject(BatchRejected(NOT_ENOUGH_REPLICAS))
                number += 1
            await asyncio.sleep(0)
            assert number < 1_000
        assert kafka.values(Topic.TIMESALES) == [b"1"]


async def test_a_follower_that_a_broker_may_have_stays_first_though_its_topic_is_denied_meanwhile() -> None:
    """The record set aside would be taken for it: it would have the same sequence number."""
    async with publishing() as kafka:
        kafka.add_sales("0", "1", "2")
        [queue] = timesales_queues(kafka.pipeline.buffer)
        number = 0
        while not queue.suspects:
            (await kafka.batch(0, number)).reject(BatchRejected(TOO_LARGE))
            number += 1
            await asyncio.sleep(0)
        for error in (KafkaConnectionError(), BatchRejected(TOPIC_DENIED)):
            (await kafka.batch(0, number)).reject(error)
            number += 1
        again = await kafka.batch(0, number)
        assert (again.records, [record["seq"] for record in await kafka.sales()]) == (1, [1, 2])


async def test_what_was_sent_before_a_rejection_proves_nothing() -> None:
    """The topic may have begun to refuse everything in between."""
    async with publishing() as kafka:
        buffer = kafka.pipeline.buffer
        buffer.open({Topic.TIMESALES: 2})
        first, second = timesales_queues(buffer)
        buffer.add(first, (1, b"AAPL", b"1", None))
        buffer.add(second, (1, b"MSFT", b"2", None))
        rejected, accepted = await kafka.batch(0), await kafka.batch(0, 1)
        rejected.reject(BatchRejected(INVALID_TIMESTAMP))
        accepted.acknowledge()
        number = 2
        while not kafka.is_held:
            (await kafka.batch(0, number)).reject(BatchRejected(INVALID_TIMESTAMP))
            number += 1
            sent = kafka.producers[0].sent
            await eventually(lambda sent=sent, at=number: len(sent) > at or kafka.is_held, "the next attempt")  # type: ignore[misc]
        assert len(first) == 1
        assert kafka.pipeline.accounts.dead_lettered.total() == 0
