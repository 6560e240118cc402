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
from aiokafka.errors import KafkaError

import bridge as package
from bridge import log_events
from bridge.aries.subscriptions.shards import ordinal
from bridge.backoff import Backoff
from bridge.clock import wall_us
from bridge.errors import BridgeError, KafkaUnreachable
from bridge.group.marks import MarkKind
from bridge.group.marks_topic import MarkReader, MarkWriter
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
from bridge.kafka.client_options import KafkaSettings
from bridge.kafka.consumer import open_consumer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.group.marks import Mark
    from bridge.group.membership import Assignment
    from bridge.group.shard_locks import LockEvent
    from bridge.group.shard_status import ShardStatus

log = structlog.get_logger(__name__)

#: How long an owner may be without a session with Aries until others are preferred, and for how long they are.
UNREACHABLE_SECONDS: Final = 15.0
UNFIT_SECONDS: Final = 300.0
#: How long plans may differ, as they do for a moment whenever one changes.
PLANS_DIFFER_SECONDS: Final = 30.0
KEPT_HANDOVERS: Final = 20
_FIT_CHECK_SECONDS: Final = 1.0
#: The longest wait for marks, and while a shard is about to become ours, so that the log is read to its end in time.
POLL_SECONDS: Final = 0.5
CLAIMING_POLL_SECONDS: Final = 0.02


class GroupSettings(Protocol):
    """The settings of group mode."""

    @property
    def bridge_instance(self) -> str: ...
    @property
    def bridge_shards(self) -> int: ...
    @property
    def group(self) -> str | None: ...
    @property
    def group_id(self) -> str: ...
    @property
    def shards_topic(self) -> str: ...


class _Settings(GroupSettings, KafkaSettings, Protocol):
    """The settings of group mode, and how to connect to Kafka."""


class Publishing(Protocol):
    """The bridge, as far as shards are begun and ended in it."""

    def claim(self, claimed: Claimed) -> None:
        """Begin to publish a shard."""

    async def release(self, shard: int, cause: Cause, other: str) -> None:
        """Stop reading a shard, and wait until what was read of it is published, or given up."""

    def lose(self, shard: int, other: str) -> None:
        """Drop what was read of a shard: another process may publish it."""

    def suspend(self) -> None:
        """Cut the connections to Kafka: the leases have ended, and nothing may arrive late."""

    def resume(self) -> None:
        """Publish what waits."""

    def facts(self, shard: int) -> tuple[int | None, int | None]:
        """Return the latest session of a shard, and when its data was last received (µs since the epoch)."""

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
    """The life of a process in its group."""

    def __init__(
        self,
        settings: _Settings,
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
        self.marks_problem = ""
        self.is_fit = True
        self._settings = settings
        self._publishing = publishing
        self._process = process
        self._instance = settings.bridge_instance
        self._wake = asyncio.Event()
        #: Set after each turn of decisions, and once the marks were read to their end.
        self._turned = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._writing: set[asyncio.Task[None]] = set()
        self._releasing: dict[int, asyncio.Task[None]] = {}
        self._writer = MarkWriter(settings.shards_topic, options)
        self._without_session_since: float | None = None
        self._unfit_since: float | None = None
        self._differ_since: float | None = None
        self._told_different = ""
        self._is_stopping = False
        self.membership = Membership(
            group_id=settings.group_id,
            topic=settings.shards_topic,
            instance_id=self._instance if ordinal(self._instance) is not None else None,
            options=options,
            about=self._about,
            count_in_force=lambda: self.locks.count_in_force,
            on_assignment=self._assigned,
        )

    # -- life cycle ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take part in the group until cancelled; what is written last may still be under way."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read_marks(), name="group marks")
                tasks.create_task(self._join_when_read(), name="group membership")
                tasks.create_task(self._check_members(), name="group members")
                await self._drive()
        finally:
            tasks_left = (*self._writing, *self._releasing.values())
            for task in tasks_left:
                task.cancel()
            await asyncio.gather(*tasks_left, return_exceptions=True)
            await self._writer.close()

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
        return bool(self.locks.owned() or self._releasing or self._writing or self.locks.has_releases_to_write)

    def may_publish(self) -> bool:
        """Return whether the leases last of all shards that are ours; it is asked before each write."""
        return self.locks.may_publish(time.monotonic())

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
        return "joining" if self.membership.last_assignment is None or not self.locks.has_caught_up else "standby"

    @property
    def is_suspended(self) -> bool:
        """Return whether nothing is published for now, as leases have ended."""
        return self.locks.is_suspended

    @property
    def problem(self) -> str:
        """Return what keeps this process from claiming shards, or from keeping them; empty if nothing does."""
        if not self.locks.has_caught_up:
            return self.marks_problem or f"{self.topic} is being read"
        problem = self.membership.problem or self.marks_problem
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
        now = time.monotonic()
        return [shard_status(self.locks, self._instance, shard, now) for shard in self._all_shards()]

    def shards_without_owner(self) -> int:
        """Return how many shards of the number in force have no owner."""
        return shards_without_owner(self.locks, self._settings.bridge_shards, time.monotonic())

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

    # -- marks --------------------------------------------------------------------------------------------------

    async def _read_marks(self) -> None:
        """Read marks without end, and to the ends of the log whenever something waits for that."""
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                async with (
                    open_consumer(self._settings, self._instance) as consumer,
                    open_consumer(self._settings, self._instance) as asking,
                ):
                    reader = MarkReader(consumer, asking, self._settings.shards_topic, self._settings.bridge_shards)
                    await self._follow(reader, backoff)
            except (BridgeError, KafkaError, TimeoutError, OSError) as error:
                self._note_marks_problem(str(error) or type(error).__name__)
                await asyncio.sleep(backoff.next_seconds())

    async def _follow(self, reader: MarkReader, backoff: Backoff) -> None:
        while True:
            since = time.monotonic()
            ends = await reader.ends()
            self.marks_problem = ""
            backoff.reset()
            while not await reader.has_read(ends):
                self._note(await reader.read(CLAIMING_POLL_SECONDS))
            self.locks.caught_up(since, time.monotonic())
            self._caught_up.set()
            self._wake.set()
            while not self.locks.needs_reading:
                self._note(await reader.read(CLAIMING_POLL_SECONDS if self.locks.is_claiming else POLL_SECONDS))

    def _note(self, marks: Iterable[Mark]) -> None:
        now = time.monotonic()
        for mark in marks:
            self.locks.note(mark, now)
            if mark.kind is MarkKind.RELEASE and mark.process != self._process:
                self.membership.hurry()  # its owner has left: a rebalance follows
        self._wake.set()

    def _write(self, mark: Mark) -> None:
        task = asyncio.create_task(self._write_and_note(mark, time.monotonic()), name=f"group {mark.kind}")
        self._writing.add(task)
        task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        self._wake.set()

    async def _write_and_note(self, mark: Mark, sent_at: float) -> None:
        try:
            await self._writer.write(mark)
        except KafkaUnreachable as error:
            self.locks.failed(mark, time.monotonic())
            self._note_marks_problem(str(error))
        else:
            self.locks.written(mark, sent_at, time.monotonic())
            self.marks_problem = ""
        self._wake.set()

    def _note_marks_problem(self, reason: str) -> None:
        if not self.marks_problem:
            log.warning(log_events.MARKS_UNAVAILABLE, reason=reason)
        self.marks_problem = reason

    # -- decisions ----------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        """Let the locks decide whenever something was read, acknowledged, or is due."""
        while True:
            self._wake.clear()
            now = time.monotonic()
            for event in self.locks.step(now):
                self._handle(event)
            for shard in self.locks.owned():
                self.locks.facts[shard] = self._publishing.facts(shard)
            for mark in self.locks.due(now):
                self._write(mark)
            self._turned.set()
            try:
                async with asyncio.timeout(self.locks.next_due(time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                pass

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
                self._publishing.lose(shard, other)
            case Suspended():
                log.warning(log_events.LEASES_ENDED, shards=self.locks.owned(), reason=self.marks_problem or None)
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
        self.locks.facts[event.shard] = self._publishing.facts(event.shard)
        self.locks.released(event.shard)
        self._note_handover(event.shard, "released", cause, event.other)
        log.info(log_events.SHARD_RELEASED, shard=event.shard, cause=cause, claimed_by=event.other or None)
        self._wake.set()

    def _note_handover(
        self, shard: int, event: str, cause: Cause, other: str, gap_seconds: float | None = None
    ) -> None:
        (self.claims if event == "claimed" else self.releases)[cause] += 1
        self.handovers.append(Handover(wall_us(), shard, event, cause, other, gap_seconds))

    # -- the group ----------------------------------------------------------------------------------------------

    async def _join_when_read(self) -> None:
        """Join once the log has been read: the leader must know which number of shards is in force."""
        await self._caught_up.wait()
        await self.membership.run()

    def _about(self) -> Member:
        return Member(
            instance=self._instance,
            process=self._process,
            shards=self._settings.bridge_shards,
            owned=tuple(self.locks.held()),
            fingerprint=self._publishing.plan_fingerprint,
            fit=self.is_fit,
            fresh=self.locks.is_fresh(time.monotonic()),
            version=package.__version__,
        )

    def _assigned(self, assignment: Assignment | None) -> None:
        if self._is_stopping:
            return
        self.locks.want(() if assignment is None else assignment.shards)
        if assignment is not None:
            log.info(
                log_events.GROUP_JOINED,
                group=self._settings.group_id,
                generation=assignment.generation,
                members=len(assignment.members),
                shards=list(assignment.shards),
            )
        self._wake.set()

    async def _check_members(self) -> None:
        """Look at intervals whether Aries can be reached, and whether all members have the same plan."""
        while True:
            await asyncio.sleep(_FIT_CHECK_SECONDS)
            self._check_fitness(time.monotonic())
            self._check_plans(time.monotonic())

    def _check_fitness(self, now: float) -> None:
        """Let others be preferred while this process owns shards and cannot reach Aries."""
        if self._publishing.has_session or not self.locks.owned():
            self._without_session_since = None
            if self._unfit_since is not None and (
                self._publishing.has_session or now - self._unfit_since > UNFIT_SECONDS
            ):
                self._unfit_since, self.is_fit = None, True
                self.membership.rejoin()
            return
        self._without_session_since = self._without_session_since or now
        if self.is_fit and now - self._without_session_since > UNREACHABLE_SECONDS:
            self._unfit_since, self.is_fit = now, False
            log.error(log_events.ARIES_UNREACHABLE, shards=self.locks.owned())
            self.membership.rejoin()

    def _check_plans(self, now: float) -> None:
        different = self.different_plans
        text = ", ".join(sorted(f"{one.instance} {one.fingerprint}" for one in different))
        if not different:
            self._differ_since, self._told_different = None, ""
            return
        self._differ_since = self._differ_since or now
        if now - self._differ_since > PLANS_DIFFER_SECONDS and text != self._told_different:
            self._told_different = text
            log.warning(log_events.PLANS_DIFFER, own=self._publishing.plan_fingerprint, others=text)
            if self.locks.owned():
                self._publishing.note_different_plans(
                    f"plans differ: {self._instance} {self._publishing.plan_fingerprint}, {text}"
                )

    def _all_shards(self) -> range:
        return range(self._settings.bridge_shards)
