"""A group as Kafka alone shows it: what its coordinator knows of the members, and what the marks say of the shards."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from aiokafka.coordinator.protocol import ConsumerProtocol

from bridge.group.marks import MarkKind
from bridge.group.member_data import decode_member

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.group.marks import Mark
    from bridge.kafka.consumer_groups import GroupMember

#: States of a group in which its members have no assignment yet, and its coordinator does not show what they say.
REBALANCING: Final = frozenset({"PreparingRebalance", "CompletingRebalance"})


class ShardState(StrEnum):
    """Whether a shard has an owner, and if not, why."""

    OWNED = "owned"
    CLAIMED = "claimed"  # no process holds it, and its next owner has not begun
    LAPSED = "lapsed"  # its owner renews its lease no more
    FREE = "free"  # released, or never claimed


@dataclass(frozen=True, slots=True)
class MemberDescription:
    """A member of the group; what it says of itself is None if that cannot be read."""

    member_id: str
    client_id: str
    host: str
    assigned: tuple[int, ...]
    instance: str | None = None
    process: str | None = None
    version: str | None = None
    shards: int | None = None
    fingerprint: str | None = None
    fit: bool | None = None

    @property
    def name(self) -> str:
        """Return the name of the bridge, or of its client if it does not say it."""
        return self.instance or self.client_id


@dataclass(frozen=True, slots=True)
class ShardDescription:
    """A shard by its marks; ``owner`` is the last one if its state is not ``owned``."""

    shard: int
    state: ShardState
    owner: str | None = None
    process: str | None = None
    epoch: int | None = None
    #: None if it owned the shard already when the oldest mark that was read was written.
    since_us: int | None = None
    #: When the lease was last renewed, by the owner's clock.
    renewed_us: int | None = None
    lease_ms: int | None = None
    session_id: int | None = None
    last_data_us: int | None = None
    #: Who has claimed it and has not begun yet.
    claimant: str | None = None


@dataclass(frozen=True, slots=True)
class GroupReport:
    """All that Kafka knows about a group of bridges at one time."""

    group: str
    id: str
    topic: str
    partitions: int
    state: str
    #: The number of shards in force, of which each should have an owner.
    shard_count: int
    members: tuple[MemberDescription, ...]
    shards: tuple[ShardDescription, ...]

    @property
    def ownerless(self) -> tuple[ShardDescription, ...]:
        """Return the shards of the number in force that have no owner."""
        return tuple(one for one in self.shards if one.shard < self.shard_count and one.state is not ShardState.OWNED)

    def warnings(self) -> Iterator[str]:
        """Yield a sentence about each thing that should not stay as it is."""
        if self.state in REBALANCING:
            yield f"the group is in the state {self.state}: what its members say is not shown."
        elif not self.members:
            yield "the group has no members."
        for shard in self.ownerless:
            yield f"shard {shard.shard} has no owner: {_why_ownerless(shard)}."
        for shard in self.shards:
            if shard.state is ShardState.OWNED:
                yield from self._doubts(shard)
        yield from self._differences()

    def _doubts(self, shard: ShardDescription) -> Iterator[str]:
        if shard.shard >= self.shard_count:
            yield f"{shard.owner} still owns shard {shard.shard}, of another number of shards."
        processes = {member.process for member in self.members}
        if self.state not in REBALANCING and shard.process not in processes:
            yield f"{shard.owner} owns shard {shard.shard}, but is no member of the group: its lease ends soon."

    def _differences(self) -> Iterator[str]:
        counts = {member.name: member.shards for member in self.members if member.shards is not None}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            yield f"the members have different numbers of shards ({listed}): {self.shard_count} is in force."
        plans = {member.name: member.fingerprint for member in self.members if member.fingerprint}
        if len(set(plans.values())) > 1:
            listed = ", ".join(f"{name} {fingerprint}" for name, fingerprint in sorted(plans.items()))
            yield f"the members have different subscriptions (fingerprints {listed})."
        for name, number in Counter(member.name for member in self.members).items():
            if number > 1:
                yield f"{number} members are called {name}: give each its own BRIDGE_INSTANCE."
        for member in self.members:
            if member.fit is False:
                yield f"{member.name} cannot reach Aries."

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {**asdict(self), "warnings": list(self.warnings())}


def _why_ownerless(shard: ShardDescription) -> str:
    match shard.state:
        case ShardState.CLAIMED:
            return f"{shard.claimant} has claimed it and has not begun"
        case ShardState.LAPSED:
            claimed = f", and {shard.claimant} has claimed it" if shard.claimant else ""
            return f"{shard.owner} does not renew its lease{claimed}"
        case _:
            return f"{shard.owner} has released it" if shard.owner else "no process has claimed it yet"


class ShardMarks:
    """The marks of one shard, added in the order of the log."""

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._holder: Mark | None = None
        self._claim: Mark | None = None
        self._released: Mark | None = None
        self._since_us: int | None = None

    def add(self, mark: Mark, *, follows: bool) -> None:
        """Take the next mark; one of an earlier epoch than the holder's changes nothing.

        ``follows`` says whether the mark before it in the log was taken, too, or there is none.
        """
        match mark.kind:
            case MarkKind.CLAIM:
                if self._claim is None or mark.epoch > self._claim.epoch:
                    self._claim = mark
            case MarkKind.HOLD:
                if self._holder is None or mark.epoch > self._holder.epoch:
                    self._since_us = mark.time_us if follows else None
                elif mark.epoch < self._holder.epoch:
                    return
                self._holder, self._released = mark, None
            case MarkKind.RELEASE:
                if self._claim is not None and mark.tenure == self._claim.tenure:
                    self._claim = None  # given up, or at its end
                if self._holder is None:
                    self._released = self._released or mark
                elif mark.tenure == self._holder.tenure:
                    self._holder, self._released = None, mark

    @property
    def holder(self) -> Mark | None:
        """Return the newest mark of the one who holds the shard, whether its lease has ended or not."""
        return self._holder

    @property
    def shard_count(self) -> int | None:
        """Return the number of shards of the mark with the largest epoch, None if there is none."""
        marks = (self._holder, self._released, self._claim)
        newest = max((mark for mark in marks if mark), key=lambda mark: mark.epoch, default=None)
        return newest.shards if newest else None

    def describe(self, *, is_lapsed: bool) -> ShardDescription:
        """Return the shard as its marks show it; the caller knows whether its holder still renews the lease."""
        last = self._holder or self._released
        claimant = self._claim.owner if self._claim and (last is None or self._claim.epoch > last.epoch) else None
        if self._holder is not None:
            state = ShardState.LAPSED if is_lapsed else ShardState.OWNED
        else:
            state = ShardState.CLAIMED if claimant else ShardState.FREE
        if last is None:
            epoch = self._claim.epoch if self._claim else None
            return ShardDescription(self._shard, state, epoch=epoch, claimant=claimant)
        return ShardDescription(
            shard=self._shard,
            state=state,
            owner=last.owner,
            process=last.process,
            epoch=last.epoch,
            since_us=self._since_us if self._holder else None,
            renewed_us=last.time_us,
            lease_ms=last.lease_ms,
            session_id=last.session_id,
            last_data_us=last.last_data_us,
            claimant=claimant,
        )


def describe_member(member: GroupMember, topic: str) -> MemberDescription:
    """Return a member with what it says of itself, and with the partitions that the leader gave to it."""
    try:
        user_data = ConsumerProtocol.METADATA.decode(member.metadata).user_data
    except ValueError:  # empty during a rebalance, or of another program
        user_data = None
    try:
        given = ConsumerProtocol.ASSIGNMENT.decode(member.assignment).partitions()
    except ValueError:
        given = []
    assigned = tuple(sorted(one.partition for one in given if one.topic == topic))
    own = decode_member(user_data)
    if own is None:
        return MemberDescription(member.member_id, member.client_id, member.host, assigned)
    return MemberDescription(
        member_id=member.member_id,
        client_id=member.client_id,
        host=member.host,
        assigned=assigned,
        instance=own.instance,
        process=own.process,
        version=own.version,
        shards=own.shards,
        fingerprint=own.fingerprint,
        fit=own.fit,
    )


def shard_count(shards: Sequence[ShardMarks], members: Sequence[MemberDescription], default: int) -> int:
    """Return the number of shards in force: that of shard 0's marks, else the members', else a default."""
    if shards and (marked := shards[0].shard_count) is not None:
        return marked
    return max((member.shards for member in members if member.shards), default=default)
