"""Faults of Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from confluent_kafka import ElectionType
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public all the same
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from bridge.topics import Topic
from tests.faults.proxy import Direction
from tests.programs.soak.delivery_watch import BUSY_TOPICS, Partition, busy_partitions, watch_others
from tests.programs.soak.plan import Family, Kind, between, one_of, whole
from tests.programs.soak.testbed import (
    DELIVERY_TIMEOUT_SECONDS,
    INSTANCE,
    SINGLE_REPLICA_TOPIC,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random
    from typing import Any

    from tests.programs.soak.plan import Play
    from tests.programs.soak.testbed import Testbed

ADMIN_TIMEOUT_SECONDS = 20.0
#: A budget that one blocked topic fills within seconds.
SMALL_BUFFER_BYTES = 1 << 20
EXPIRATION = "producer.id.expiration.ms"
#: The broker that runs alone in a soak denies what a rule denies, and allows everything else; a cluster of several
#: would need its own users for that.
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
_LONG = between(20, 40)
_WAYS = one_of("both", *(direction.name for direction in Direction))


def kafka_kinds(brokers: int) -> tuple[Kind, ...]:
    """Return the kinds for a number of brokers."""
    broker = whole(1, brokers)
    always = (
        _kind("broker_killed", broker_killed, broker=broker, seconds=between(0, 5)),
        _kind("broker_hangs_briefly", broker_hangs, broker=broker, seconds=between(0.5, DELIVERY_TIMEOUT_SECONDS - 2)),
        _kind("broker_hangs", broker_hangs, broker=broker, seconds=between(DELIVERY_TIMEOUT_SECONDS + 1, 9)),
        _kind("all_brokers_killed", all_brokers_killed, seconds=between(1, 8)),
        _kind("all_brokers_hang", all_brokers_hang, seconds=between(1, 9)),
        _kind(
            "kafka_cut", kafka_cut, broker=broker, after_bytes=one_of(0, 1, 777, 20_000), reset=one_of(*(False, True))
        ),
        _kind("kafka_black_hole", kafka_black_hole, broker=broker, direction=_WAYS, seconds=between(1, 9)),
        _kind("kafka_slow", kafka_slow, broker=broker, chunk_bytes=one_of(5_000, 30_000), seconds=between(1, 6)),
        _kind("kafka_throttles", kafka_throttles, bytes_per_second=one_of(20_000, 200_000), seconds=between(1, 6)),
        _kind(
            "batches_too_large",
            batches_too_large,
            topic=one_of(*Topic),
            bytes=one_of(1500, 3000),
            seconds=between(2, 6),
        ),
        _alone(
            "timestamps_refused",
            timestamps_refused,
            topic=one_of(*BUSY_TOPICS),
            seconds=between(8, 15),
        ),
        _kind("producers_forgotten", producers_forgotten, seconds=between(2, 5)),
    )
    if brokers == 1:
        return (*always, _alone("write_denied", write_denied, topic=one_of(*BUSY_TOPICS), seconds=_LONG))
    return (
        *always,
        _kind("leaders_moved", leaders_moved, broker=broker),
        _kind("brokers_restarted_in_turn", brokers_restarted_in_turn),
        _alone(
            "topic_below_min_isr",
            topic_below_min_isr,
            topic=one_of(*(topic for topic in BUSY_TOPICS if topic is not SINGLE_REPLICA_TOPIC)),
            broker=broker,
            seconds=_LONG,
        ),
        _alone("partition_without_leader", partition_without_leader, broker=broker, seconds=_LONG),
        _kind("too_few_in_sync", too_few_in_sync, broker=broker, seconds=between(2, 8)),
    )


def _kind(name: str, play: Play, **draws: Callable[[Random], Any]) -> Kind:
    return Kind(name, Family.KAFKA, play, draws)


def _alone(name: str, play: Play, **draws: Callable[[Random], Any]) -> Kind:
    return Kind(name, Family.KAFKA, play, draws, alone=True)


async def broker_killed(testbed: Testbed, broker: int, seconds: float) -> None:
    """Kill a broker, and start it again."""
    await asyncio.to_thread(testbed.kafka.kill, broker)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(testbed.kafka.restart, broker)


async def broker_hangs(testbed: Testbed, broker: int, seconds: float) -> None:
    """Suspend a broker for a time."""
    await asyncio.to_thread(testbed.kafka.pause, broker)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(testbed.kafka.resume, broker)


async def all_brokers_killed(testbed: Testbed, seconds: float) -> None:
    """Kill the whole cluster, and start it again."""
    for broker in testbed.broker_numbers:
        await asyncio.to_thread(testbed.kafka.kill, broker)
    await asyncio.sleep(seconds)
    for broker in testbed.broker_numbers:
        testbed.kafka.launch(broker)
    await asyncio.to_thread(testbed.kafka.wait_until_ready)


async def all_brokers_hang(testbed: Testbed, seconds: float) -> None:
    """Suspend the whole cluster for a time."""
    for broker in testbed.broker_numbers:
        await asyncio.to_thread(testbed.kafka.pause, broker)
    await asyncio.sleep(seconds)
    for broker in testbed.broker_numbers:
        await asyncio.to_thread(testbed.kafka.resume, broker)


async def leaders_moved(testbed: Testbed, broker: int) -> None:
    """Shut a broker down, which moves its leaders; then start it and elect the preferred leaders."""
    await asyncio.to_thread(testbed.kafka.terminate, broker)
    await asyncio.to_thread(testbed.kafka.restart, broker)
    await asyncio.to_thread(_elect_preferred, testbed)


async def brokers_restarted_in_turn(testbed: Testbed) -> None:
    """Restart the brokers one by one, as an upgrade does."""
    for broker in testbed.broker_numbers:
        await asyncio.to_thread(testbed.kafka.terminate, broker)
        await asyncio.to_thread(testbed.kafka.restart, broker)
    await asyncio.to_thread(_elect_preferred, testbed)


async def too_few_in_sync(testbed: Testbed, broker: int, seconds: float) -> None:
    """Require more in-sync replicas than there are, in all topics."""
    await asyncio.to_thread(_alter, testbed, "min.insync.replicas", str(testbed.brokers), *Topic)
    await asyncio.to_thread(testbed.kafka.kill, broker)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(testbed.kafka.restart, broker)
    for topic in Topic:
        own = testbed.min_insync_replicas(topic)
        await asyncio.to_thread(_alter, testbed, "min.insync.replicas", own, topic)


async def batches_too_large(testbed: Testbed, topic: Topic, bytes: int, seconds: float) -> None:  # noqa: A002 - as Kafka says
    """Lower a topic's ``max.message.bytes`` for a time."""
    await asyncio.to_thread(_alter, testbed, "max.message.bytes", str(bytes), topic)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(_alter, testbed, "max.message.bytes", None, topic)


async def topic_below_min_isr(testbed: Testbed, topic: Topic, broker: int, seconds: float) -> None:
    """Require all replicas of one topic in sync and kill a broker, until its records fill the budget.

    The other topics go on. (With one replica, Kafka requires no more than that one, whatever the setting.)
    """
    busy = await _busy_with_small_buffer(testbed)
    name = "min.insync.replicas"
    await asyncio.to_thread(_alter, testbed, name, str(testbed.brokers), topic)
    await asyncio.to_thread(testbed.kafka.kill, broker)
    try:
        with_leader = [partition for partition in busy if testbed.has_leader_without(broker, *partition)]
        await watch_others(testbed, with_leader, lambda partition: partition.topic is topic, seconds=seconds)
    finally:
        await asyncio.to_thread(testbed.kafka.restart, broker)
        await asyncio.to_thread(_alter, testbed, name, testbed.min_insync_replicas(topic), topic)


async def write_denied(testbed: Testbed, topic: Topic, seconds: float) -> None:
    """Take away the right to write one topic, until its records fill the budget; the other topics go on."""
    busy = await _busy_with_small_buffer(testbed)
    rules = [
        _rule(testbed.topic(topic), AclOperation.ALL, AclPermissionType.ALLOW),
        _rule(testbed.topic(topic), AclOperation.WRITE, AclPermissionType.DENY),
    ]
    await asyncio.to_thread(_add_rules, testbed, rules)
    try:
        await watch_others(testbed, busy, lambda partition: partition.topic is topic, seconds=seconds)
    finally:
        await asyncio.to_thread(_remove_rules, testbed, testbed.topic(topic))


async def partition_without_leader(testbed: Testbed, broker: int, seconds: float) -> None:
    """Kill the only broker of some partitions; the other partitions go on, also those of the same topic."""
    busy = await _busy_with_small_buffer(testbed)
    await asyncio.to_thread(testbed.kafka.kill, broker)
    try:
        await watch_others(
            testbed, busy, lambda partition: not testbed.has_leader_without(broker, *partition), seconds=seconds
        )
    finally:
        await asyncio.to_thread(testbed.kafka.restart, broker)
        await asyncio.to_thread(_elect_preferred, testbed)


async def timestamps_refused(testbed: Testbed, topic: Topic, seconds: float) -> None:
    """Let one topic refuse the timestamps of all records (INVALID_TIMESTAMP); the other topics go on."""
    busy = await busy_partitions(testbed)
    limit = "message.timestamp.before.max.ms"  # beyond "after" no timestamp would be, as all clocks are the same
    await asyncio.to_thread(_alter, testbed, limit, "1", topic)
    try:
        await watch_others(
            testbed, busy, lambda partition: partition.topic is topic, seconds=seconds, all_refused=False
        )
    finally:
        await asyncio.to_thread(_alter, testbed, limit, None, topic)


async def producers_forgotten(testbed: Testbed, seconds: float) -> None:
    """Let brokers forget idle producers soon, while the market is at rest."""
    for broker in testbed.broker_numbers:
        await asyncio.to_thread(testbed.kafka.configure, EXPIRATION, "1000", broker)
    rate, testbed.simulator.rate = testbed.simulator.rate, 0
    await asyncio.sleep(seconds)
    testbed.simulator.rate = rate
    await asyncio.sleep(1)
    for broker in testbed.broker_numbers:
        await asyncio.to_thread(testbed.kafka.configure, EXPIRATION, None, broker)


async def _busy_with_small_buffer(testbed: Testbed) -> list[Partition]:
    await testbed.restart_with(BRIDGE_BUFFER_BYTES=str(SMALL_BUFFER_BYTES))
    return await busy_partitions(testbed)


async def kafka_cut(testbed: Testbed, broker: int, after_bytes: int, *, reset: bool) -> None:
    """Cut the connections to a broker after a number of bytes of its responses."""
    network = testbed.kafka_network[broker]
    network.cut(after_bytes=after_bytes, reset=reset)
    await asyncio.sleep(1)
    network.heal()


async def kafka_black_hole(testbed: Testbed, broker: int, direction: str, seconds: float) -> None:
    """Drop all bytes to a broker, from it, or both."""
    network = testbed.kafka_network[broker]
    network.black_hole(*([] if direction == "both" else [Direction[direction]]))
    await asyncio.sleep(seconds)
    network.heal()


async def kafka_slow(testbed: Testbed, broker: int, chunk_bytes: int, seconds: float) -> None:
    """Limit the bandwidth to a broker."""
    network = testbed.kafka_network[broker]
    network.slow(chunk_bytes=chunk_bytes, pause_seconds=0.1)
    await asyncio.sleep(seconds)
    network.heal()


async def kafka_throttles(testbed: Testbed, bytes_per_second: int, seconds: float) -> None:
    """Set a quota for the bridge's producer."""
    client = f"aries-bridge-{INSTANCE}"
    await asyncio.to_thread(testbed.kafka.throttle, client, bytes_per_second)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(testbed.kafka.throttle, client, None)


def _elect_preferred(testbed: Testbed) -> None:
    admin = testbed.kafka.admin()  # it answers only while it is referenced
    admin.elect_leaders(ElectionType.PREFERRED, None).result(ADMIN_TIMEOUT_SECONDS)


def _alter(testbed: Testbed, name: str, value: str | None, *topics: Topic) -> None:
    """Set a topic's configuration; None resets it."""
    admin = testbed.kafka.admin()
    operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            testbed.topic(topic),
            incremental_configs=[ConfigEntry(name, value or "", incremental_operation=operation)],
        )
        for topic in topics
    ]
    for altered in admin.incremental_alter_configs(resources, request_timeout=ADMIN_TIMEOUT_SECONDS).values():
        altered.result(ADMIN_TIMEOUT_SECONDS)


def _rule(topic: str, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    whoever = "User:ANONYMOUS", "*"
    return AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, *whoever, operation, permission)


def _add_rules(testbed: Testbed, rules: list[AclBinding]) -> None:
    admin = testbed.kafka.admin()
    for added in admin.create_acls(rules, request_timeout=ADMIN_TIMEOUT_SECONDS).values():
        added.result(ADMIN_TIMEOUT_SECONDS)


def _remove_rules(testbed: Testbed, topic: str) -> None:
    admin = testbed.kafka.admin()
    every = AclBindingFilter(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        None,  # type: ignore[arg-type] # any principal
        None,  # type: ignore[arg-type] # any host
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    for removed in admin.delete_acls([every], request_timeout=ADMIN_TIMEOUT_SECONDS).values():
        removed.result(ADMIN_TIMEOUT_SECONDS)
