"""Marks are read from the end of the topic of the shards, and from there on each of them; and written one by one."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined] # public all the same

from bridge import settings
from bridge.errors import KafkaUnreachable, SettingsError, TopicConfigurationError
from bridge.group.marks import MAX_SHARDS, Mark, MarkKind, decode, encode
from bridge.group.marks_topic import TAIL_MARKS, MarkReader, MarkWriter
from bridge.kafka.client_options import client_options
from bridge.kafka.consumer import open_consumer
from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.settings.kafka_side import kafka_settings
from tests.support import consumer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.support.brokers import RealKafka


def mark(epoch: int, shard: int = 0, shards: int = 1) -> Mark:
    return Mark(kind=MarkKind.HOLD, shard=shard, shards=shards, epoch=epoch, owner="a", process="p")


def write(servers: str, topic: str, epochs: Iterable[int], shard: int = 0, values: Iterable[bytes] = ()) -> None:
    producer = Producer({"bootstrap.servers": servers})
    for epoch in epochs:
        key, value = encode(mark(epoch, shard))
        producer.produce(topic, value, key, shard)
    for value in values:
        producer.produce(topic, value, b"0", shard)
    assert producer.flush(30) == 0


@asynccontextmanager
async def reading(servers: str, topic: str, shards: int = 1) -> AsyncIterator[MarkReader]:
    kafka = kafka_settings(servers, {})
    async with open_consumer(kafka, "test") as reading, open_consumer(kafka, "test") as asking:
        yield MarkReader(reading, asking, topic, shards)


@asynccontextmanager
async def writing(servers: str, topic: str) -> AsyncIterator[MarkWriter]:
    kafka = kafka_settings(servers, {})
    writer = MarkWriter(topic, lambda: client_options(kafka, "test"))
    try:
        yield writer
    finally:
        await writer.close()


async def read_to_end(reader: MarkReader) -> list[int]:
    ends, found = await reader.ends(), []
    async with asyncio.timeout(30):
        while not await reader.has_read(ends):
            found += [mark.epoch for mark in await reader.read(0.1)]
    return found


async def test_only_the_newest_marks_are_read(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """A topic holds a week of marks; what was written meanwhile is read from where the reader was."""
    topic = f"{topic_prefix}.shards"
    broker.create_topics([topic])
    write(broker.bootstrap_servers, topic, range(TAIL_MARKS + 500))
    async with reading(broker.bootstrap_servers, topic) as reader:
        assert await read_to_end(reader) == list(range(500, TAIL_MARKS + 500))
        write(broker.bootstrap_servers, topic, range(9000, 9000 + TAIL_MARKS + 7))
        assert await read_to_end(reader) == list(range(9000, 9000 + TAIL_MARKS + 7))


async def test_what_is_no_mark_is_passed_over(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """A later version may write other records, and a person may write anything."""
    topic = f"{topic_prefix}.shards"
    broker.create_topics([topic])
    write(broker.bootstrap_servers, topic, [1], values=NO_MARKS)
    write(broker.bootstrap_servers, topic, [2])
    async with reading(broker.bootstrap_servers, topic) as reader:
        assert await read_to_end(reader) == [1, 2]


NO_MARKS = [
    b"",
    b"[]",
    b'{"kind":"hope"}',
    b"\xff",
    b'{"kind":"claim","owner":"\xff"}',
    b'{"a":' * 3000,
    b'{"kind":"claim","x":' + b"[" * 20000,
]
#: Fields of a mark that no bridge writes.
IMPOSSIBLE = [
    {"epoch": -1},
    {"epoch": 2**63 - 1},
    {"epoch": 2**64},
    {"shard": -1},
    {"shard": MAX_SHARDS},
    {"shards": 0},
    {"shards": MAX_SHARDS + 1},
    {"lease_ms": -1},
    {"lease_ms": 10**9},
    {"session_id": 2**63},
    {"last_data_us": -1},
    {"time_us": 2**80},
]


@pytest.mark.parametrize(
    "value", [*NO_MARKS, *(json.dumps({**json.loads(encode(mark(1))[1]), **wrong}).encode() for wrong in IMPOSSIBLE)]
)
def test_what_cannot_be_a_mark_is_none(value: bytes) -> None:
    """Neither ends it the process that reads it, nor counts it: its epoch or session could never be exceeded."""
    assert decode(value) is None


def test_the_marks_of_the_largest_group_are_read() -> None:
    """Of as many shards as a setting can ask for, and no more."""
    largest = mark(1, shard=MAX_SHARDS - 1, shards=MAX_SHARDS)
    assert decode(encode(largest)[1]) == largest
    least = {
        "ARIES_ACCESS_TOKEN": "t",
        "ARIES_SYMBOLS": "AAPL",
        "KAFKA_BOOTSTRAP_SERVERS": "k:1",
        "BRIDGE_SHARD": "group",
    }
    assert settings.load({**least, "BRIDGE_SHARDS": str(MAX_SHARDS)}).bridge_shards == MAX_SHARDS
    with pytest.raises(SettingsError):
        settings.load({**least, "BRIDGE_SHARDS": str(MAX_SHARDS + 1)})


def test_a_mark_that_was_deleted_is_none() -> None:
    """A tombstone is a record without a value."""
    assert decode(None) is None


async def test_a_mark_on_another_partition_is_passed_over(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """It would have no place in the order of its shard's marks."""
    topic = f"{topic_prefix}.shards"
    broker.create_topics([topic])
    write(broker.bootstrap_servers, topic, [1], shard=1, values=[encode(mark(9, shard=0))[1]])
    async with reading(broker.bootstrap_servers, topic) as reader:
        assert await read_to_end(reader) == [1]


async def test_partitions_that_are_added_are_read(kafka: RealKafka, topic_prefix: str) -> None:
    """More shards begin with partitions that a reader has not seen before; in the others it goes on where it was."""
    topic = f"{topic_prefix}.shards"
    kafka.create_topic(topic, partitions=1)
    write(kafka.bootstrap_servers, topic, [1, 2])
    async with reading(kafka.bootstrap_servers, topic) as reader:
        assert await read_to_end(reader) == [1, 2]
        admin = kafka.admin()
        for added in admin.create_partitions([NewPartitions(topic, 3)]).values():
            added.result(timeout=20)
        write(kafka.bootstrap_servers, topic, [3])
        write(kafka.bootstrap_servers, topic, [7], shard=2)
        found: list[int] = []
        async with asyncio.timeout(30):
            while len(found) < 2:  # a broker learns of new partitions a moment after they are created
                found += await read_to_end(reader)
        assert sorted(found) == [3, 7]


async def test_a_topic_that_was_created_again_is_read_from_its_beginning(kafka: RealKafka, topic_prefix: str) -> None:
    """The reader does not take itself to be at the end of the new topic because it was farther in the old one."""
    topic = f"{topic_prefix}.shards"
    kafka.create_topic(topic, partitions=1)
    write(kafka.bootstrap_servers, topic, range(5))
    async with reading(kafka.bootstrap_servers, topic) as reader:
        assert await read_to_end(reader) == list(range(5))
        kafka.delete_topic(topic)
        kafka.create_topic(topic, partitions=1)
        write(kafka.bootstrap_servers, topic, [9])
        with pytest.raises(KafkaUnreachable, match="created again"):
            await reader.ends()


async def test_nothing_of_a_topic_that_was_created_again_is_missed(kafka: RealKafka, topic_prefix: str) -> None:
    """The new topic is longer than the old one was when its end was last asked for, and shorter than what was read.

    Either the reader says so, or its consumer has noticed, and reads the new one from its beginning.
    """
    topic = f"{topic_prefix}.shards"
    kafka.create_topic(topic, partitions=1)
    async with reading(kafka.bootstrap_servers, topic) as reader:
        assert await read_to_end(reader) == []
        write(kafka.bootstrap_servers, topic, range(20))
        read = 0
        async with asyncio.timeout(30):
            while read < 20:
                read += len(list(await reader.read(0.1)))
        admin = kafka.admin()
        for deleted in admin.delete_topics([topic], operation_timeout=20).values():
            deleted.result(timeout=20)
        kafka.create_topic(topic, partitions=1)
        write(kafka.bootstrap_servers, topic, range(9))
        found: list[int] | None = None
        with suppress(KafkaUnreachable):
            found = await read_to_end(reader)
        assert found in (None, list(range(9)))


async def test_a_topic_that_is_missing_or_too_small(kafka: RealKafka, topic_prefix: str) -> None:
    """The error says what creates it, and it is not created by asking for it."""
    topic = f"{topic_prefix}.shards"
    async with reading(kafka.bootstrap_servers, topic) as reader:
        for _ in range(2):
            with pytest.raises(TopicConfigurationError, match="aries-bridge topics"):
                await reader.ends()
    kafka.create_topic(topic, partitions=1)
    async with reading(kafka.bootstrap_servers, topic, shards=2) as reader:
        with pytest.raises(TopicConfigurationError, match="partition"):
            await reader.ends()


async def test_marks_are_written_in_order_to_the_partition_of_their_shard(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """However many are written at a time; the key is that of the shard, for compaction."""
    topic = f"{topic_prefix}.shards"
    broker.create_topics([topic])
    marks = [mark(epoch, shard, 2) for epoch in range(20) for shard in range(2)]
    async with writing(broker.bootstrap_servers, topic) as writer:
        await asyncio.gather(*map(writer.write, marks))
    messages = await asyncio.to_thread(consumer.read_all, broker.bootstrap_servers, [topic])
    for shard in range(2):
        of_shard = [message for message in messages if message.partition == shard]
        assert {message.key for message in of_shard} == {str(shard).encode()}
        assert [decode(message.value) for message in of_shard] == [one for one in marks if one.shard == shard]


async def test_a_mark_that_cannot_be_written(topic_prefix: str) -> None:
    """The error names the topic; nothing of it is left on its way, and the next one begins with a new connection."""
    topic = f"{topic_prefix}.shards"
    with EmbeddedBroker() as gone:
        gone.create_topics([topic])
        async with writing(gone.bootstrap_servers, topic) as writer:
            await writer.write(mark(1))
            gone.close()
            with pytest.raises(KafkaUnreachable, match=f"{topic} cannot be written"):
                await writer.write(mark(2))
            with pytest.raises(KafkaUnreachable, match="KAFKA_BOOTSTRAP_SERVERS"):
                await writer.write(mark(3))
