"""A change of the subscriptions that Kafka cannot take at the moment: it waits visibly, and is applied."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from bridge.observability.rate_history import RateHistory
from bridge.observability.status import status
from bridge.topics import Topic
from tests.faults.kafka.load import GIVEN_UP, PATIENCE_SECONDS, under_load
from tests.support.service import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.app import Bridge
    from tests.support.brokers import RealKafka

CHANGED = "subscriptions changed"
PENDING = "new subscriptions pending, keeping current ones meanwhile"
OPTION = {"symbol": "AAPL290119C00150000", "events": ["quotes", "greeks"]}


def pending(bridge: Bridge) -> Any:
    """Return what the status document has of a pending change."""
    document = status(bridge, RateHistory(bridge.accounts), asyncio.get_running_loop().time(), 0)
    return document["aries"]["pending_change"]


async def test_a_change_waits_for_kafka_and_for_its_topic(kafka: RealKafka, topic_prefix: str, tmp_path: Path) -> None:
    """Without a new topic it is applied while Kafka is away; else when that exists and Kafka is back."""
    for topic in Topic:
        if topic is not Topic.GREEKS:
            await asyncio.to_thread(kafka.create_topic, f"{topic_prefix}.{topic}")
    file = tmp_path / "subscriptions.json"
    file.write_text(json.dumps(["AAPL"]))
    settings = {"ARIES_SUBSCRIPTIONS_FILE": str(file), "ARIES_SYMBOLS": ""}
    async with under_load(kafka, topic_prefix, settings) as load:
        bridge = load.bridge
        file.write_text(json.dumps(["AAPL", OPTION]))
        await eventually(lambda: load.logged(PENDING), "the change waits for its topic")
        assert f"no topic {topic_prefix}.greeks" in load.logged(PENDING)[0]["problem"]
        assert f"no topic {topic_prefix}.greeks" in pending(bridge)["problem"]
        assert (pending(bridge)["symbols"], len(bridge.plans.own)) == (2, 1)
        await load.flows()

        await asyncio.to_thread(kafka.kill)
        await eventually(lambda: load.logged(GIVEN_UP), "the producer is given up", PATIENCE_SECONDS)
        file.write_text(json.dumps(["AAPL", "MSFT"]))
        await load.simulator.subscribed("MSFT")
        assert pending(bridge) is None
        file.write_text(json.dumps(["AAPL", "MSFT", OPTION]))
        await eventually(lambda: len(load.logged(PENDING)) > 1, "the change waits for Kafka")
        assert "Kafka is not connected" in pending(bridge)["problem"]

        await asyncio.to_thread(kafka.restart)
        await asyncio.to_thread(kafka.create_topic, f"{topic_prefix}.greeks")
        await eventually(lambda: len(load.logged(CHANGED)) > 1, "the change is applied", PATIENCE_SECONDS)
        assert pending(bridge) is None
        await eventually(lambda: bridge.accounts.published[Topic.GREEKS], "greeks on Kafka", PATIENCE_SECONDS)
        await load.flows()
    assert bridge.accounts.undelivered.total() == 0
    await load.proof()
