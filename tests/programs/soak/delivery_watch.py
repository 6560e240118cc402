"""A watch on the partitions that nothing is wrong with: they must get records while others cannot be written."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined] # public all the same

from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tests.programs.soak.testbed import Testbed

#: The longest time without a new record in a healthy partition.
MAX_STALL_SECONDS = 10.0
#: How long partitions are observed first: those that get records in this time must get records later on.
BASELINE_SECONDS = 4.0
POLL_SECONDS = 1.0
OFFSETS_TIMEOUT_SECONDS = 5.0
#: The topics that always get records; the others get some on occasion.
BUSY_TOPICS = (Topic.QUOTES, Topic.TRADES, Topic.TIMESALES, Topic.L2, Topic.GREEKS)


class Partition(NamedTuple):
    """A partition of one of the topics."""

    topic: Topic
    number: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


class Stalls:
    """The longest time without a new record, by partition."""

    def __init__(self, offsets: Mapping[Partition, int], now: float) -> None:
        self._offsets = dict(offsets)
        self._advanced_at = dict.fromkeys(offsets, now)
        self._longest_seconds = dict.fromkeys(offsets, 0.0)

    def add(self, offsets: Mapping[Partition, int], now: float) -> None:
        """Add end offsets; a partition without one has not advanced."""
        for partition, before in self._offsets.items():
            stalled_seconds = now - self._advanced_at[partition]
            self._longest_seconds[partition] = max(self._longest_seconds[partition], stalled_seconds)
            if (offset := offsets.get(partition, before)) > before:
                self._offsets[partition], self._advanced_at[partition] = offset, now

    def problems(self, blocked: str) -> list[str]:
        """Return a sentence for each partition that stood still for too long."""
        return [
            f"{partition} got no record for {seconds:.0f} s while {blocked} could not be written"
            for partition, seconds in self._longest_seconds.items()
            if seconds > MAX_STALL_SECONDS
        ]


async def busy_partitions(testbed: Testbed) -> list[Partition]:
    """Return the partitions that get records now."""
    everything = [Partition(topic, number) for topic in BUSY_TOPICS for number in testbed.partitions]
    before = await asyncio.to_thread(end_offsets, testbed, everything)
    await asyncio.sleep(BASELINE_SECONDS)
    after = await asyncio.to_thread(end_offsets, testbed, everything)
    return [partition for partition in everything if after.get(partition, 0) > before.get(partition, 0)]


async def watch_others(
    testbed: Testbed,
    busy: Collection[Partition],
    is_blocked: Callable[[Partition], bool],
    *,
    seconds: float,
    all_refused: bool = True,
) -> None:
    """Wait; report each healthy partition that gets no records, and, with ``all_refused``, a blocked one that does.

    The fullest buffer and the number of records in blocked partitions are noted.
    """
    healthy = [partition for partition in busy if not is_blocked(partition)]
    refusing = [partition for partition in busy if is_blocked(partition)]
    blocked = ", ".join(map(str, refusing))
    if not healthy or not refusing:
        testbed.problems.append(f"healthy partitions with records: {len(healthy)}, blocked ones: {len(refusing)}")
        return
    before: dict[Partition, int] = {}
    stalls = Stalls(dict(await asyncio.to_thread(end_offsets, testbed, healthy)), time.monotonic())
    fullest = 0.0
    polls = round(seconds / POLL_SECONDS)
    for poll in range(polls):
        if poll == polls // 2:  # until then, a broker may have to be noticed as dead, and appended records replicated
            before = await asyncio.to_thread(end_offsets, testbed, refusing)
        await asyncio.sleep(POLL_SECONDS)
        stalls.add(await asyncio.to_thread(end_offsets, testbed, healthy), time.monotonic())
        status = await testbed.bridge.status()
        if status is not None:
            fullest = max(fullest, status["buffer"]["bytes"] / status["buffer"]["budget_bytes"])
    after = await asyncio.to_thread(end_offsets, testbed, refusing)
    written = sum(after[partition] - before[partition] for partition in after.keys() & before.keys())
    testbed.notes.append(
        f"buffer at most {fullest:.0%} full, {written} records in blocked partitions in the second half"
    )
    if written and all_refused:
        testbed.problems.append(f"{blocked} got {written} records: the fault of the soak has no effect")
    testbed.problems += stalls.problems(blocked)


def end_offsets(testbed: Testbed, partitions: Collection[Partition]) -> dict[Partition, int]:
    """Return the end offset of each partition that answers."""
    admin = testbed.kafka.admin()  # it answers only while it is referenced
    asked = {TopicPartition(testbed.topic(partition.topic), partition.number): partition for partition in partitions}
    if not asked:
        return {}
    latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call] # the library's
    answers = admin.list_offsets(dict.fromkeys(asked, latest), request_timeout=OFFSETS_TIMEOUT_SECONDS)
    found = {}
    for asked_of, answer in answers.items():
        try:
            found[asked[asked_of]] = answer.result(OFFSETS_TIMEOUT_SECONDS).offset
        except (KafkaException, TimeoutError):
            continue
    return found
