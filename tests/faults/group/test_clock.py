"""The wall clock of an owner is set back or forward: session ids still grow from owner to owner."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from bridge import log_events
from bridge.simulator import faults
from bridge.topics import Topic
from tests.faults.group.members import JUMPING_CLOCK, group, publishes
from tests.support.service import control, read

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka

TERM = signal.SIGTERM


#: Brokers reject records of the future, of an hour ahead by default.
@pytest.mark.parametrize("minutes", [-300, 50])
async def test_session_ids_grow_from_owner_to_owner(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str, minutes: int
) -> None:
    """No lease ends by a jump of the clock; the next owner's session is larger, and its gap does not end too early."""
    async with group(kafka, topic_prefix) as running:
        owner = await running.start_owner(sabotage=JUMPING_CLOCK.format(minutes=minutes))
        standby = await running.start_standby()
        owner.signal(signal.SIGUSR2)
        await running.simulator.inject(faults.Drop())
        await owner.logged(log_events.SESSION_STARTED, 2)
        await publishes(owner, 1000)
        assert owner.all(log_events.LEASES_ENDED) == standby.all(log_events.SHARD_CLAIMED) == []
        await running.stop("bridge 0", TERM)
        await publishes(standby, 300)
        await running.stop_all(TERM)
    await running.proven(clocks_agree=False)
    found = control(await read(kafka.bootstrap_servers, topic_prefix, Topic.CONTROL))
    sessions = [one["session_id"] for one in found if one["kind"] == "SESSION_STARTED"]
    assert len(sessions) == len(set(sessions)) == 3
    of_owner = [
        one["session_id"] for one in found if one["kind"] == "SESSION_STARTED" and one["instance"] == "bridge 0"
    ]
    assert max(of_owner) < max(sessions)
    gaps = [(one["gap_from_us"], one["gap_to_us"]) for one in found if one["kind"] == "RESUMED"]
    assert all(start <= end for start, end in gaps)
