"""The shell of the check: reads in rounds, each up to ends that were taken in an order that makes accounts comparable.

What control counts as published was acknowledged before the control record was written. So the end of control is
taken first and the ends of the data after it: what was counted is then within what is read. Dead letters come last,
as they may explain what is missing before them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import dropwhile
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition

from bridge.clock import wall_us
from bridge.errors import Undecodable
from bridge.kafka.client_options import bootstrap_servers, readable_errors
from bridge.kafka.consumer import assign_topics, fetch
from bridge.serialization import schemas
from bridge.topics import MARKET_DATA, Topic
from bridge.verify.batch_headers import header_at
from bridge.verify.checker import REFUSED, Checker, Scope
from bridge.verify.findings import Place
from bridge.verify.heads import Head, Reader
from bridge.verify.sequence import AHEAD_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiokafka import AIOKafkaConsumer, ConsumerRecord

    from bridge.serialization.deserializer import Deserializer
    from bridge.settings import Settings
    from bridge.verify.sequence import Partition

POLL_SECONDS: Final = 1.0
#: What one answer may hold of a partition: large answers are what makes reading fast.
PARTITION_FETCH_BYTES: Final = 1 << 20
#: So many records are at hand at a time, however well they were compressed.
MOST_RECORDS: Final = 5_000
_ALWAYS: Final = (Topic.CONTROL, Topic.DLQ)


@dataclass(frozen=True, slots=True)
class Selection:
    """Say what is verified: which data topics (none: all that exist), and from when or of which session."""

    topics: tuple[str, ...] = ()
    since_us: int | None = None
    session_id: int | None = None
    strict: bool = False

    @property
    def from_us(self) -> int | None:
        """Return from when on records are read: of a session, a little before it was begun."""
        return self.since_us if self.session_id is None else self.session_id - 2 * AHEAD_US


class Reading:
    """Read the topics into a checker; ``prepare`` first, then a ``round`` as often as there is something new."""

    checker: Checker

    def __init__(
        self, settings: Settings, selection: Selection, consumer: AIOKafkaConsumer, decoder: Deserializer
    ) -> None:
        #: Called with the number of records (offsets) read.
        self.on_progress: Callable[[int], None] = lambda _: None
        self._settings = settings
        self._selection = selection
        self._consumer = consumer
        self._decoder = decoder
        self._names = dict(settings.topics)
        self._topic_of = {name: topic for topic, name in self._names.items()}
        self._schema_names = {topic: schema.name for topic, schema in schemas.load().items()}
        self._readers = {topic: Reader(self._schema_names[topic], decoder) for topic in MARKET_DATA}
        self._next: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._checks: dict[TopicPartition, Partition] = {}
        #: Partitions of control and dead letters that begin in the middle.
        self._cut: set[TopicPartition] = set()
        #: Partitions that are read from before the time that is asked for.
        self._early: set[TopicPartition] = set()

    async def prepare(self) -> None:
        """Take the partitions and where to begin; raises TopicConfigurationError and KafkaUnreachable."""
        with readable_errors(bootstrap_servers(self._settings)):
            partitions = await assign_topics(
                self._consumer, self._settings.topics, self._selection.topics, also=_ALWAYS
            )
            partitions = [partition for partition in partitions if partition.topic in self._topic_of]
            counts = _counts(self._topic_of[partition.topic] for partition in partitions)
            scope = Scope(
                counts,
                all_data=not self._selection.topics,
                session_id=self._selection.session_id,
                strict=self._selection.strict,
            )
            self.checker = Checker(self._names, scope)
            beginnings = await self._consumer.beginning_offsets(partitions)
            starts = await self._starts(beginnings)
        for partition in partitions:
            self._begin(partition, beginnings[partition], starts[partition])

    async def round(self) -> int:
        """Read up to the present ends, then have repeats judged; return how many offsets that were.

        Raises KafkaUnreachable where Kafka does not answer for long, and what the decoder raises about the registry.
        """
        with readable_errors(bootstrap_servers(self._settings)):
            began_us = wall_us()
            await self._take_ends()
            begun = sum(self._next.values())
            await self._read()
            self._note_empty(began_us)
            await self._judge_repeats()
        return sum(self._next.values()) - begun

    def _note_empty(self, began_us: int) -> None:
        """Note of partitions that hold nothing (any more) that what comes to them later is in view."""
        for check in self._checks.values():
            check.nothing_before(began_us)
        for partition in self._cut:
            self.checker.cut(self._topic_of[partition.topic], began_us)
        self._cut.clear()

    @property
    def left(self) -> int:
        """Return how many offsets are left to read in this round."""
        return sum(max(0, end - self._next[partition]) for partition, end in self._ends.items())

    # -- where to read ---------------------------------------------------------------------------------------------

    async def _starts(self, beginnings: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        from_us = self._selection.from_us
        if from_us is None:
            return dict(beginnings)
        found = await self._consumer.offsets_for_times(dict.fromkeys(beginnings, from_us // 1000))
        ends = await self._consumer.end_offsets(list(beginnings))
        starts = {}
        for partition, beginning in beginnings.items():
            at = found.get(partition)
            if at is None and await self._has_since(partition, beginning, ends[partition], from_us // 1000):
                self._early.add(partition)
                starts[partition] = beginning
            else:
                starts[partition] = ends[partition] if at is None else max(at.offset, beginning)
        return starts

    async def _has_since(self, partition: TopicPartition, beginning: int, end: int, from_ms: int) -> bool:
        """Return whether there are records since then, though no index knows of them, as in the embedded broker."""
        newest = await header_at(self._consumer, partition, end - 1) if end > beginning else None
        return newest is not None and newest.newest_ms >= from_ms

    async def _judge_repeats(self) -> None:
        for rewind in self.checker.take_rewinds():
            run = rewind.place.offset - 1, rewind.place.offset, rewind.end - 1
            self.checker.judge_rewind(rewind, *[await self._writer(rewind.place, offset) for offset in run])
        for broken in self.checker.take_breaks():
            ends = broken.place.offset, broken.goes_on_at
            self.checker.judge_break(broken, *[await self._writer(broken.place, offset) for offset in ends])

    async def _writer(self, place: Place, offset: int) -> int | None:
        partition = TopicPartition(place.topic, place.partition)
        header = await header_at(self._consumer, partition, offset)
        return header.producer_id if header is not None else None

    def _begin(self, partition: TopicPartition, beginning: int, start: int) -> None:
        self._consumer.seek(partition, start)
        self._consumer.pause(partition)
        self._next[partition] = start
        topic = self._topic_of[partition.topic]
        from_us = self._selection.from_us
        if partition in self._early or (from_us is not None and start > beginning):
            known_from_us: float = (from_us or 0) + AHEAD_US
        else:
            known_from_us = math.inf if start else -math.inf
        if topic in MARKET_DATA:
            self._checks[partition] = self.checker.partition(
                topic, partition.partition, known_from_us=known_from_us, next_offset=start
            )
        elif known_from_us == math.inf:
            self._cut.add(partition)
        else:
            self.checker.cut(topic, known_from_us)

    async def _take_ends(self) -> None:
        for topics in ((Topic.CONTROL,), MARKET_DATA, (Topic.DLQ,)):
            partitions = [partition for partition in self._next if self._topic_of[partition.topic] in topics]
            if partitions:
                self._ends |= await self._consumer.end_offsets(partitions)
        for partition, end in self._ends.items():
            if end < self._next[partition]:  # the topic was deleted and is there again
                self._lose(partition)
                self._next[partition] = 0
                self._consumer.seek(partition, 0)

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        waiting = {partition for partition, end in self._ends.items() if self._next[partition] < end}
        self._consumer.resume(*waiting)
        while waiting:
            for partition, messages in (await fetch(self._consumer, POLL_SECONDS, max_records=MOST_RECORDS)).items():
                await self._take(partition, messages)
            for partition in list(waiting):
                await self._advance(partition)
                if self._next[partition] >= self._ends[partition]:
                    self._consumer.pause(partition)
                    self._consumer.seek(partition, self._ends[partition])
                    self._next[partition] = self._ends[partition]
                    waiting.discard(partition)

    async def _advance(self, partition: TopicPartition) -> None:
        """Note how far the consumer is: also beyond offsets that hold no record (any more)."""
        position = await self._consumer.position(partition)
        self.on_progress(max(0, min(position, self._ends[partition]) - self._next[partition]))
        self._next[partition] = position

    async def _take(self, partition: TopicPartition, messages: list[ConsumerRecord]) -> None:
        if messages[0].offset > self._next[partition]:
            beginning = (await self._consumer.beginning_offsets([partition]))[partition]
            if beginning > self._next[partition]:  # deleted before we could read it
                self._lose(partition)
        end = self._ends[partition]
        if messages[-1].offset >= end:
            messages = [message for message in messages if message.offset < end]
        if partition in self._early:
            messages = self._without_early(partition, messages)
        check = self._checks.get(partition)
        if check is not None:
            await self._check(check, messages)
            return
        topic = self._topic_of[partition.topic]
        for message in messages:
            if partition in self._cut:
                self._cut.discard(partition)
                self.checker.cut(topic, message.timestamp * 1000 + 999)
            await self._take_own(topic, message)

    def _without_early(self, partition: TopicPartition, messages: list[ConsumerRecord]) -> list[ConsumerRecord]:
        """Leave out what is before the first record of the time asked for; order is offsets', whatever later times."""
        from_ms = (self._selection.from_us or 0) // 1000
        wanted = list(dropwhile(lambda message: message.timestamp < from_ms, messages))
        if wanted:
            self._early.discard(partition)
        return wanted

    def _lose(self, partition: TopicPartition) -> None:
        if partition in self._checks:
            self._checks[partition].forget()
        else:
            self._cut.add(partition)

    async def _check(self, check: Partition, messages: Iterable[ConsumerRecord]) -> None:
        """Check market data; this is the loop that makes the speed."""
        reader = self._readers[check.topic]
        only = self._selection.session_id
        read, take = reader.head, check.take
        for message in messages:
            head = read(message.value) or await self._learn(reader, check.topic, message)
            if head is not None and (only is None or head[2] == only):
                take(message.offset, message.timestamp, message.key, head)

    async def _learn(self, reader: Reader, topic: Topic, message: ConsumerRecord) -> Head | None:
        try:
            return await reader.learn(message.value)
        except Undecodable as error:
            self.checker.undecodable(topic, _place(message), str(error))
            return None

    async def _take_own(self, topic: Topic, message: ConsumerRecord) -> None:
        """Take a control record or a dead letter."""
        expected = self._schema_names[topic]
        try:
            decoded = await self._decoder.decode(message.value)
            if decoded.name != expected:
                raise Undecodable(f"the value is a {decoded.name}, not a {expected}")  # noqa: TRY301 - as the decoder's
        except Undecodable as error:
            self.checker.undecodable(topic, _place(message), str(error))
            return
        frame = _place(message), message.timestamp, message.key, decoded.record
        if topic is Topic.CONTROL:
            self.checker.control(*frame)
        else:
            self.checker.dead_letter(*frame, refused=await self._refused(decoded.record))

    async def _refused(self, letter: Mapping[str, object]) -> tuple[Topic, Head] | None:
        """Return the record of ours that a dead letter holds, if it holds one."""
        raw = letter["raw"]
        if letter["reason"] != REFUSED or not isinstance(raw, bytes):
            return None
        for topic, reader in self._readers.items():
            head = reader.head(raw)
            if head is not None:
                return topic, head
            try:
                return topic, await reader.learn(raw)
            except Undecodable:
                continue
        return None


def _counts(topics: Iterable[Topic]) -> dict[Topic, int]:
    counts: dict[Topic, int] = {}
    for topic in topics:
        counts[topic] = counts.get(topic, 0) + 1
    return counts


def _place(message: ConsumerRecord) -> Place:
    return Place(message.topic, message.partition, message.offset)
