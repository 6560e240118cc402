"""The topics as a consumer finds them: how much they hold, and the newest records, so that the whole way is proven.

A look costs the service little however much flows: the ends of all partitions in one request, and at most one record
batch a topic. Partitions take turns at that.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.dev.glance import glance
from bridge.errors import BridgeError, Undecodable
from bridge.kafka.client_options import client_options, close_consumer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiokafka import ConsumerRecord
    from aiokafka.structs import OffsetAndTimestamp

    from bridge.app import Bridge
    from bridge.serialization.deserializer import Deserializer
    from bridge.topics import Topic

LOOK_EVERY_SECONDS: Final = 0.25
LOOK_TIMEOUT_SECONDS: Final = 5.0
#: Rates are means over so long.
RATE_OVER_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Newest:
    """Hold a record in a line, and the time of its Kafka record."""

    text: str
    timestamp_ms: int


class Flow:
    """Keep how many records a topic got since the start, and how fast of late."""

    def __init__(self) -> None:
        self.total = 0
        self._lately: deque[tuple[float, int]] = deque()

    def note(self, total: int, now: float) -> None:
        """Note a count at a moment (monotonic seconds)."""
        self.total = total
        self._lately.append((now, total))

    def per_second(self, now: float) -> float:
        """Return the rate over the last seconds before a moment."""
        while self._lately and now - self._lately[0][0] > RATE_OVER_SECONDS:
            self._lately.popleft()
        if len(self._lately) < 2:  # noqa: PLR2004 - a rate is between two counts
            return 0.0
        (since, before), (until, total) = self._lately[0], self._lately[-1]
        return (total - before) / (until - since)


class ReadBack:
    """Look at the topics a bridge writes, through a consumer of its own.

    Counted is what has a Kafka timestamp of ``since_ms`` or later, or with None all that the topics hold.
    """

    def __init__(self, bridge: Bridge, decoder: Deserializer, *, since_ms: int | None) -> None:
        self.flows: dict[Topic, Flow] = defaultdict(Flow)
        self.newest: dict[Topic, Newest] = {}
        #: Why the last look found nothing out.
        self.problem: str | None = None
        self._bridge = bridge
        self._decoder = decoder
        self._since_ms = since_ms
        self._starts: dict[TopicPartition, int] = {}
        self._seen: dict[TopicPartition, int] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._looks = 0

    async def run(self, over: asyncio.Event) -> None:
        """Look now and again until ``over`` is set; wait out whatever Kafka does not answer."""
        while not over.is_set():
            await self.try_look()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_SECONDS):
                    await over.wait()

    async def try_look(self) -> None:
        """Look once; leave a word in ``problem`` where that fails."""
        if not self._queues():
            return  # the bridge has not reached Kafka yet
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                await self._look()
        except TimeoutError:
            self.problem = f"no answer to the consumer within {LOOK_TIMEOUT_SECONDS:g} s"
        except (KafkaError, BridgeError, OSError) as error:
            self.problem = str(error) or type(error).__name__
        else:
            self.problem = None

    async def close(self) -> None:
        """Let go of the consumer."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_consumer(consumer)

    def _queues(self) -> dict[TopicPartition, Topic]:
        """Return the partitions the bridge writes, which it has found to exist."""
        return {TopicPartition(queue.name, queue.partition): queue.topic for queue in self._bridge.buffer.queues()}

    async def _look(self) -> None:
        consumer = self._consumer or await self._open()
        queues = self._queues()
        if queues.keys() != consumer.assignment():
            consumer.assign(list(queues))
            consumer.pause(*queues)  # nothing is fetched but what is asked for below
        ends: dict[TopicPartition, int] = await consumer.end_offsets(list(queues))
        await self._begin(consumer, ends)
        self._count(ends, queues)
        self._looks += 1
        for message in await _last_of(consumer, {place: ends[place] for place in self._chosen(ends, queues)}):
            place = TopicPartition(message.topic, message.partition)
            self._seen[place] = ends[place]
            await self._show(queues[place], message)

    async def _open(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(**client_options(self._bridge.settings, "dev"), enable_auto_commit=False)
        try:
            await consumer.start()
        except BaseException:
            await close_consumer(consumer)
            raise
        self._consumer = consumer
        return consumer

    async def _begin(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
        """Find where to count from in partitions that are new to us."""
        if new := ends.keys() - self._starts.keys():
            found: dict[TopicPartition, OffsetAndTimestamp | None] = {}
            if self._since_ms is not None:
                found = await consumer.offsets_for_times(dict.fromkeys(new, self._since_ms))
            for place in new:
                first = found.get(place)
                nothing_yet = 0 if self._since_ms is None else ends[place]
                self._starts[place] = self._seen[place] = nothing_yet if first is None else first.offset

    def _count(self, ends: Mapping[TopicPartition, int], queues: Mapping[TopicPartition, Topic]) -> None:
        totals: dict[Topic, int] = defaultdict(int)
        for place, end in ends.items():
            totals[queues[place]] += end - self._starts[place]
        now = asyncio.get_running_loop().time()
        for topic, total in totals.items():
            self.flows[topic].note(total, now)

    def _chosen(
        self, ends: Mapping[TopicPartition, int], queues: Mapping[TopicPartition, Topic]
    ) -> Iterator[TopicPartition]:
        """Yield one partition of each topic that has grown, another at each look."""
        grown: dict[Topic, list[TopicPartition]] = defaultdict(list)
        for place, end in ends.items():
            if end > self._seen[place]:
                grown[queues[place]].append(place)
        for places in grown.values():
            yield sorted(places)[self._looks % len(places)]

    async def _show(self, topic: Topic, message: ConsumerRecord) -> None:
        shown = self.newest.get(topic)
        if shown is not None and shown.timestamp_ms > message.timestamp:
            return
        try:
            text = glance(await self._decoder.decode(message.value))
        except Undecodable as error:
            text = f"not decodable: {error}"
        self.newest[topic] = Newest(text, message.timestamp)


async def _last_of(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> list[ConsumerRecord]:
    """Return the last record of each partition.

    One by one: what a fetch brought beyond them stays unread, and so nothing more is fetched ahead.
    """
    for place, end in ends.items():
        consumer.seek(place, end - 1)
    consumer.resume(*ends)
    found: dict[TopicPartition, ConsumerRecord] = {}
    try:
        while missing := ends.keys() - found.keys():
            message = await consumer.getone(*missing)
            found[TopicPartition(message.topic, message.partition)] = message
    finally:
        consumer.pause(*ends)
    return list(found.values())
