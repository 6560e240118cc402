"""Processes of a group with different subscriptions, and subscriptions that change for all of them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from bridge import log_events
from bridge.topics import Topic
from tests.faults.group.members import group, publishes
from tests.support.service import control, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.brokers import RealKafka

TERM = signal.SIGTERM
#: Plans may differ for so long until that is reported; the default is longer than a test.
IMPATIENT = "from bridge.group import ownership\nownership.PLANS_DIFFER_SECONDS = 1.0\n"


async def test_a_process_with_an_old_plan_is_reported(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """Both processes log it, and the owner announces it, naming both."""
    async with group(kafka, topic_prefix) as running:
        owner = await running.start_owner(sabotage=IMPATIENT)
        standby = await running.start_standby(sabotage=IMPATIENT, ARIES_SYMBOLS="AAPL")
        logged = [await bridge.logged(log_events.PLANS_DIFFER) for bridge in (owner, standby)]
        assert ["bridge 1" in logged[0]["others"], "bridge 0" in logged[1]["others"]] == [True, True]
        await publishes(owner, 300)
        await running.stop("bridge 1", TERM)
        await running.stop_all(TERM)
        assert [len(bridge.all(log_events.PLANS_DIFFER)) for bridge in (owner, standby)] == [1, 1]
    await running.proven()
    found = control(await read(kafka.bootstrap_servers, topic_prefix, Topic.CONTROL))
    [reason] = [one["reason"] for one in found if one["kind"] == "PLAN_CHANGED"]
    assert reason.startswith("plans differ: bridge 0 ")
    assert "bridge 1" in reason


async def test_changed_subscriptions_apply_to_all(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str, tmp_path: Path
) -> None:
    """The owner subscribes to what is new, the standby publishes it once it takes over; neither reports the other."""
    file = tmp_path / "subscriptions.txt"
    file.write_text("AAPL\nMSFT\n")
    settings = {"ARIES_SUBSCRIPTIONS_FILE": str(file), "ARIES_SYMBOLS": ""}
    async with group(kafka, topic_prefix, settings) as running:
        owner = await running.start_owner(sabotage=IMPATIENT)
        standby = await running.start_standby(sabotage=IMPATIENT)
        file.write_text("AAPL\nMSFT\nNVDA\n")
        await owner.logged(log_events.SUBSCRIPTIONS_CHANGED, 2)
        await publishes(owner, 500)
        await running.stop("bridge 0", TERM)
        await publishes(standby, 300)
        await running.stop_all(TERM)
    assert owner.all(log_events.PLANS_DIFFER) == standby.all(log_events.PLANS_DIFFER) == []
    await running.proven()
    found = await read(kafka.bootstrap_servers, topic_prefix, Topic.QUOTES)
    assert len({one.record["session_id"] for one in found if one.key == "NVDA"}) == 2
