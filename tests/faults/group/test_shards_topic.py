"""The topic in which shards are claimed is deleted, and created again."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from bridge import log_events
from tests.faults.group.members import create_marks_topic, group, publishes

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka

TERM = signal.SIGTERM


@pytest.mark.parametrize("waits", [True, False])
async def test_the_topic_is_deleted_and_created_again(
    kafka: RealKafka,
    kafka_topics: None,
    topic_prefix: str,
    waits: bool,  # noqa: FBT001 - parametrised
) -> None:
    """The owner stops at the end of its lease and goes on with the new topic; nobody begins beside it."""
    async with group(kafka, topic_prefix) as running:
        owner, standby = await running.start_owner(), await running.start_standby()
        await asyncio.to_thread(kafka.delete_topic, f"{topic_prefix}.shards")
        if waits:
            await owner.logged(log_events.LEASES_ENDED)
            await owner.logged(log_events.MARKS_UNAVAILABLE)
        await asyncio.to_thread(create_marks_topic, kafka, topic_prefix)
        if waits:
            await owner.logged(log_events.LEASES_RENEWED)
        await publishes(owner, 2500)
        assert standby.all(log_events.SHARD_CLAIMED) == []
        await running.stop("bridge 0", TERM)
        await publishes(standby, 300)
        await running.stop_all(TERM)
    await running.proven()
    assert running.dropped() == 0
