"""Where in its partitions a time is, by the timestamps of the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiokafka import AIOKafkaConsumer, TopicPartition


class Places(NamedTuple):
    """The offset of the first record of a time or later in each partition, its end if there is none.

    Of a partition that is ``unindexed``, it is the first of all: its records have to be compared with the time.
    """

    offsets: dict[TopicPartition, int]
    unindexed: set[TopicPartition]


async def find_time(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition], time_ms: int) -> Places:
    """Look a time up in partitions."""
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, time_ms))
    indexed = await consumer.offsets_for_times(dict.fromkeys(partitions, 0))
    offsets: dict[TopicPartition, int] = dict(await consumer.end_offsets(list(partitions)))
    unindexed = set()
    for partition, beginning in (await consumer.beginning_offsets(list(partitions))).items():
        if (at := found.get(partition)) is not None:
            offsets[partition] = at.offset
        elif indexed.get(partition) is None:  # the embedded broker has no index of times
            offsets[partition] = beginning
            unindexed.add(partition)
    return Places(offsets, unindexed)
