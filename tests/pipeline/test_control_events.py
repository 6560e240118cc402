"""What control announces of the process."""

from __future__ import annotations

import pytest

from bridge.kafka.partitioner import partition
from bridge.pipeline.accounts import Accounts
from bridge.pipeline.control_events import ControlEvents, ControlKind, ShardIdentity
from bridge.pipeline.record_buffer import RecordBuffer
from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.topics import Topic

SCHEMAS = schemas.load()


@pytest.mark.parametrize(
    ("rebuilds", "letters_dropped", "heartbeat"),
    [
        (0, 0, None),
        (1, 0, "producer replaced 1 time"),
        (3, 0, "producer replaced 3 times"),
        (0, 7, "dead letters rate-limited, 7 dropped"),
        (2, 8, "producer replaced 2 times; dead letters rate-limited, 8 dropped"),
    ],
)
async def test_a_replaced_producer_and_a_flood_of_dead_letters_are_announced(
    rebuilds: int, letters_dropped: int, heartbeat: str | None
) -> None:
    """Heartbeats and the last record say whether records may be repeated, or dead letters were dropped."""
    accounts = Accounts()
    if letters_dropped:
        accounts.dropped[Topic.DLQ, "rate_limit"] += letters_dropped
    buffer = RecordBuffer({topic: topic for topic in Topic}, accounts, 1 << 20, partition=partition)
    buffer.open({Topic.CONTROL: 1})
    serializer = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS))
    control = ControlEvents(serializer, buffer, accounts, instance="b")
    control.start_session(7)

    control.heartbeat(rebuilds)
    control.heartbeat(rebuilds)
    control.complete(rebuilds)

    values = [value for _, _, value, _ in buffer.queue_for(Topic.CONTROL, b"b").waiting]
    records = [(await Deserializer(SCHEMAS).decode(value)).record for value in values]
    assert [(record["kind"], record["reason"]) for record in records] == [
        ("HEARTBEAT", heartbeat),  # and no second one, as the first still waits
        ("SESSION_COMPLETED", "; ".join(filter(None, ("stopped", heartbeat)))),
    ]


class Announcements:
    """Control events of a group's process, and what they have queued."""

    def __init__(self) -> None:
        self.buffer = RecordBuffer({topic: topic for topic in Topic}, Accounts(), 1 << 20, partition=partition)
        self.buffer.open({Topic.CONTROL: 1})
        serializer = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS))
        self.control = ControlEvents(
            serializer, self.buffer, Accounts(), instance="b", shard=ShardIdentity(None, 3, "g")
        )

    async def taken(self) -> list[tuple[object, object, object]]:
        """Return kind, shard and session of what was queued, and empty the queue."""
        waiting = self.buffer.queue_for(Topic.CONTROL, b"b").waiting
        records = [(await Deserializer(SCHEMAS).decode(value)).record for _, _, value, _ in waiting]
        waiting.clear()
        assert {(record["shards"], record["group"]) for record in records} <= {(3, "g")}
        return [(record["kind"], record["shard"], record["session_id"]) for record in records]


async def test_each_shard_has_a_session_of_its_own() -> None:
    """A shard is announced without a session until it has one; heartbeats come for each that has."""
    of = Announcements()
    control = of.control
    assert (control.session_id, control.has_session) == (None, False)
    control.claim(2, reason="first owner", gap_from_us=None)
    control.claim(0, reason="first owner", gap_from_us=None)
    control.heartbeat(0)
    assert await of.taken() == [("SHARD_CLAIMED", 2, None), ("SHARD_CLAIMED", 0, None)]
    assert not control.has_session
    control.start_session(100)
    control.claim(1, reason="released by a", gap_from_us=1)
    control.heartbeat(0)
    control.announce_each(ControlKind.SUBSCRIBED)
    assert await of.taken() == [("SHARD_CLAIMED", 1, None), ("SUBSCRIBED", 0, 100), ("SUBSCRIBED", 2, 100)]
    control.start_session(200, [1])
    control.heartbeat(0)
    assert await of.taken() == [("HEARTBEAT", 0, 100), ("HEARTBEAT", 1, 200), ("HEARTBEAT", 2, 100)]
    assert control.session_id == 200


async def test_a_released_shard_is_announced_no_more() -> None:
    """Its release has its last session; the end of the process that of the last session that there was."""
    of = Announcements()
    control = of.control
    for shard in (0, 1):
        control.claim(shard, reason="first owner", gap_from_us=None)
    control.start_session(100)
    control.start_session(200, [1])
    await of.taken()
    control.release(0, reason="claimed by a")
    control.heartbeat(0)
    assert await of.taken() == [("SHARD_RELEASED", 0, 100)]  # the release waits, so that no heartbeat is added
    control.heartbeat(0)
    control.release(1, reason="stopped")
    control.complete(0)
    assert await of.taken() == [
        ("HEARTBEAT", 1, 200),
        ("SHARD_RELEASED", 1, 200),
        ("SESSION_COMPLETED", 1, 200),
    ]
    assert (control.sessions, control.has_session, control.session_id) == ({}, False, 200)
