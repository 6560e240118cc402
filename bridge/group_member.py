"""The bridge as a member of its group: what begins and ends in it with each shard that it owns."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from bridge.aries.subscriptions.shards import MARKET_STATUS_SHARD, shard_of
from bridge.clock import wall_us
from bridge.group.marks import Progress
from bridge.group.ownership import Ownership
from bridge.group.shard_locks import Cause, LockState
from bridge.market_data import MARKET
from bridge.pipeline.accounts import HANDED_OVER, LEASE_LOST
from bridge.pipeline.control_events import LEASE_EXPIRED, LEASE_OF_EXPIRED, RELEASED_BY, ControlKind
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bridge.aries.client import AriesClient
    from bridge.group.shard_locks import Claimed
    from bridge.kafka.publisher import Publisher
    from bridge.pipeline.assembly import Pipeline
    from bridge.plans import Plans
    from bridge.settings import Settings

#: The longest that a shard's records may take to be published once another process waits for it.
MAX_DRAIN_SECONDS: Final = 10.0
#: How long the announcement that a shard is released may take.
ANNOUNCE_SECONDS: Final = 1.0
#: How long before the end of a stop's drain what is left of a shard is given up, so that the next owner need not wait.
STOP_MARGIN_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.005
_REASONS: Final = {
    Cause.STOPPED: "stopped",
    Cause.UNREACHABLE: "Aries cannot be reached",
    Cause.LEASE_EXPIRED: LEASE_EXPIRED,
}


class GroupMember:
    """The shards of this process, and the parts of the bridge that publish them."""

    def __init__(
        self,
        settings: Settings,
        *,
        pipeline: Pipeline,
        publisher: Publisher,
        client: AriesClient,
        options: Callable[[], Mapping[str, object]],
        plans: Plans,
    ) -> None:
        self.shards: set[int] = set()
        #: Set while shards are ours, and while none is.
        self.owning = asyncio.Event()
        self.standing_by = asyncio.Event()
        self.ownership = Ownership(settings, self, options, process=secrets.token_hex(6))
        self._settings = settings
        self._control, self._ingest, self._buffer = pipeline.control, pipeline.ingest, pipeline.buffer
        self._publisher = publisher
        self._client = client
        self._plans = plans
        #: How far each shard was published that was ours.
        self._published: dict[int, Progress] = {}
        self.standing_by.set()

    async def stop(self) -> None:
        """Release all shards and leave the group; ``ownership.run`` must go on meanwhile."""
        await self.ownership.stop(self._settings.bridge_drain_seconds)

    # -- what the group decides ---------------------------------------------------------------------------------

    def claim(self, claimed: Claimed) -> None:
        """Begin to publish a shard."""
        shard, former = claimed.shard, claimed.former
        gap_from_us = None if former is None else former.last_data_us
        # Two processes may take shards of one owner whose clock was ahead: their sessions must differ, too.
        self._client.session_floor = max(self._client.session_floor, claimed.newest_session_id + shard)
        reason = _claim_reason(claimed)
        self._control.claim(shard, reason=reason, gap_from_us=gap_from_us)
        if gap_from_us is not None:
            self._control.announce(ControlKind.GAP, shard=shard, gap_from_us=gap_from_us, reason=reason)
        self.shards.add(shard)
        self._client.claim(shard, gap_from_us, self._includes(shard))
        if shard == MARKET_STATUS_SHARD:
            self._ingest.set_market_status(wanted=True)
        if not self._plans.set_shards(self.shards):
            self._client.resume_claimed()  # it has no symbols: nothing will be subscribed
        self._set_owning()

    async def release(self, shard: int, cause: Cause, other: str) -> None:
        """Stop reading a shard, and wait until what was read of it is published, or given up."""
        includes, locks = self._includes(shard), self.ownership.locks
        received = self._received(shard)
        self._end(shard)
        seconds = self._settings.bridge_drain_seconds
        drain: Callable[[float], Awaitable[None]]
        if cause is Cause.STOPPED:  # that it is released should still be said in time
            drain, seconds = self._drain_all, max(seconds / 2, seconds - STOP_MARGIN_SECONDS)
        else:
            drain, seconds = partial(self._drain_own, includes), min(seconds, MAX_DRAIN_SECONDS)
        await drain(seconds)
        while locks.state(shard) is LockState.SUSPENDED:  # Kafka is away: to the end of the drain, as any bridge
            await self._wait_while(lambda: locks.state(shard) is LockState.SUSPENDED, seconds)
            await drain(seconds)
        if shard not in self._control.sessions:
            return  # it was lost meanwhile, and that is announced
        if self._buffer.holds(includes):
            # What is in flight may not arrive after the release, and its queue must not send on beside it.
            self._publisher.cut("records of a released shard were not acknowledged in time")
        if not self._ingest.drop(includes, None if cause is Cause.STOPPED else HANDED_OVER):
            self._published[shard] = received
        self._control.release(shard, reason=_REASONS.get(cause, f"claimed by {other}"))
        await self._wait_while(lambda: self._buffer.holds_any(Topic.CONTROL), ANNOUNCE_SECONDS)

    async def _drain_own(self, includes: Callable[[str], bool], timeout_seconds: float) -> None:
        """Wait until all records of these symbols are acknowledged."""
        await self._wait_while(
            lambda: self._ingest.release_all(wall_us()) or self._buffer.holds(includes), timeout_seconds
        )

    async def _drain_all(self, timeout_seconds: float) -> None:
        """Wait until all records are acknowledged, those of blocked topics only a little longer than the others.

        At a stop nothing of other shards is read any more either, and the next owner waits for this.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self._ingest.release_all(wall_us()):
                    await self._publisher.drained()
                await self._publisher.drained()

    def lose(self, shard: int) -> None:
        """Drop what was read of a shard: another process may publish it."""
        self._publisher.cut("the lease of a shard has ended")
        self._end(shard)
        self._ingest.drop(self._includes(shard), LEASE_LOST)
        if shard in self._control.sessions:  # else its release was just announced
            self._control.release(shard, reason=_REASONS[Cause.LEASE_EXPIRED])

    def suspend(self) -> None:
        """Cut the connections to Kafka: the leases have ended, and nothing may arrive late."""
        self._publisher.cut("the leases of the shards have ended")

    def resume(self) -> None:
        """Publish what waits."""
        self._publisher.resume()

    def progress(self, shard: int) -> Progress:
        """Return how far a shard is published."""
        if shard not in self.shards:
            return self._published.get(shard, Progress())
        session_id, received_us = self._received(shard)
        waiting_us = self._buffer.oldest_unacknowledged_us()
        if received_us is not None and waiting_us is not None:
            received_us = min(received_us, waiting_us)  # what is not acknowledged is missing if this process ends now
        return Progress(session_id, received_us)

    @property
    def plan_fingerprint(self) -> str:
        """Return the fingerprint of the subscriptions of all shards."""
        return self._plans.configured.fingerprint

    @property
    def has_session(self) -> bool:
        """Return whether there is an authenticated session with Aries."""
        return self._client.session is not None and self._client.session.authenticated

    def note_different_plans(self, text: str) -> None:
        """Announce that members of the group have different plans."""
        self._control.announce_each(ControlKind.PLAN_CHANGED, reason=text)

    def _received(self, shard: int) -> Progress:
        """Return how far a shard that is ours was received, published or not."""
        session_id = self._control.sessions[shard]
        return Progress(session_id, None if session_id is None else self._client.data_until_us(shard))

    # -- one shard ----------------------------------------------------------------------------------------------

    def _includes(self, shard: int) -> Callable[[str], bool]:
        """Return what tells whether a symbol belongs to a shard; the market status does to one of them."""
        shards = self._settings.bridge_shards
        return lambda symbol: (MARKET_STATUS_SHARD if symbol == MARKET else shard_of(symbol, shards)) == shard

    def _end(self, shard: int) -> None:
        """Stop reading a shard."""
        self._published[shard] = self.progress(shard)
        self.shards.discard(shard)
        if shard == MARKET_STATUS_SHARD:
            self._ingest.set_market_status(wanted=False)
        self._client.forget(shard)
        self._plans.set_shards(self.shards)
        self._set_owning()

    def _set_owning(self) -> None:
        now, before = (self.owning, self.standing_by) if self.shards else (self.standing_by, self.owning)
        before.clear()
        now.set()

    @staticmethod
    async def _wait_while(condition: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait until a condition ends, but not longer than that."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while condition():  # noqa: ASYNC110 - what drains is many queues, and has no event of its own
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            pass


def _claim_reason(claimed: Claimed) -> str:
    """Return why a shard is claimed, as control says it."""
    if claimed.former is None:
        return "first owner"
    wording = RELEASED_BY if claimed.cause is Cause.RELEASED else LEASE_OF_EXPIRED
    return wording.format(claimed.former.owner)
