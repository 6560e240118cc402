"""Topics that are deleted and created, or reject what they are sent, while the bridge publishes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public all the same
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from bridge.errors import RecordsUndelivered
from bridge.topics import Topic
from tests.faults.kafka.load import CAN_AGAIN, CANNOT, create_topics, under_load
from tests.faults.proof import nothing_lost, verified
from tests.support.brokers import LOGIN, USER, Listener, needs_users
from tests.support.service import by_symbol, eventually, read

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka


@pytest.fixture
def prefix(kafka: RealKafka, topic_prefix: str) -> str:
    """Return a prefix whose topics exist."""
    create_topics(kafka, topic_prefix)
    return topic_prefix


def may_write(prefix: str) -> AclBinding:
    return rule(prefix, ResourcePatternType.PREFIXED, AclPermissionType.ALLOW)


def must_not_write(topic: str) -> AclBinding:
    return rule(topic, ResourcePatternType.LITERAL, AclPermissionType.DENY)


def rule(name: str, pattern: ResourcePatternType, permission: AclPermissionType) -> AclBinding:
    return AclBinding(ResourceType.TOPIC, name, pattern, f"User:{USER}", "*", AclOperation.WRITE, permission)


def make(kafka: RealKafka, rule: AclBinding) -> None:
    admin = kafka.admin()
    for made in admin.create_acls([rule]).values():
        made.result(timeout=20)


def unmake(kafka: RealKafka, rule: AclBinding) -> None:
    admin = kafka.admin()
    these = AclBindingFilter(
        rule.restype,
        rule.name,
        rule.resource_pattern_type,
        rule.principal,
        rule.host,
        rule.operation,
        rule.permission_type,
    )
    for unmade in admin.delete_acls([these]).values():
        unmade.result(timeout=20)


async def test_a_deleted_topic_that_is_created_again_continues(kafka: RealKafka, prefix: str) -> None:
    """Its records are gone; those not acknowledged arrive in the new one, in order and without a hole."""
    quotes = f"{prefix}.quotes"
    async with under_load(kafka, prefix) as load:
        await asyncio.to_thread(kafka.delete_topic, quotes)
        await eventually(lambda: load.logged(CANNOT), "the missing topic is noticed")
        before = load.bridge.accounts.published[Topic.QUOTES]
        await load.flows()  # the other topics
        assert load.bridge.accounts.published[Topic.QUOTES] == before
        await asyncio.to_thread(kafka.create_topic, quotes)
        await eventually(lambda: load.logged(CAN_AGAIN), "the new topic is found")
        await load.flows()

    nothing_lost(load.bridge, load.simulator)
    assert [line["topic"] for line in load.logged(CANNOT)] == [quotes]
    found = by_symbol(await read(kafka.bootstrap_servers, prefix, Topic.QUOTES))
    seqs = [[record["seq"] for record in records] for records in found.values()]
    assert sum(first for first, *_ in seqs) == before
    assert seqs == [list(range(of_symbol[0], of_symbol[-1] + 1)) for of_symbol in seqs]
    report = await verified(kafka.bootstrap_servers, prefix)
    assert {violation.topic for violation in report.violations} == {Topic.QUOTES, Topic.CONTROL}  # it is not silent


async def test_records_of_a_missing_partition_wait_visibly(kafka: RealKafka, prefix: str) -> None:
    """A topic created again with fewer partitions needs a restart: that is logged, and waiting records are counted."""
    trades = f"{prefix}.trades"
    with pytest.raises(RecordsUndelivered) as raised:  # noqa: PT012 - it is the end of this block that raises
        async with under_load(kafka, prefix, {"BRIDGE_DRAIN_SECONDS": "1"}) as load:
            await asyncio.to_thread(kafka.delete_topic, trades)
            await asyncio.to_thread(kafka.create_topic, trades, partitions=2)
            await eventually(lambda: load.logged(CANNOT), "the missing partitions are noticed")
            await load.flows(2_000)

    assert len(load.logged(CANNOT)) <= 2  # first the topic was missing, perhaps
    assert "it has 2 partitions now: restart the bridge" in load.logged(CANNOT)[-1]["reason"]
    assert load.bridge.accounts.undelivered == {Topic.TRADES: raised.value.count}
    assert load.bridge.accounts.balance == 0


@needs_users
@pytest.mark.parametrize("denied", [True, False], ids=["one topic denied", "every right withdrawn"])
async def test_a_right_that_is_revoked_and_granted_again_loses_nothing(
    kafka_with_acls: RealKafka, topic_prefix: str, *, denied: bool
) -> None:
    """Records wait for the right to write; none is dead-lettered, and it is logged once per topic."""
    kafka, quotes = kafka_with_acls, f"{topic_prefix}.quotes"
    create_topics(kafka, topic_prefix)
    await asyncio.to_thread(make, kafka, may_write(topic_prefix))
    async with under_load(kafka, topic_prefix, LOGIN, servers=kafka.addresses(Listener.SASL)) as load:
        if denied:
            await asyncio.to_thread(make, kafka, must_not_write(quotes))
        else:
            await asyncio.to_thread(unmake, kafka, may_write(topic_prefix))
        await eventually(lambda: load.logged(CANNOT), "the refusal is noticed")
        await load.piles_up(1_000)
        if denied:
            await asyncio.to_thread(unmake, kafka, must_not_write(quotes))
        else:
            await asyncio.to_thread(make, kafka, may_write(topic_prefix))
        await eventually(lambda: load.logged(CAN_AGAIN), "the right is noticed")
        await load.flows()

    await load.proof()
    shut = [line["topic"] for line in load.logged(CANNOT)]
    assert len(shut) == len(set(shut))
    assert not denied or shut == [quotes]
