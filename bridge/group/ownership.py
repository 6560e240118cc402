"""The shards of this process: the group says which it should own, marks say which it owns, and the bridge is told.

What decides is in ``bridge.group.shard_locks``; this runs it: marks are read and written, the membership is kept, and
what changes is handed to the bridge, which starts or stops to publish.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import structlog

import bridge as package
from bridge import log_events
from bridge.aries.subscriptions.shards import ordinal
from bridge.clock import boot_seconds, wall_us
from bridge.group.fitness import Fitness
from bridge.group.mark_exchange import MarkExchange, MarkSettings
from bridge.group.marks import LEASE_SECONDS
from bridge.group.member_data import Member
from bridge.group.membership import Membership
from bridge.group.shard_locks import (
    Cause,
    Claimed,
    Lost,
    ReleaseRequested,
    Resumed,
    ShardLocks,
    Suspended,
)
from bridge.group.shard_status import shard_status, shards_without_owner
from bridge.kafka.shard_handover import HandoverSettings, await_bridges_with_shards
from bridge.tasks import awaited, wait_until_set

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bridge.group.marks import Progress
    from bridge.group.membership import Assignment
    from bridge.group.shard_locks import LockEvent
    from bridge.group.shard_status import ShardStatus

log = structlog.get_logger(__name__)

#: How long plans may differ, as they do for a moment whenever one changes.
PLANS_DIFFER_SECONDS: Final = 30.0
KEPT_HANDOVERS: Final = 20
_CHECK_SECONDS: Final = 1.0


class GroupSettings(MarkSettings, HandoverSettings, Protocol):
    """The settings of group mode, how to connect to Kafka, and how to find bridges that are not of the group."""

    @property
    def group(self) -> str | None: ...
    @property
    def group_id(self) -> str: ...


class Publishing(Protocol):
    """The bridge, as far as shards are begun and ended in it."""

    def claim(self, claimed: Claimed) -> None:
        """Begin to publish a shard."""

    async def release(self, shard: int, cause: Cause, other: str) -> None:
        """Stop reading a shard, and wait until what was read of it is published, or given up."""

    def lose(self, shard: int) -> None:
        """Drop what was read of a shard: another process may publish it."""

    def suspend(self) -> None:
        """Cut the connections to Kafka: the leases have ended, and nothing may arrive late."""

    def resume(self) -> None:
        """Publish what waits."""

    def progress(self, shard: int) -> Progress:
        """Return how far a shard is published."""

    @property
    def plan_fingerprint(self) -> str:
        """Return the fingerprint of the subscriptions of all shards."""

    @property
    def has_session(self) -> bool:
        """Return whether there is an authenticated session with Aries."""

    def note_different_plans(self, text: str) -> None:
        """Announce that members of the group have different plans."""


@dataclass(frozen=True, slots=True)
class Handover:
    """A shard that was claimed or released: when (µs since the epoch), why, and by or from whom."""

    time_us: int
    shard: int
    event: str
    cause: Cause
    other: str
    gap_seconds: float | None = None


class Ownership:
    """The shards of a process in its group, and its membership."""

    def __init__(
        self,
        settings: GroupSettings,
        publishing: Publishing,
        options: Callable[[], Mapping[str, object]],
        *,
        process: str,
    ) -> None:
        """``process`` is different for each start of a process; ``options`` reads secrets again."""
        self.locks = ShardLocks(
            process=process, owner=settings.bridge_instance, shards=settings.bridge_shards, wall_clock=wall_us
        )
        self.claims: Counter[str] = Counter()
        self.releases: Counter[str] = Counter()
        self.handovers: deque[Handover] = deque(maxlen=KEPT_HANDOVERS)
        self._fitness = Fitness()
        #: The bridges with a shard of their own that must end before this process claims one.
        self.waiting_for: Sequence[str] = ()
        self._settings = settings
        self._publishing = publishing
        self._process = process
        self._instance = settings.bridge_instance
        self._wake = asyncio.Event()
        #: Set after each turn of decisions.
        self._turned = asyncio.Event()
        #: Set once shards were assigned to this process, or none; and whether it may claim those that are.
        self._joined = asyncio.Event()
        self._may_claim = False
        self._releasing: dict[int, asyncio.Task[None]] = {}
        self._plans_differ_since: float | None = None
        self._reported_plans = ""
        self._is_stopping = False
        self.membership = Membership(
            group_id=settings.group_id,
            topic=settings.shards_topic,
            instance_id=self._instance if ordinal(self._instance) is not None else None,
            options=options,
            about=self._about,
            count_in_force=lambda: self.locks.marks.count_in_force,
            on_assignment=self._assigned,
        )
        self.exchange = MarkExchange(
            settings,
            self.locks,
            options,
            process=process,
            wake=self._wake,
            on_release=self.membership.hurry,  # its owner has left: a rebalance follows
        )

    # -- life cycle ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take part in the group until cancelled; what is written last may still be under way."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(awaited(self.exchange.read()), name="group marks")
                tasks.create_task(awaited(self._join_when_read()), name="group membership")
                tasks.create_task(awaited(self._check_members()), name="group members")
                tasks.create_task(awaited(self._claim_when_alone()), name="group claims")
                await self._drive()
        finally:
            releasing = [*self._releasing.values()]
            for task in releasing:
                task.cancel()
            await asyncio.gather(*releasing, return_exceptions=True)
            await self.exchange.close()

    async def stop(self, timeout_seconds: float) -> None:
        """Release all shards in order, and leave the group at once; ``run`` must go on meanwhile."""
        self._is_stopping = True
        self.locks.want(())
        self.locks.give_back(self._all_shards(), Cause.STOPPED)
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._has_work:
                    self._turned.clear()
                    await self._turned.wait()
        except TimeoutError:
            pass
        await self.membership.leave()

    @property
    def _has_work(self) -> bool:
        """Return whether a shard is ours, or a mark is not written that says that one no longer is."""
        return bool(
            self.locks.owned() or self._releasing or self.exchange.is_writing or self.locks.has_releases_to_write
        )

    def may_publish(self) -> bool:
        """Return whether the leases last of all shards that are ours; it is asked before each write."""
        return self.locks.may_publish(boot_seconds())

    def plan_changed(self) -> None:
        """Tell the others of another plan of ours."""
        self.membership.rejoin()

    # -- what is shown ------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Return the name of the group."""
        return self._settings.group or ""

    @property
    def id(self) -> str:
        """Return the id of the consumer group."""
        return self._settings.group_id

    @property
    def topic(self) -> str:
        """Return the name of the topic of the shards."""
        return self._settings.shards_topic

    @property
    def role(self) -> str:
        """Return what this process is in its group: ``owner``, ``standby`` or ``joining``; a rebalance changes none."""
        if self.locks.owned():
            return "owner"
        return "joining" if self.membership.last_assignment is None or not self.locks.marks.has_caught_up else "standby"

    @property
    def is_fit(self) -> bool:
        """Return whether Aries can be reached, as far as this process knows."""
        return self._fitness.is_fit

    @property
    def is_suspended(self) -> bool:
        """Return whether nothing is published for now, as leases have ended."""
        return self.locks.is_suspended

    @property
    def problem(self) -> str:
        """Return what keeps this process from claiming shards, or from keeping them; empty if nothing does."""
        if not self.locks.marks.has_caught_up:
            return self.exchange.problem or f"{self.topic} is being read"
        problem = self.membership.problem or self.exchange.problem
        return problem or ("" if self.membership.last_assignment else "waiting for an assignment")

    @property
    def generation(self) -> int | None:
        """Return the generation of the group, None while this process is no member."""
        assignment = self.membership.last_assignment
        return None if assignment is None else assignment.generation

    @property
    def rebalances(self) -> int:
        """Return how many assignments this process has got."""
        return self.membership.rebalances

    def shards(self) -> list[ShardStatus]:
        """Return all shards of the number that this process is configured with."""
        now = boot_seconds()
        return [shard_status(self.locks, self._instance, shard, now) for shard in self._all_shards()]

    def shards_without_owner(self) -> int:
        """Return how many shards of the number in force have no owner."""
        return shards_without_owner(self.locks, self._settings.bridge_shards, boot_seconds())

    @property
    def members(self) -> tuple[Member, ...]:
        """Return the members of the group as the leader of the last generation saw them, none while we are none."""
        assignment = self.membership.last_assignment
        return () if assignment is None else assignment.members

    @property
    def different_plans(self) -> tuple[Member, ...]:
        """Return the other members that have another plan than we have."""
        own = self._publishing.plan_fingerprint
        return tuple(one for one in self.members if one.process != self._process and one.fingerprint != own)

    # -- decisions ----------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        """Let the locks decide whenever something was read, acknowledged, or is due."""
        while True:
            self._wake.clear()
            now = boot_seconds()
            for event in self.locks.step(now):
                self._handle(event)
            for shard in self.locks.owned():
                self.locks.progress[shard] = self._publishing.progress(shard)
            for mark in self.locks.due(now):
                self.exchange.write(mark)
            self._turned.set()
            await wait_until_set(self._wake, self.locks.next_due(boot_seconds()))

    def _handle(self, event: LockEvent) -> None:
        match event:
            case Claimed():
                self._on_claimed(event)
            case ReleaseRequested():
                self._begin_release(event)
            case Lost(shard=shard, other=other):
                if (releasing := self._releasing.get(shard)) is not None:
                    releasing.cancel()
                self._note_handover(shard, "released", Cause.LEASE_EXPIRED, other)
                log.warning(log_events.SHARD_LOST, shard=shard, claimed_by=other or None)
                self._publishing.lose(shard)
            case Suspended():
                log.warning(log_events.LEASES_ENDED, shards=self.locks.owned(), reason=self.exchange.problem or None)
                self._publishing.suspend()
            case Resumed():
                if self.locks.owned():
                    log.info(log_events.LEASES_RENEWED, shards=self.locks.owned())
                self._publishing.resume()

    def _on_claimed(self, event: Claimed) -> None:
        former = event.former
        gap = None if former is None or former.last_data_us is None else (wall_us() - former.last_data_us) / 1e6
        self._note_handover(event.shard, "claimed", event.cause, "" if former is None else former.owner, gap)
        log.info(
            log_events.SHARD_CLAIMED,
            shard=event.shard,
            cause=event.cause,
            former=None if former is None else former.owner,
            seconds_without_data=None if gap is None else round(gap, 3),
        )
        self._publishing.claim(event)

    def _begin_release(self, event: ReleaseRequested) -> None:
        task = asyncio.create_task(self._release(event), name=f"release of shard {event.shard}")

        def ended(task: asyncio.Task[None]) -> None:
            if self._releasing.get(event.shard) is task:
                del self._releasing[event.shard]
            self._wake.set()

        self._releasing[event.shard] = task
        task.add_done_callback(ended)

    async def _release(self, event: ReleaseRequested) -> None:
        cause = event.cause if self.is_fit or event.cause is not Cause.CLAIMED else Cause.UNREACHABLE
        await self._publishing.release(event.shard, cause, event.other)
        self.locks.progress[event.shard] = self._publishing.progress(event.shard)
        self.locks.released(event.shard)
        self._note_handover(event.shard, "released", cause, event.other)
        log.info(log_events.SHARD_RELEASED, shard=event.shard, cause=cause, claimed_by=event.other or None)

    def _note_handover(
        self, shard: int, event: str, cause: Cause, other: str, gap_seconds: float | None = None
    ) -> None:
        (self.claims if event == "claimed" else self.releases)[cause] += 1
        self.handovers.append(Handover(wall_us(), shard, event, cause, other, gap_seconds))

    # -- the group ----------------------------------------------------------------------------------------------

    async def _join_when_read(self) -> None:
        """Join once the log has been read: the leader must know which number of shards is in force."""
        await self.exchange.caught_up.wait()
        await self.membership.run()

    def _about(self) -> Member:
        return Member(
            instance=self._instance,
            process=self._process,
            shards=self._settings.bridge_shards,
            owned=tuple(self.locks.held()),
            suspended=tuple(self.locks.suspended()),
            fingerprint=self._publishing.plan_fingerprint,
            fit=self.is_fit,
            fresh=self.locks.marks.is_fresh(boot_seconds()),
            version=package.__version__,
        )

    def _assigned(self, assignment: Assignment | None) -> None:
        if self._is_stopping:
            return
        if self.membership.returned_at is not None:
            self.locks.spare(self.membership.returned_at + LEASE_SECONDS)
        self._want()
        if assignment is not None:
            self._joined.set()
            log.info(
                log_events.GROUP_JOINED,
                group=self._settings.group_id,
                generation=assignment.generation,
                members=len(assignment.members),
                shards=list(assignment.shards),
            )
        self._wake.set()

    async def _claim_when_alone(self) -> None:
        """Let shards be claimed once no bridge with a shard of its own has the same symbols.

        Only a member looks: such a bridge waits for the members of a group, so that one that is not seen here waits.
        """
        await self._joined.wait()
        marks = self.locks.marks
        await await_bridges_with_shards(self._settings, marks.sessions, lambda: marks.others_claim, self._wait_for)
        self._may_claim = True
        self._want()
        self._wake.set()

    def _wait_for(self, instances: Sequence[str]) -> None:
        self.waiting_for = instances

    def _want(self) -> None:
        """Claim what is assigned, if anything may be claimed."""
        assignment = self.membership.assignment
        if not self._is_stopping:
            self.locks.want(assignment.shards if self._may_claim and assignment is not None else ())

    async def _check_members(self) -> None:
        """Look at intervals whether Aries can be reached, and whether all members have the same plan."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            self._check_fitness(time.monotonic())
            self._check_plans(time.monotonic())

    def _check_fitness(self, now: float) -> None:
        """Let others be preferred while this process owns shards and cannot reach Aries."""
        owned = self.locks.owned()
        if self._fitness.check(now, has_session=self._publishing.has_session, is_owner=bool(owned)):
            if not self.is_fit:
                log.error(log_events.ARIES_UNREACHABLE, shards=owned)
            self.membership.rejoin()

    def _check_plans(self, now: float) -> None:
        """Report members whose plans have differed from ours for a while, once for each set of them."""
        text = ", ".join(sorted(f"{one.instance} {one.fingerprint}" for one in self.different_plans))
        if not text:
            self._plans_differ_since, self._reported_plans = None, ""
            return
        self._plans_differ_since = self._plans_differ_since or now
        if now - self._plans_differ_since > PLANS_DIFFER_SECONDS and text != self._reported_plans:
            self._reported_plans = text
            log.warning(log_events.PLANS_DIFFER, own=self._publishing.plan_fingerprint, others=text)
            if self.locks.owned():
                self._publishing.note_different_plans(
                    f"plans differ: {self._instance} {self._publishing.plan_fingerprint}, {text}"
                )

    def _all_shards(self) -> range:
        return range(self._settings.bridge_shards)
