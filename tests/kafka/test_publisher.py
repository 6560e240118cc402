"""How long records wait to be sent together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.clock import wall_us
from bridge.kafka.batch_sender import MIN_LINGER_SECONDS, Batching
from bridge.topics import Topic
from tests.support.service import eventually, publishing

if TYPE_CHECKING:
    from bridge.app import Bridge
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from bridge.pipeline.partition_queue import PartitionQueue

#: Nothing of a test takes so long.
A_MINUTE = {"KAFKA_LINGER_MS": "60000"}
#: Of the event loop: what is sent without a wait is sent in the first of them.
TURNS = 100


def add(bridge: Bridge, value: bytes) -> PartitionQueue:
    """Queue a record, and return its queue."""
    queue = bridge.buffer.queue_for(Topic.QUOTES, b"AAPL")
    bridge.buffer.add(queue, (wall_us(), b"AAPL", value, None))
    return queue


async def test_a_record_after_a_pause_is_sent_at_once(broker: EmbeddedBroker, topics: None, topic_prefix: str) -> None:
    """Nothing was sent for as long as records may wait for others, so that it waits for none."""
    async with publishing(broker.bootstrap_servers, topic_prefix, **A_MINUTE) as bridge:
        add(bridge, b"first")
        await eventually(lambda: bridge.accounts.published[Topic.QUOTES] == 1, "it is published")


async def test_records_of_a_stream_wait_for_others_until_the_bridge_stops(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Soon after other records they linger, so that batches grow; a bridge that stops sends what it has."""
    async with publishing(broker.bootstrap_servers, topic_prefix, **A_MINUTE) as bridge:
        add(bridge, b"first")
        await eventually(lambda: bridge.accounts.published[Topic.QUOTES] == 1, "it is published")
        queue = add(bridge, b"second")
        add(bridge, b"third")
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert (len(queue.waiting), queue.in_flight) == (2, [])
        await bridge.publisher.drained()
        assert bridge.accounts.published[Topic.QUOTES] == 3


async def test_records_that_wait_go_together_when_the_time_is_over(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """One request has all of them."""
    async with publishing(broker.bootstrap_servers, topic_prefix, KAFKA_LINGER_MS="100") as bridge:
        rounds = bridge.latency.produce_ack
        add(bridge, b"first")
        await eventually(lambda: bridge.accounts.published[Topic.QUOTES] == 1, "the first is published")
        for number in range(10):
            add(bridge, b"%d" % number)
        await eventually(lambda: bridge.accounts.published[Topic.QUOTES] == 11, "all are published")
        assert {sample.value for sample in rounds.collect().samples if sample.name.endswith("_count")} == {2}


async def test_enough_records_for_a_batch_wait_for_no_more(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """They would not fit."""
    settings = {**A_MINUTE, "KAFKA_BATCH_BYTES": "1024"}
    async with publishing(broker.bootstrap_servers, topic_prefix, **settings) as bridge:
        add(bridge, b"first")
        await eventually(lambda: bridge.accounts.published[Topic.QUOTES] == 1, "the first is published")
        add(bridge, bytes(2000))
        await eventually(lambda: bridge.accounts.published[Topic.QUOTES] == 2, "the large one is published")


@pytest.mark.parametrize(("records", "seconds"), [(1, 60), (2, 60), (3, 30), (10, 30)])
async def test_rounds_are_closer_while_they_have_several_records(
    broker: EmbeddedBroker, topics: None, topic_prefix: str, records: int, seconds: float
) -> None:
    """A stream of records that come one by one takes fewer requests, one that fills them waits less."""
    async with publishing(broker.bootstrap_servers, topic_prefix, **A_MINUTE) as bridge:
        loop = asyncio.get_running_loop()
        before = loop.time()
        for number in range(records):
            add(bridge, b"%d" % number)
        await eventually(lambda: bridge.accounts.published[Topic.QUOTES] == records, "they are published")
        after = loop.time()
        add(bridge, b"the next one")
        sender = bridge.publisher._sender
        await eventually(lambda: isinstance(sender._next_round, asyncio.TimerHandle), "it lingers")
        assert isinstance(sender._next_round, asyncio.TimerHandle)
        due = sender._next_round.when() + MIN_LINGER_SECONDS  # it is rounded down
        assert before + seconds <= due <= after + seconds


@pytest.mark.parametrize(
    ("longest", "few", "several"), [(0, 0, 0), (0.001, 0.001, 0.001), (0.002, 0.002, 0.001), (0.02, 0.02, 0.01)]
)
def test_rounds_are_never_closer_than_a_timer_can_tell(longest: float, few: float, several: float) -> None:
    """Else each record would go alone: uvloop counts whole milliseconds."""
    batching = Batching(linger_seconds=longest, batch_bytes=1024, compression="none")
    assert [batching.linger_after(records) for records in (1, 2, 3, 1000)] == [few, few, several, several]
