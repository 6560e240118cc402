"""Membership in a group of Apache Kafka's coordinator."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined] # public all the same
from structlog.testing import capture_logs

from bridge import log_events
from bridge.group.member_data import Member
from bridge.group.membership import HEARTBEAT_SECONDS, SESSION_TIMEOUT_SECONDS, Assignment, Membership
from bridge.kafka.client_options import client_options
from bridge.settings.kafka_side import kafka_settings
from tests.check.test_kafka import allow
from tests.support.background import in_background
from tests.support.brokers import LOGIN, Listener, needs_users
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.support.brokers import RealKafka

SHARDS = 2
KAFKA_SECONDS = 30.0


class Process:
    """A process of a group, without shards of its own: it notes what the group assigns to it."""

    def __init__(
        self, servers: str, group: str, name: str, *, instance_id: str | None = None, environ: Mapping[str, str] | None
    ) -> None:
        settings = kafka_settings(servers, environ or {})
        self.name = name
        self.owned: tuple[int, ...] = ()
        self.fit = True
        self.assignments: list[Assignment | None] = []
        self.membership = Membership(
            group_id=group,
            topic=group,
            instance_id=instance_id,
            options=lambda: client_options(settings, name),
            about=lambda: Member(instance=name, process=f"p-{name}", shards=SHARDS, owned=self.owned, fit=self.fit),
            count_in_force=lambda: SHARDS,
            on_assignment=self.assignments.append,
        )

    @property
    def shards(self) -> tuple[int, ...] | None:
        assignment = self.membership.assignment
        return None if assignment is None else assignment.shards

    @property
    def members(self) -> list[str]:
        assignment = self.membership.assignment
        return [] if assignment is None else sorted(member.instance for member in assignment.members)


@asynccontextmanager
async def member(
    servers: str, group: str, name: str, *, instance_id: str | None = None, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    process = Process(servers, group, name, instance_id=instance_id, environ=environ)
    async with in_background(process.membership.run()):
        yield process


async def becomes(process: Process, shards: tuple[int, ...] | None, *members: str) -> None:
    await eventually(
        lambda: process.shards == shards and process.members == [*members],
        f"{process.name} has {shards}, and the members are {members}",
    )


@pytest.fixture
def group(kafka: RealKafka, topic_prefix: str) -> str:
    """Create the topic of a group; return their name."""
    name = f"{topic_prefix}.shards"
    kafka.create_topic(name, partitions=SHARDS)
    return name


async def test_members_share_the_shards_and_know_each_other(kafka: RealKafka, group: str) -> None:
    """The first member gets all shards, the second its share; each knows what the others say of themselves."""
    servers = kafka.bootstrap_servers
    async with member(servers, group, "a") as first:
        await becomes(first, (0, 1), "a")
        assert first.membership.problem == ""
        first.owned = (0, 1)
        async with member(servers, group, "b") as second:
            await becomes(second, (1,), "a", "b")
            await becomes(first, (0,), "a", "b")
            assert first.membership.assignment is not None
            known = {one.instance: one for one in first.membership.assignment.members}
            assert known["b"].assigned == (1,)
            assert known["a"].owned == (0, 1)
            assert None in first.assignments  # while there was none


@pytest.mark.parametrize("instance_id", [None, "a"])
async def test_a_member_that_leaves_is_missed_at_once(kafka: RealKafka, group: str, instance_id: str | None) -> None:
    """Its shards are assigned long before its session would time out, static or not, and it joins no more."""
    servers = kafka.bootstrap_servers
    async with member(servers, group, "a", instance_id=instance_id) as first, member(servers, group, "b") as second:
        await eventually(lambda: first.members == second.members == ["a", "b"], "both are members")
        with capture_logs() as logs:
            await first.membership.leave()
            left_at = time.monotonic()
            await becomes(second, (0, 1), "b")
            rejoined_at = second.membership.confirmed_at or 0
            assert rejoined_at < left_at + SESSION_TIMEOUT_SECONDS  # before that, the request alone can have removed it
            later = left_at + 3 * HEARTBEAT_SECONDS
            await eventually(lambda: (second.membership.confirmed_at or 0) > later, "some heartbeats")
            assert second.members == ["b"]
        assert log_events.GROUP_NOT_LEFT not in [line["event"] for line in logs]


async def test_a_member_that_cannot_reach_aries_gets_no_shard(kafka: RealKafka, group: str) -> None:
    """What a member says anew is heard when it asks for a rebalance; the others are preferred."""
    servers = kafka.bootstrap_servers
    async with member(servers, group, "a") as first, member(servers, group, "b") as second:
        await eventually(lambda: first.members == second.members == ["a", "b"], "both are members")
        first.fit = False
        first.membership.rejoin()
        await becomes(first, (), "a", "b")
        await becomes(second, (0, 1), "a", "b")


async def test_a_rebalance_keeps_the_last_assignment_in_sight(kafka: RealKafka, group: str) -> None:
    """There is no assignment while members join again, but it is known what the last one was."""
    servers = kafka.bootstrap_servers
    seen: list[tuple[bool, bool]] = []
    async with member(servers, group, "a") as first:
        await becomes(first, (0, 1), "a")
        membership = first.membership
        membership._on_assignment = lambda now: seen.append((now is None, membership.last_assignment is None))
        membership.rejoin()
        await eventually(lambda: len(seen) >= 2, "another assignment")
    assert seen[:2] == [(True, False), (False, False)]


async def test_a_static_member_is_known_again_after_a_restart(kafka: RealKafka, group: str) -> None:
    """With a stable name a killed process that comes back within its session has its shards again (KIP-345)."""
    servers = kafka.bootstrap_servers
    async with member(servers, group, "b") as other:
        async with member(servers, group, "a-0", instance_id="a-0") as process:
            await eventually(lambda: process.members == other.members == ["a-0", "b"], "both are members")
            shards, generation = process.shards, other.membership.assignment
        async with member(servers, group, "a-0", instance_id="a-0") as again:
            await eventually(lambda: again.shards == shards, "the same shards")
            assert generation is not None
        # It ended without leaving: for the other nothing has changed.
        assert other.membership.assignment is not None
        assert other.membership.assignment.shards == generation.shards


async def test_two_processes_with_one_name(kafka: RealKafka, group: str) -> None:
    """Of two static members with the same name the older one is fenced, says what to change, and joins without it."""
    servers = kafka.bootstrap_servers
    with capture_logs() as logs:
        async with (
            member(servers, group, "a-0", instance_id="a-0") as first,
            member(servers, group, "a-0", instance_id="a-0") as second,
        ):
            await eventually(lambda: first.members == second.members == ["a-0", "a-0"], "both are members")
            assert sorted([*(first.shards or ()), *(second.shards or ())]) == [0, 1]
    [refused] = [line for line in logs if line["event"] == log_events.GROUP_REFUSED]
    assert "names must differ" in refused["reason"]


async def test_a_group_of_other_programs(kafka: RealKafka, group: str) -> None:
    """A group id that consumers use is refused by the coordinator, with the setting to change."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": group})
    try:
        consumer.subscribe([group])
        async with asyncio.timeout(KAFKA_SECONDS):
            while not consumer.assignment():
                await asyncio.to_thread(consumer.poll, 0.1)
        with capture_logs() as logs:
            async with member(kafka.bootstrap_servers, group, "a") as process:
                await eventually(lambda: "BRIDGE_GROUP" in process.membership.problem, "the refusal")
    finally:
        consumer.close()
    assert [line["event"] for line in logs] == [log_events.GROUP_REFUSED]
    assert process.shards is None


@needs_users
async def test_a_user_without_the_right_to_read_the_group(kafka_with_acls: RealKafka, topic_prefix: str) -> None:
    """The problem names the right; once it is granted the process joins without a restart."""
    kafka, name = kafka_with_acls, f"{topic_prefix}.shards"
    kafka.create_topic(name, partitions=SHARDS)
    allow(kafka, ResourceType.TOPIC, name, AclOperation.READ)
    async with member(kafka.addresses(Listener.SASL), name, "a", environ=LOGIN) as process:
        await eventually(lambda: "grant Read on the group" in process.membership.problem, "the refusal")
        allow(kafka, ResourceType.GROUP, name, AclOperation.READ)
        await becomes(process, (0, 1), "a")
        assert process.membership.problem == ""
