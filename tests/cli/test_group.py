"""``aries-bridge group``: members from the coordinator, owners from the marks, on Apache Kafka."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined] # public all the same

from bridge.clock import wall_us
from bridge.group.marks import Mark, MarkKind, encode
from bridge.group.member_data import Member
from bridge.group.membership import Membership
from bridge.kafka.client_options import client_options
from bridge.settings.kafka_side import kafka_settings
from tests.check.test_kafka import allow
from tests.support.brokers import LOGIN, Listener, needs_users
from tests.support.process import process
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
async def member(kafka: RealKafka, topic: str, own: Member) -> AsyncIterator[Membership]:
    """Join the group as a bridge does."""
    settings = kafka_settings(kafka.bootstrap_servers, {})
    membership = Membership(
        group_id=topic,
        topic=topic,
        instance_id=None,
        options=lambda: client_options(settings, own.instance),
        about=lambda: own,
        count_in_force=lambda: None,
        on_assignment=lambda _: None,
    )
    running = asyncio.create_task(membership.run())
    try:
        yield membership
        await membership.leave()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def shards_of(*members: Membership) -> list[int]:
    """Return all shards that are assigned, once each member is of the same generation."""
    assignments = [one.assignment for one in members]
    if len({one.generation for one in assignments if one}) != 1 or not all(assignments):
        return []
    return sorted(shard for one in assignments if one for shard in one.shards)


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
    write(kafka, topic, mark(MarkKind.CLAIM, 0, "a"), mark(MarkKind.CLAIM, 1, "b"))
    async with (
        member(kafka, topic, bridge("a")) as one,
        member(kafka, topic, bridge("b")) as other,
        member(kafka, topic, bridge("c")) as standby,
        holding(kafka, topic, (0, "a"), (1, "b")),
    ):
        await eventually(lambda: shards_of(one, other, standby) == [0, 1], "the assignment")
        code, found = await as_json(kafka, topic_prefix)
        text = (await run(kafka, topic_prefix))[1]

    assert code == 0
    assert (found["state"], found["id"], found["partitions"], found["shard_count"]) == ("Stable", topic, 3, 2)
    assert found["warnings"] == []
    a, _, c = found["members"]
    assert (a["instance"], a["client_id"], a["version"], a["fingerprint"]) == ("a", "aries-bridge-a", "1.2.3", "f1")
    assert (a["assigned"], c["instance"], c["assigned"]) == ([0], "c", [])
    assert a["host"] == "127.0.0.1"
    assert [(shard["shard"], shard["owner"], shard["state"], shard["epoch"]) for shard in found["shards"]] == [
        (0, "a", "owned", 1),
        (1, "b", "owned", 1),
    ]
    assert all(shard["since_us"] for shard in found["shards"])
    lines = text.splitlines()
    assert f"group {topic}: Stable, 3 members, 2 shards" in lines
    assert any(line.split()[0] == "c" and line.endswith("standby") for line in lines if line)


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
    assert f"topic {topic}: 2 partitions" in output
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
        member(kafka, topic, bridge("a")) as one,
        member(kafka, topic, bridge("b", "f2")) as other,
        holding(kafka, topic, (0, "a"), (1, "b")),
    ):
        await eventually(lambda: shards_of(one, other) == [0, 1], "the assignment")
        _, found = await as_json(
            kafka, "elsewhere", BRIDGE_GROUP=topic_prefix, KAFKA_TOPIC_SHARDS=topic, BRIDGE_SHARD="group"
        )
    assert found["warnings"] == ["the members have different subscriptions (fingerprints a f1, b f2)."]


async def test_one_shard(kafka: RealKafka, topic_prefix: str) -> None:
    """No process has claimed it yet; what there is one of is not many."""
    topic = f"{topic_prefix}.shards"
    kafka.create_topic(topic, partitions=1)
    code, output, _ = await run(kafka, topic_prefix)
    assert code == 1
    assert output.splitlines()[0] == f"group {topic}: Dead, 0 members, 1 shard"
    assert f"topic {topic}: 1 partition\n" in output


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
