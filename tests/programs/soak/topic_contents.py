"""The contents of the topics after a soak, counted by session and symbol, to be compared with what was sent.

The order of records and the accounts of missing ones are verified by ``aries-bridge verify``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.kafka.consumer import assign_topics, fetch, open_consumer
from bridge.serialization import schemas
from bridge.serialization.decoding import open_deserializer
from bridge.topics import MARKET_DATA, Topic
from bridge.verify.record_header import HeaderReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import ConsumerRecord

    from bridge.serialization.deserializer import Deserializer
    from bridge.settings import Settings

POLL_SECONDS = 1.0
MAX_RECORDS = 5_000
FETCH_BYTES = 1 << 20


@dataclass(frozen=True)
class ControlRecord:
    """One control record."""

    kind: str
    session_id: int | None
    time_us: int
    counts: Mapping[str, int]


@dataclass
class TopicContents:
    """Counts of records, each counted once; ``next_seqs`` are the next ``seq`` by session, topic and symbol."""

    next_seqs: dict[tuple[int, Topic, str], int] = field(default_factory=dict)
    #: Records by session.
    found: Counter[int] = field(default_factory=Counter)
    repeats: int = 0
    #: Records that come behind those of a newer session of their symbol: the last of an owner whose lease had ended.
    late: int = 0
    _newest: dict[tuple[Topic, str], int] = field(default_factory=dict)
    control: list[ControlRecord] = field(default_factory=list)

    def add(self, topic: Topic, symbol: str, session_id: int, seq: int) -> None:
        """Count a record."""
        place = session_id, topic, symbol
        if seq < self.next_seqs.get(place, 0):
            self.repeats += 1
            return
        self.next_seqs[place] = seq + 1
        newest = self._newest.setdefault((topic, symbol), session_id)
        if session_id < newest:
            self.late += 1
        else:
            self._newest[topic, symbol] = session_id
        self.found[session_id] += 1

    def add_control(self, record: Mapping[str, object]) -> None:
        """Add a control record; a repeat by a replaced producer counts once."""
        control = ControlRecord(record["kind"], record["session_id"], record["time_us"], record["counts"])  # type: ignore[arg-type]
        if control not in self.control[-100:]:
            self.control.append(control)


async def read_topics(settings: Settings) -> TopicContents:
    """Read all topics up to their present ends."""
    contents = TopicContents()
    async with (
        open_deserializer(settings) as decoder,
        open_consumer(settings, "soak", partition_fetch_bytes=FETCH_BYTES) as consumer,
    ):
        partitions = await assign_topics(consumer, settings.topics, (), also=(Topic.CONTROL,))
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        reader = _PartitionReader(settings, decoder, contents)
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for messages in (await fetch(consumer, POLL_SECONDS, max_records=MAX_RECORDS)).values():
                await reader.add(messages)
    return contents


class _PartitionReader:
    def __init__(self, settings: Settings, decoder: Deserializer, contents: TopicContents) -> None:
        loaded = schemas.load()
        self._topics = {name: topic for topic, name in settings.topics.items()}
        self._readers = {topic: HeaderReader(topic, loaded[topic], decoder) for topic in MARKET_DATA}
        self._decoder = decoder
        self._contents = contents

    async def add(self, messages: list[ConsumerRecord]) -> None:
        topic = self._topics[messages[0].topic]
        if topic is Topic.CONTROL:
            for message in messages:
                self._contents.add_control((await self._decoder.decode(message.value)).record)
        elif topic in self._readers:
            reader = self._readers[topic]
            for message in messages:
                symbol, _, session_id, seq, _ = reader.read(message.value) or await reader.decode(message.value)
                self._contents.add(topic, symbol.decode(), session_id, seq)
