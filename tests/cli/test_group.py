"""``aries-bridge group``: members from the coordinator, owners from the marks, on Apache Kafka."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined] # public all the same

from bridge.clock import wall_us
from bridge.group.marks import Mark, MarkKind, encode
from bridge.group.member_data import Member
from bridge.group.member_data import encode as encode_member
from tests.check.test_kafka import allow
from tests.support.brokers import LOGIN, Listener, needs_users
from tests.support.process import process
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from aiokafka.cluster import ClusterMetadata

    from tests.support.brokers import RealKafka

HOUR_US = 3_600_000_000


def mark(kind: MarkKind, shard: int, owner: str, *, ago_us: int = 0, epoch: int = 1) -> Mark:
    return Mark(
        kind=kind,
        shard=shard,
        shards=2,
        epoch=epoch,
        owner=owner,
        process=f"process-{owner}",
        session_id=5,
        time_us=wall_us() - ago_us,
    )


def write(kafka: RealKafka, topic: str, *marks: Mark) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for one in marks:
        key, value = encode(one)
        producer.produce(topic, value, key, one.shard)
    assert producer.flush(30) == 0


@asynccontextmanager
async def holding(kafka: RealKafka, topic: str, *owners: tuple[int, str], behind_us: int = 0) -> AsyncIterator[None]:
    """Renew the leases of owners whose clocks are behind."""

    async def renew() -> None:
        while True:
            holds = [mark(MarkKind.HOLD, shard, owner, ago_us=behind_us) for shard, owner in owners]
            await asyncio.to_thread(write, kafka, topic, *holds)
            await asyncio.sleep(0.5)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


@asynccontextmanager
async def member(kafka: RealKafka, topic: str, own: Member) -> AsyncIterator[AIOKafkaConsumer]:
    """Join the group as a bridge does, by a client of aiokafka; the leader gives everything to the first by name."""

    class Assignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka ships no types
        name = "aries-shards"

        @classmethod
        def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
            return ConsumerProtocolMemberMetadata(0, list(topics), encode_member(own))

        @classmethod
        def assign(
            cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            first = min(members, key=lambda one: members[one].user_data)
            partitions = sorted(cluster.partitions_for_topic(topic))
            return {
                one: ConsumerProtocolMemberAssignment(0, [(topic, partitions if one == first else [])], b"")
                for one in members
            }

        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None: ...

    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=topic,
        client_id=f"client-{own.instance}",
        partition_assignment_strategy=(Assignor,),
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def bridge(name: str, fingerprint: str = "f1") -> Member:
    return Member(instance=name, process=f"process-{name}", shards=2, fingerprint=fingerprint, version="1.2.3")


async def run(kafka: RealKafka, prefix: str, *options: str, **environ: str) -> tuple[int, str, str]:
    """Return the exit code, what is printed, and what is noted."""
    settings = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "KAFKA_TOPIC_PREFIX": prefix, **environ}
    async with process(settings, "group", *options) as command:
        code = await command.ended()
    return code, command.output, " ".join(command.text)


async def as_json(kafka: RealKafka, prefix: str, **environ: str) -> tuple[int, dict[str, Any]]:
    code, output, _ = await run(kafka, prefix, "--json", **environ)
    found: dict[str, Any] = json.loads(output)
    return code, found


async def test_members_shards_and_owners(kafka: RealKafka, topic_prefix: str) -> None:
    """A standby is a member without a shard; each shard has its owner, and there is nothing to warn of."""
    topic = f"{topic_prefix}.shards"
    kafka.create_topic(topic, partitions=3)
    write(kafka, topic, *(mark(MarkKind.CLAIM, shard, "a") for shard in (0, 1)))
    async with (
        member(kafka, topic, bridge("a")) as owner,
        member(kafka, topic, bridge("b")) as standby,
        holding(kafka, topic, (0, "a"), (1, "a")),
    ):
        await eventually(lambda: len(owner.assignment()) == 3 and not standby.assignment(), "the assignment")
        code, found = await as_json(kafka, topic_prefix)
        text = (await run(kafka, topic_prefix))[1]

    assert code == 0
    assert (found["state"], found["id"], found["partitions"], found["shard_count"]) == ("Stable", topic, 3, 2)
    assert found["warnings"] == []
    a, b = found["members"]
    assert (a["instance"], a["client_id"], a["version"], a["fingerprint"]) == ("a", "client-a", "1.2.3", "f1")
    assert (a["assigned"], b["instance"], b["assigned"]) == ([0, 1, 2], "b", [])
    assert a["host"] == "127.0.0.1"
    assert [(one["shard"], one["owner"], one["state"], one["epoch"]) for one in found["shards"]] == [
        (0, "a", "owned", 1),
        (1, "a", "owned", 1),
    ]
    assert all(one["since_us"] for one in found["shards"])
    lines = text.splitlines()
    assert f"group {topic}: Stable, 2 members, 2 shards" in lines
    assert any(line.split()[0] == "b" and line.endswith("standby") for line in lines if line)


async def test_a_shard_without_owner(kafka: RealKafka, topic_prefix: str) -> None:
    """The exit code is 1; the lease of one has ended, the other was released, and the reasons are noted."""
    topic = f"{topic_prefix}.shards"
    kafka.create_topic(topic, partitions=2)
    write(
        kafka,
        topic,
        mark(MarkKind.HOLD, 0, "a", ago_us=HOUR_US),
        mark(MarkKind.HOLD, 1, "b"),
        mark(MarkKind.RELEASE, 1, "b"),
    )
    code, output, notes = await run(kafka, topic_prefix)

    assert code == 1
    assert "lapsed" in output
    assert "the group has no members" in notes
    assert "shard 0 has no owner: a does not renew its lease" in notes
    assert "shard 1 has no owner: b has released it" in notes


@pytest.mark.parametrize("behind_us", [HOUR_US, -HOUR_US])
async def test_the_clock_of_an_owner_is_another(kafka: RealKafka, topic_prefix: str, behind_us: int) -> None:
    """A lease that is renewed has not ended, whatever the time of its marks."""
    topic = f"{topic_prefix}.shards"
    kafka.create_topic(topic, partitions=2)
    async with holding(kafka, topic, (0, "a"), (1, "b"), behind_us=behind_us):
        code, found = await as_json(kafka, topic_prefix)
    assert code == 0
    assert {one["state"] for one in found["shards"]} == {"owned"}


async def test_members_with_different_plans(kafka: RealKafka, topic_prefix: str) -> None:
    """The report names both; a group that is not named after the topics is found by BRIDGE_GROUP."""
    kafka.create_topic(topic := f"{topic_prefix}.shards", partitions=2)
    async with (
        member(kafka, topic, bridge("a")) as owner,
        member(kafka, topic, bridge("b", "f2")) as standby,
        holding(kafka, topic, (0, "a"), (1, "a")),
    ):
        await eventually(lambda: owner.assignment() and not standby.assignment(), "the assignment")
        _, found = await as_json(
            kafka, "elsewhere", BRIDGE_GROUP=topic_prefix, KAFKA_TOPIC_SHARDS=topic, BRIDGE_SHARD="group"
        )
    assert found["warnings"] == ["the members have different subscriptions (fingerprints a f1, b f2)."]


async def test_a_missing_topic(kafka: RealKafka, topic_prefix: str) -> None:
    """It is not created, and the error says who creates it."""
    for _ in range(2):
        code, _, notes = await run(kafka, topic_prefix)
        assert code == 1
        assert f"Kafka has no topic {topic_prefix}.shards" in notes


@needs_users
async def test_rights_that_are_missing(kafka_with_acls: RealKafka, topic_prefix: str) -> None:
    """The error names the right, first on the topic, then on the group; with both, the shards are shown."""
    kafka, topic = kafka_with_acls, f"{topic_prefix}.shards"
    kafka.create_topic(topic, partitions=1)
    login = {**LOGIN, "KAFKA_BOOTSTRAP_SERVERS": kafka.addresses(Listener.SASL)}

    async def noted_once(words: str) -> None:
        async with asyncio.timeout(60):  # a broker learns of a right a moment after it was granted
            while words not in (await run(kafka, topic_prefix, **login))[2]:
                pass

    await noted_once(f"not authorized to describe the consumer group {topic}: grant Describe on it")
    allow(kafka, ResourceType.GROUP, topic, AclOperation.DESCRIBE)
    await noted_once(f"Kafka has no topic {topic} (or this user may not describe it)")
    allow(kafka, ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    write(kafka, topic, mark(MarkKind.CLAIM, 0, "a"))
    await noted_once(f"not authorized to read the Kafka topic {topic}: grant Read on it")
    allow(kafka, ResourceType.TOPIC, topic, AclOperation.READ)
    await noted_once("shard 0 has no owner: a has claimed it and has not begun")
