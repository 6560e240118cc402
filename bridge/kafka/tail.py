"""Following topics: the selected records as they arrive, from the beginning or from the end."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from bridge.kafka.consumer import assign_topics, fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiokafka import AIOKafkaConsumer, ConsumerRecord

    from bridge.topics import TopicNames

#: How long to wait for the end offsets of all partitions; one without a leader has none.
END_OFFSETS_TIMEOUT_SECONDS: Final = 5.0
#: Longest wait for one fetch; if nothing arrives, the next one follows.
POLL_SECONDS: Final = 10.0
#: Size of the chunks of records; between two of them signals and sockets are served.
CHUNK_RECORDS: Final = 250


@dataclass(frozen=True, slots=True)
class Selection:
    """The records to follow, and when to end.

    ``topics`` are short or full names (none: all of the bridge's that exist), ``keys`` the wanted ones (none: all).
    It ends after ``count`` records, or after ``timeout_seconds`` without one.
    """

    topics: tuple[str, ...] = ()
    keys: frozenset[bytes] = frozenset()
    from_beginning: bool = False
    count: int | None = None
    timeout_seconds: float | None = None


async def seek(consumer: AIOKafkaConsumer, topics: TopicNames, selection: Selection) -> bool:
    """Assign all partitions of the selected topics, at their beginnings or ends.

    Returns False if some partitions have no end offset yet; they are followed once they have one.
    Raises TopicConfigurationError.
    """
    await assign_topics(consumer, topics, selection.topics)
    if selection.from_beginning:
        return True
    try:
        async with asyncio.timeout(END_OFFSETS_TIMEOUT_SECONDS):
            await consumer.seek_to_end()
    except TimeoutError:
        return False
    return True


async def follow(consumer: AIOKafkaConsumer, selection: Selection) -> AsyncIterator[list[ConsumerRecord]]:
    """Yield chunks of selected records, those of one fetch by time; end when none arrived within the timeout.

    The order within a partition is kept, whatever its timestamps.
    """
    timeout_seconds = selection.timeout_seconds or math.inf
    last_found_at = time.monotonic()
    while (left := last_found_at + timeout_seconds - time.monotonic()) > 0:
        found = await fetch(consumer, min(left, POLL_SECONDS))
        wanted = (
            message
            for message in heapq.merge(*found.values(), key=lambda message: message.timestamp)
            if not selection.keys or message.key in selection.keys
        )
        while chunk := list(islice(wanted, CHUNK_RECORDS)):
            yield chunk
            last_found_at = time.monotonic()
            await asyncio.sleep(0)
