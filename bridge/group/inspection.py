"""Reading a group from Kafka without joining it: needs Describe on the group, and Read on the topic of its shards."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol

from aiokafka.errors import GroupAuthorizationFailedError

from bridge.clock import wall_us
from bridge.errors import TopicConfigurationError
from bridge.group.description import (
    REBALANCING,
    GroupReport,
    ShardMarks,
    ShardState,
    describe_member,
    shard_count,
)
from bridge.group.marks import LEASE_SECONDS, MarkKind, decode
from bridge.group.marks_topic import TAIL_MARKS
from bridge.kafka.aiokafka_internals import client_of
from bridge.kafka.client_options import KafkaSettings, client_options, readable_errors
from bridge.kafka.consumer import assign_topics, fetch, open_consumer
from bridge.kafka.consumer_groups import describe_group
from bridge.kafka.partition_counts import shards_topic_problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from bridge.group.description import MemberDescription
    from bridge.group.marks import Mark
    from bridge.kafka.aiokafka_internals import Client
    from bridge.kafka.consumer_groups import GroupDescription

#: How long a rebalance is waited for, in which the coordinator does not show what members say.
REBALANCE_SECONDS: Final = 3.0
_COORDINATOR_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.2
_NAME: Final = "group"


class InspectionSettings(KafkaSettings, Protocol):
    """The settings that name a group and its topic."""

    @property
    def group(self) -> str | None: ...
    @property
    def group_id(self) -> str: ...
    @property
    def shards_topic(self) -> str: ...
    @property
    def bridge_shards(self) -> int: ...


async def inspect_group(settings: InspectionSettings) -> GroupReport:
    """Return what Kafka shows of a group; raises KafkaUnreachable and TopicConfigurationError.

    An owner's clock may differ from ours: if a lease seems to have ended, its next renewal is waited for.
    """
    topic = settings.shards_topic
    async with open_consumer(settings, _NAME) as consumer, readable_errors(client_options(settings, _NAME)):
        described = await _describe(client_of(consumer), settings.group_id)
        marks = MarkLog(consumer, await _partitions(consumer, settings))
        await marks.read()
        lapsed = await marks.not_renewed()
    members = _members(described, topic)
    count = shard_count(marks.shards, members, settings.bridge_shards)
    shards = [one.describe(is_lapsed=number in lapsed) for number, one in enumerate(marks.shards)]
    return GroupReport(
        group=settings.group_id.removesuffix(".shards"),
        id=settings.group_id,
        topic=topic,
        partitions=len(marks.shards),
        state=described.state,
        shard_count=count,
        members=members,
        shards=tuple(one for one in shards if one.shard < count or one.state is ShardState.OWNED),
    )


async def list_members(settings: InspectionSettings) -> tuple[MemberDescription, ...]:
    """Return the members of a group by name; raises KafkaUnreachable, and TopicConfigurationError without the right."""
    async with open_consumer(settings, _NAME) as consumer, readable_errors(client_options(settings, _NAME)):
        return _members(await _describe(client_of(consumer), settings.group_id), settings.shards_topic)


def _members(described: GroupDescription, topic: str) -> tuple[MemberDescription, ...]:
    return tuple(sorted((describe_member(one, topic) for one in described.members), key=lambda one: one.name))


async def _describe(client: Client, group_id: str) -> GroupDescription:
    deadline = time.monotonic() + REBALANCE_SECONDS
    try:
        while True:
            described = await describe_group(client, group_id, _COORDINATOR_SECONDS)
            if described.state not in REBALANCING or time.monotonic() >= deadline:
                return described
            await asyncio.sleep(_POLL_SECONDS)
    except GroupAuthorizationFailedError as error:
        raise TopicConfigurationError(
            f"not authorized to describe the consumer group {group_id}: grant Describe on it to the account of "
            "KAFKA_SASL_USERNAME (or of the client certificate)."
        ) from error


async def _partitions(consumer: AIOKafkaConsumer, settings: InspectionSettings) -> list[TopicPartition]:
    name = settings.shards_topic
    cluster = await client_of(consumer).fetch_all_metadata()
    if name not in cluster.topics() and (problem := shards_topic_problem(0, settings.bridge_shards, name)):
        raise TopicConfigurationError(problem)
    return sorted(await assign_topics(consumer, {}, (name,)))


class MarkLog:
    """The newest marks of all shards, read from their partitions."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = list(partitions)
        self._next: dict[TopicPartition, int] = {}
        self.shards: list[ShardMarks] = []

    async def read(self) -> None:
        """Read each partition up to its present end."""
        ends = await self._consumer.end_offsets(self._partitions)
        starts = await self._consumer.beginning_offsets(self._partitions)
        for partition in self._partitions:
            self._consumer.seek(partition, max(starts[partition], ends[partition] - TAIL_MARKS))
            self.shards.append(ShardMarks(partition.partition))
        while not await self._is_read(ends):
            await self._read_more()

    async def not_renewed(self) -> frozenset[int]:
        """Return the shards whose lease has ended: no mark renews it while it would last."""
        waited_for = set(self._doubtful())
        deadline = time.monotonic() + LEASE_SECONDS
        while waited_for and time.monotonic() < deadline:
            waited_for.difference_update(mark.shard for mark in await self._read_more() if mark.kind is MarkKind.HOLD)
        return frozenset(waited_for)

    def _doubtful(self) -> Iterable[int]:
        for number, shard in enumerate(self.shards):
            if (mark := shard.holder) is not None and not 0 <= wall_us() - mark.time_us < mark.lease_ms * 1000:
                yield number

    async def _is_read(self, ends: dict[TopicPartition, int]) -> bool:
        return all([await self._consumer.position(partition) >= end for partition, end in ends.items()])

    async def _read_more(self) -> list[Mark]:
        found = []
        for partition, messages in (await fetch(self._consumer, _POLL_SECONDS)).items():
            for message in messages:
                if (mark := decode(message.value)) is not None:
                    follows = message.offset in (0, self._next.get(partition))  # else compaction has removed some
                    self.shards[partition.partition].add(mark, follows=follows)
                    found.append(mark)
                self._next[partition] = message.offset + 1
        return found
