"""Following topics: the selected records as they arrive, from the beginning, from the end, or between two times."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from bridge.clock import wall_us
from bridge.kafka.consumer import assign_topics, fetch
from bridge.kafka.record_times import find_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

    from bridge.topics import TopicNames

#: How long to wait for the offsets of all partitions; one without a leader has none.
OFFSETS_TIMEOUT_SECONDS: Final = 5.0
#: Longest wait for one fetch; if nothing arrives, the next one follows.
POLL_SECONDS: Final = 1.0
#: Size of the chunks of records; between two of them signals and sockets are served.
CHUNK_RECORDS: Final = 250


@dataclass(frozen=True, slots=True)
class Selection:
    """The records to follow, and when to end.

    ``topics`` are short or full names (none: all of the bridge's that exist), ``keys`` the wanted ones (none: all).
    Records are those from ``since_us`` on and before ``until_us``, by their timestamps. It ends there, after ``count``
    records, or after ``timeout_seconds`` without one.
    """

    topics: tuple[str, ...] = ()
    keys: frozenset[bytes] = frozenset()
    from_beginning: bool = False
    count: int | None = None
    timeout_seconds: float | None = None
    since_us: int | None = None
    until_us: int | None = None

    @property
    def reads_history(self) -> bool:
        """Return whether records are wanted that are there already."""
        return self.from_beginning or self.since_us is not None

    def wants(self, message: ConsumerRecord) -> bool:
        """Return whether a record is selected."""
        time_us = message.timestamp * 1000
        if self.since_us is not None and time_us + 999 < self.since_us:
            return False
        if self.until_us is not None and time_us >= self.until_us:
            return False
        return not self.keys or message.key in self.keys


async def seek(consumer: AIOKafkaConsumer, topics: TopicNames, selection: Selection) -> bool:
    """Assign all partitions of the selected topics, at their beginnings, ends, or at a time.

    Returns False if some partitions have no offsets yet; they are followed once they have.
    Raises TopicConfigurationError.
    """
    await assign_topics(consumer, topics, selection.topics)
    if selection.from_beginning:
        return True
    try:
        async with asyncio.timeout(OFFSETS_TIMEOUT_SECONDS):
            if selection.since_us is None:
                await consumer.seek_to_end()
                return True
            places = await find_time(consumer, consumer.assignment(), selection.since_us // 1000)
    except TimeoutError:
        return False
    for partition, offset in places.offsets.items():
        consumer.seek(partition, offset)
    return True


async def follow(consumer: AIOKafkaConsumer, selection: Selection) -> AsyncIterator[list[ConsumerRecord]]:
    """Yield chunks of selected records, those of one fetch by time, and an empty one if nothing arrives for a while.

    The order within a partition is kept, whatever its timestamps.
    """
    timeout_seconds = selection.timeout_seconds or math.inf
    last_found_at = time.monotonic()
    stops: Mapping[TopicPartition, int] | None = None
    while (left := last_found_at + timeout_seconds - time.monotonic()) > 0:
        seconds_to_go = math.inf if selection.until_us is None else (selection.until_us - wall_us()) / 1e6
        if stops is None and selection.until_us is not None and seconds_to_go <= 0:
            stops = await _stops(consumer, selection.until_us)
        if stops is not None and await _is_read(consumer, stops):
            return
        found = await fetch(consumer, min(left, POLL_SECONDS, seconds_to_go if seconds_to_go > 0 else POLL_SECONDS))
        messages = heapq.merge(*found.values(), key=lambda message: message.timestamp)
        wanted = (message for message in messages if selection.wants(message))
        while chunk := list(islice(wanted, CHUNK_RECORDS)):
            yield chunk
            last_found_at = time.monotonic()
            await asyncio.sleep(0)
        if not found:
            yield []


async def is_caught_up(consumer: AIOKafkaConsumer) -> bool:
    """Return whether all is read that the topics hold; no if a partition has no leader."""
    try:
        async with asyncio.timeout(OFFSETS_TIMEOUT_SECONDS):
            return await _is_read(consumer, await consumer.end_offsets(list(consumer.assignment())))
    except TimeoutError:
        return False


async def _stops(consumer: AIOKafkaConsumer, until_us: int) -> Mapping[TopicPartition, int]:
    """Return where the records before a time end; partitions without offsets are not waited for."""
    partitions = consumer.assignment()
    try:
        async with asyncio.timeout(OFFSETS_TIMEOUT_SECONDS):
            offsets, unindexed = await find_time(consumer, partitions, math.ceil(until_us / 1000))
            return offsets | (await consumer.end_offsets(list(unindexed)) if unindexed else {})
    except TimeoutError:
        return {}


async def _is_read(consumer: AIOKafkaConsumer, stops: Mapping[TopicPartition, int]) -> bool:
    for partition, stop in stops.items():
        if await consumer.position(partition) < stop:
            return False
    return True
