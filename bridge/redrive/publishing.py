"""Redriven records to Kafka: one batch at a time on each partition, until each is acknowledged or rejected."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka.errors import KafkaError

from bridge.backoff import Backoff
from bridge.errors import KafkaUnreachable
from bridge.kafka.error_policy import BatchRejected, Reaction, reaction
from bridge.kafka.partitioner import partition as partition_of
from bridge.kafka.produce_requests import OutgoingBatch
from bridge.kafka.producer import send_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.kafka.producer import Producer
    from bridge.kafka.record_batch import RecordBatch
    from bridge.redrive.reprocessing import RedrivenRecord
    from bridge.topics import Topic

RESEND_MIN_SECONDS: Final = 0.05
RESEND_MAX_SECONDS: Final = 1.0


class Marked(NamedTuple):
    """A record with its headers, and the number of its letter in the portion."""

    record: RedrivenRecord
    headers: list[tuple[str, bytes | None]]
    letter: int


class Rejected(NamedTuple):
    """A record that Kafka does not take, and why."""

    marked: Marked
    why: str


class RecordPublisher:
    """A sender of portions of records; ``counts`` are the topics' partition counts."""

    def __init__(
        self,
        producer: Producer,
        names: Mapping[Topic, str],
        counts: Mapping[Topic, int],
        new_batch: Callable[[], RecordBatch],
        timeout_seconds: float,
    ) -> None:
        self._producer = producer
        self._names = names
        self._counts = counts
        self._new_batch = new_batch
        self._timeout_seconds = timeout_seconds

    async def publish(self, records: Iterable[Marked]) -> list[Rejected]:
        """Return once Kafka has acknowledged all records but those that it rejects, which are returned.

        Raises KafkaUnreachable; some records may have been published then.
        """
        waiting: dict[tuple[Topic, int], deque[Marked]] = {}
        for marked in records:
            topic = marked.record.topic
            place = topic, partition_of(marked.record.key, self._counts[topic])
            waiting.setdefault(place, deque()).append(marked)
        rejected: list[Rejected] = []
        try:
            async with asyncio.timeout(self._timeout_seconds), asyncio.TaskGroup() as tasks:
                for (topic, number), queue in waiting.items():
                    tasks.create_task(self._send_all(self._names[topic], number, queue, rejected))
        except TimeoutError:
            raise KafkaUnreachable(
                f"Kafka did not acknowledge redriven records within {self._timeout_seconds:g} s "
                "(KAFKA_DELIVERY_TIMEOUT_SECONDS). Run the command again: it continues where it was."
            ) from None
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        return rejected

    async def _send_all(self, name: str, number: int, queue: deque[Marked], rejected: list[Rejected]) -> None:
        backoff = Backoff(RESEND_MIN_SECONDS, RESEND_MAX_SECONDS)
        limit = len(queue)
        while queue:
            batch = self._new_batch()
            for marked in list(queue)[:limit]:
                if not batch.append(*marked.record[1:], marked.headers):
                    break
            count = batch.records
            try:
                await send_batch(self._producer, OutgoingBatch(name, number, batch))
            except KafkaError as error:
                self._producer.rewind(name, number, count)
                reacting = reaction(error)
                if reacting is Reaction.RESEND:
                    self._producer.refresh_metadata()
                    limit = count  # a broker may have this batch, and knows it only whole
                    await asyncio.sleep(backoff.next_seconds())
                elif reacting is not Reaction.FIND_RECORD:
                    raise _unusable(name, error) from error
                elif count > 1:
                    limit = count // 2
                else:
                    rejected.append(Rejected(queue.popleft(), str(error)))
            else:
                for _ in range(count):
                    queue.popleft()


def _unusable(name: str, error: KafkaError) -> KafkaUnreachable:
    why = str(error) if isinstance(error, BatchRejected) else repr(error)
    return KafkaUnreachable(f"Kafka did not take redriven records for {name}: {why}")
