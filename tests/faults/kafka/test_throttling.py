"""Quotas of the broker: it accepts less than the feed sends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.faults.kafka.load import PATIENT, create_topics, under_load

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka


async def test_a_quota_slows_the_bridge_and_loses_nothing(kafka: RealKafka, topic_prefix: str) -> None:
    """A throttled producer is kept, the backlog stays within the budget, and is sent when the quota is removed."""
    create_topics(kafka, topic_prefix)
    settings = {**PATIENT, "BRIDGE_INSTANCE": topic_prefix, "KAFKA_COMPRESSION": "none"}
    client = f"aries-bridge-{topic_prefix}"
    async with under_load(kafka, topic_prefix, settings) as load:
        await asyncio.to_thread(kafka.throttle, client, 5_000)
        acknowledged, received = load.acknowledged, load.bridge.accounts.lines_received
        await load.piles_up(3_000)
        assert load.acknowledged - acknowledged < (load.bridge.accounts.lines_received - received) / 2
        await asyncio.to_thread(kafka.throttle, client, None)
        await load.flows()

    await load.proof()
    assert load.bridge.publisher.state.rebuilds == 0
