"""What control announces of the producer."""

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
    ("rebuilds", "heartbeat", "completed"),
    [
        (0, None, "stopped"),
        (1, "producer replaced 1 time", "stopped; producer replaced 1 time"),
        (3, "producer replaced 3 times", "stopped; producer replaced 3 times"),
    ],
)
async def test_a_replaced_producer_is_announced(rebuilds: int, heartbeat: str | None, completed: str) -> None:
    """Heartbeats and the last record tell whether records may have been sent again."""
    accounts = Accounts()
    buffer = RecordBuffer(
        {topic: topic for topic in Topic}, accounts, 1 << 20, partition=partition, on_ready=lambda: None
    )
    buffer.open({Topic.CONTROL: 1})
    serializer = Serializer(SCHEMAS, single_object_prefixes(SCHEMAS))
    control = ControlEvents(serializer, buffer, accounts, instance="b")

    control.heartbeat(rebuilds)
    control.heartbeat(rebuilds)
    control.complete(rebuilds)

    values = [value for _, _, value, _ in buffer.queue_for(Topic.CONTROL, b"b").waiting]
    records = [(await Deserializer(SCHEMAS).decode(value)).record for value in values]
    assert [(record["kind"], record["reason"]) for record in records] == [
        ("HEARTBEAT", heartbeat),  # and no second one, as the first still waits
        ("SESSION_COMPLETED", completed),
    ]
