"""What control announces of the process."""

from __future__ import annotations

import pytest

from bridge.kafka.partitioner import partition
from bridge.pipeline.accounts import Accounts
from bridge.pipeline.control_events import ControlEvents
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
    buffer = RecordBuffer(
        {topic: topic for topic in Topic}, accounts, 1 << 20, partition=partition, on_ready=lambda: None
    )
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
