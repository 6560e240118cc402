"""Waiting until a group has ended, as Kafka shows it: a bridge with a shard of its own has the same symbols."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.errors import KafkaUnreachable
from bridge.group.description import ShardState
from bridge.group.inspection import InspectionSettings, inspect_group, list_members
from bridge.kafka.client_options import VERSION_ERRORS
from bridge.kafka.shard_handover import POLL_SECONDS, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


async def await_end_of_group(
    settings: InspectionSettings, on_alive: Callable[[Sequence[str]], None] = lambda _: None
) -> None:
    """Wait until the group of this bridge's name has no member, however long it takes.

    ``on_alive`` is called with the names of those that are waited for. If this user may not see the group, or brokers
    show none, log that and do not wait.
    """
    waiting = Waiting(on_alive)
    seen: set[str] = set()

    async def attempt() -> None:
        try:
            while waiting.goes_on(sorted(alive := await _alive(settings, seen))):
                waiting.backoff.reset()
                seen.update(alive)
                await asyncio.sleep(POLL_SECONDS)
        except KafkaUnreachable as error:
            if not isinstance(error.__cause__, VERSION_ERRORS):
                raise
            waiting.give_up(error)  # these brokers show no groups

    await waiting.until_over(attempt)


async def _alive(settings: InspectionSettings, seen: set[str]) -> set[str]:
    """Return the members; if there are none, those that were and still own a shard: the coordinator has lost them."""
    members = {member.name for member in await list_members(settings)}
    if members or not seen:
        return members
    shards = (await inspect_group(settings)).shards
    return {shard.owner for shard in shards if shard.state is ShardState.OWNED and shard.owner in seen}
