"""The reader of the topics: it reads in rounds, each up to the ends the topics have when it begins.

What control counts as published was acknowledged before the control record was written. So the end of control is
looked up first and the ends of the data after it: what was counted is then within what is read. Dead letters come
last, as they may explain what is missing before them.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import dropwhile
from typing import TYPE_CHECKING, Any, Final

from bridge.clock import wall_us
from bridge.errors import Undecodable
from bridge.kafka.client_options import client_options, readable_errors
from bridge.kafka.consumer import assign_topics, fetch
from bridge.kafka.record_times import find_time
from bridge.serialization import schemas
from bridge.topics import MARKET_DATA, Topic
from bridge.verify.checker import Checker, Scope
from bridge.verify.partition_check import SESSION_LEAD_US
from bridge.verify.record_header import HeaderReader
from bridge.verify.violations import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

    from bridge.serialization.deserializer import Deserializer
    from bridge.settings import Settings
    from bridge.verify.partition_check import PartitionCheck

POLL_SECONDS: Final = 1.0
#: The most that a fetch returns of a partition: large fetches make reading fast.
PARTITION_FETCH_BYTES: Final = 1 << 20
#: How long after a record control and dead letters may explain it: three heartbeats.
EXPLAINED_WITHIN_US: Final = 30_000_000
#: Records in memory at a time, however well they were compressed.
MAX_RECORDS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Selection:
    """What is verified: which data topics (none: all that exist), and from when until when or of which session."""

    topics: tuple[str, ...] = ()
    since_us: int | None = None
    session_id: int | None = None
    strict: bool = False
    until_us: int | None = None

    @property
    def from_us(self) -> int | None:
        """Return from when on records are read: those of a session from a little before its begin."""
        return self.since_us if self.session_id is None else self.session_id - 2 * SESSION_LEAD_US


class TopicReader:
    """A reader of the selected topics into a checker: ``prepare`` it, then read a ``round`` at a time."""

    checker: Checker

    def __init__(
        self, settings: Settings, selection: Selection, consumer: AIOKafkaConsumer, decoder: Deserializer
    ) -> None:
        #: Called with the number of offsets read.
        self.on_progress: Callable[[int], None] = lambda _: None
        self._settings = settings
        self._selection = selection
        self._consumer = consumer
        self._decoder = decoder
        self._topics = {name: topic for topic, name in settings.topics.items()}
        known = schemas.load()
        self._header_readers = {topic: HeaderReader(topic, known[topic], decoder) for topic in MARKET_DATA}
        self._checks: dict[TopicPartition, PartitionCheck] = {}
        self._next: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        #: Partitions that are read from before the time asked for.
        self._skipping: set[TopicPartition] = set()
        #: Partitions that are read beyond the time asked for.
        self._untils: dict[TopicPartition, int] = {}

    @property
    def left(self) -> int:
        """Return how many offsets are left to read in this round."""
        return sum(max(0, end - self._next[partition]) for partition, end in self._ends.items())

    async def prepare(self) -> None:
        """Find the partitions and where to begin; raise TopicConfigurationError or KafkaUnreachable."""
        selection, names = self._selection, self._settings.topics
        async with readable_errors(client_options(self._settings, "verify")):
            also = (Topic.CONTROL, Topic.DLQ)
            partitions = await assign_topics(self._consumer, names, selection.topics, also=also)
            partitions = [partition for partition in partitions if partition.topic in self._topics]
            beginnings = await self._consumer.beginning_offsets(partitions)
            self._next = await self._starts(beginnings)
        counts = Counter(self._topics[partition.topic] for partition in partitions)
        # Control is read on to explain the last of the data, so that it counts more than what is read.
        reads_all = not selection.topics and selection.until_us is None
        scope = Scope(counts, reads_all, selection.session_id, selection.strict)
        self.checker = Checker(names, scope)
        for partition, start in self._next.items():
            self._consumer.seek(partition, start)
            self._consumer.pause(partition)
            self._checks[partition] = self.checker.partition(
                self._topics[partition.topic],
                partition.partition,
                complete_from_us=self._complete_from_us(beginnings[partition], start),
                next_offset=start,
            )

    async def round(self) -> None:
        """Read up to the present ends.

        Raises KafkaUnreachable if Kafka does not answer for long, and what the decoder raises about the registry.
        """
        async with readable_errors(client_options(self._settings, "verify")):
            began_us = wall_us()
            await self._look_up_ends()
            await self._read()
        for check in self._checks.values():  # an empty partition: what comes to it later is seen
            check.begin_at(began_us)

    # -- where to read ---------------------------------------------------------------------------------------------

    async def _starts(self, beginnings: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        from_us = self._selection.from_us
        if from_us is None:
            return dict(beginnings)
        starts, self._skipping = await find_time(self._consumer, beginnings.keys(), from_us // 1000)
        return starts

    def _complete_from_us(self, beginning: int, start: int) -> float:
        """Return from when on a partition is read that begins here: see ``PartitionCheck``."""
        from_us = self._selection.from_us
        if from_us is not None and (start > beginning or not beginning):
            return from_us + SESSION_LEAD_US
        return math.inf if start else -math.inf

    async def _look_up_ends(self) -> None:
        for topics in ((Topic.CONTROL,), MARKET_DATA, (Topic.DLQ,)):
            partitions = [partition for partition in self._next if self._topics[partition.topic] in topics]
            self._ends |= await self._consumer.end_offsets(partitions)
            if (until_us := self._selection.until_us) is not None:
                explained_us = until_us if topics == MARKET_DATA else until_us + EXPLAINED_WITHIN_US
                places = await find_time(self._consumer, partitions, math.ceil(explained_us / 1000))
                self._untils |= dict.fromkeys(places.unindexed, explained_us)
                stops = {at: offset for at, offset in places.offsets.items() if at not in places.unindexed}
                self._ends |= {at: max(offset, self._next[at]) for at, offset in stops.items()}
        for partition, end in self._ends.items():
            if end < self._next[partition]:  # the topic was deleted and created again
                self._checks[partition].restart()
                self._next[partition] = 0
                self._consumer.seek(partition, 0)

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        waiting = {partition for partition, end in self._ends.items() if self._next[partition] < end}
        self._consumer.resume(*waiting)
        while waiting:
            for partition, messages in (await fetch(self._consumer, POLL_SECONDS, max_records=MAX_RECORDS)).items():
                await self._take(partition, messages)
            for partition in list(waiting):
                # Also beyond offsets that hold no record (any more).
                position, end = await self._consumer.position(partition), self._ends[partition]
                self.on_progress(max(0, min(position, end) - self._next[partition]))
                self._next[partition] = min(position, end)
                if position >= end:
                    self._consumer.pause(partition)
                    self._consumer.seek(partition, end)
                    waiting.discard(partition)

    async def _take(self, partition: TopicPartition, messages: list[ConsumerRecord]) -> None:
        check = self._checks[partition]
        if messages[0].offset > self._next[partition]:
            beginnings = await self._consumer.beginning_offsets([partition])
            if beginnings[partition] > self._next[partition]:  # deleted before it was read
                check.restart()
        until_us = self._untils.get(partition, math.inf)
        end = self._ends[partition]
        messages = [message for message in messages if message.offset < end and message.timestamp * 1000 < until_us]
        if partition in self._skipping:
            from_ms = (self._selection.from_us or 0) // 1000
            messages = list(dropwhile(lambda message: message.timestamp < from_ms, messages))
            if messages:
                self._skipping.discard(partition)
        if check.topic in MARKET_DATA:
            await self._check(check, messages)
            return
        for message in messages:
            check.begin_at(message.timestamp * 1000 + 999)
            await self._take_other(check, message)

    async def _check(self, partition: PartitionCheck, messages: list[ConsumerRecord]) -> None:
        """Check market data; this loop decides how fast the command is."""
        reader, only = self._header_readers[partition.topic], self._selection.session_id
        read, check = reader.read, partition.check
        for message in messages:
            try:
                header = read(message.value) or await reader.decode(message.value)
            except Undecodable as error:
                self.checker.undecodable(partition.topic, _place(message), str(error))
                continue
            if only is None or header[2] == only:
                check(message.offset, message.timestamp, message.key, message.value, header)

    async def _take_other(self, partition: PartitionCheck, message: ConsumerRecord) -> None:
        """Take a control record or a dead letter."""
        place, topic = _place(message), partition.topic
        try:
            record: dict[str, Any] = await self._decoder.decode_as(topic, message.value)
        except Undecodable as error:
            self.checker.undecodable(topic, place, str(error))
            return
        is_control = topic is Topic.CONTROL
        due = record["instance"] if is_control else record["symbol"]
        due_us = record["time_us"] if is_control else record["ingest_time_us"]
        partition.check_frame(message.offset, (message.key, due.encode() if due else None), message.timestamp, due_us)
        if is_control:
            self.checker.control(place, record)
        else:
            self.checker.dead_letter(record)


def _place(message: ConsumerRecord) -> Place:
    return Place(message.topic, message.partition, message.offset)
