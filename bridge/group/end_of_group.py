"""Waiting until a group has ended, as Kafka shows it: a bridge with a shard of its own has the same symbols."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from bridge import log_events
from bridge.backoff import Backoff
from bridge.errors import KafkaUnreachable, TopicConfigurationError
from bridge.group.description import ShardState
from bridge.group.inspection import InspectionSettings, inspect_group, list_members
from bridge.kafka.client_options import VERSION_ERRORS
from bridge.kafka.shard_handover import POLL_SECONDS, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = structlog.get_logger(__name__)


async def await_end_of_group(
    settings: InspectionSettings, on_alive: Callable[[Sequence[str]], None] = lambda _: None
) -> None:
    """Wait until the group of this bridge's name has no member, however long it takes.

    ``on_alive`` is called with the names of those that are waited for. If this user may not see the group, or brokers
    show none, log that and do not wait.
    """
    waiting = Waiting(on_alive)
    backoff = Backoff(0.5, 15.0)
    seen: set[str] = set()
    while True:
        try:
            alive = await _alive(settings, seen)
        except TopicConfigurationError as error:
            log.warning(log_events.OTHER_BRIDGES_UNKNOWN, reason=str(error))
            on_alive(())
            return
        except KafkaUnreachable as error:
            if isinstance(error.__cause__, VERSION_ERRORS):  # as of brokers that show no groups
                log.warning(log_events.OTHER_BRIDGES_UNKNOWN, reason=str(error))
                on_alive(())
                return
            delay = backoff.next_seconds()
            log.warning(log_events.KAFKA_UNAVAILABLE, reason=str(error), retry_seconds=round(delay, 2))
            await asyncio.sleep(delay)
            continue
        backoff.reset()
        if not waiting.goes_on(sorted(alive)):
            return
        seen |= alive
        await asyncio.sleep(POLL_SECONDS)


async def _alive(settings: InspectionSettings, seen: set[str]) -> set[str]:
    """Return the members; if there are none, those that were and still own a shard: the coordinator has lost them."""
    members = {member.name for member in await list_members(settings)}
    if members or not seen:
        return members
    shards = (await inspect_group(settings)).shards
    return {shard.owner for shard in shards if shard.state is ShardState.OWNED and shard.owner in seen}
