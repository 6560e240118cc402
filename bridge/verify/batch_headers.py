"""What Kafka keeps with each batch and consumers hide: who wrote it (KIP-98), and its latest timestamp."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import errors as kafka_errors
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

FETCH_WAIT_MS: Final = 500
RETRY_SECONDS: Final = 0.5
ATTEMPTS: Final = 60
#: The first batch of an answer comes whole, however large it is.
_BATCH_BYTES: Final = 4096


class Header(NamedTuple):
    """Carry the id of a batch's producer (-1: it is not idempotent), and the batch's latest timestamp."""

    producer_id: int
    newest_ms: int


async def header_at(consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> Header | None:
    """Return the header of the batch that holds an offset, or None where it is gone by now.

    Raises KafkaError where the partition's leader cannot be asked for long.
    """
    error: type[kafka_errors.KafkaError] = kafka_errors.KafkaError
    for _ in range(ATTEMPTS):
        error, batches = await _fetch(consumer, partition, offset)
        if error is kafka_errors.NoError:
            return _holding(MemoryRecords(batches or b""), offset)
        if error is kafka_errors.OffsetOutOfRangeError:
            return None
        await asyncio.sleep(RETRY_SECONDS)
    raise error


async def _fetch(
    consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int
) -> tuple[type[kafka_errors.KafkaError], bytes | None]:
    client = consumer._client  # noqa: SLF001 - there is no public way to a batch's header
    leader = client.cluster.leader_for_partition(partition)
    if leader is None or leader < 0:
        await client.force_metadata_update()
        return kafka_errors.LeaderNotAvailableError, None
    wanted = (partition.partition, offset, _BATCH_BYTES)
    request = FetchRequest(FETCH_WAIT_MS, 1, _BATCH_BYTES, 0, [(partition.topic, [wanted])])
    try:
        response = await client.send(leader, request)
    except kafka_errors.KafkaError as error:
        await client.force_metadata_update()
        return type(error), None
    answer = response.topics[0][1][0]
    error_type: type[kafka_errors.KafkaError] = kafka_errors.for_code(answer[1])
    if error_type is not kafka_errors.NoError:
        await client.force_metadata_update()
    return error_type, answer[-1]


def _holding(batches: Any, offset: int) -> Header | None:
    while batches.has_next():
        batch = batches.next_batch()
        if batch.next_offset > offset:
            producer_id = batch.producer_id
            return Header(-1 if producer_id is None else producer_id, batch.max_timestamp)
    return None
