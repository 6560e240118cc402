"""The bridges that write the topics, as far as the control topic shows them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.aries.subscriptions.shards import MARKET_STATUS_SHARD, shard_of
from bridge.consumer.events import (
    BridgeHeard,
    BridgeSilent,
    BridgeStopped,
    Event,
    FeedLost,
    FeedResumed,
    ShardClaimed,
    ShardReleased,
)
from bridge.market_data import MARKET
from bridge.pipeline.control_events import ControlKind

if TYPE_CHECKING:
    from bridge.serialization.schemas import AvroRecord

#: How long a bridge may say nothing; its heartbeats are 10 s apart.
SILENT_AFTER_US: Final = 30_000_000
#: The kinds that name the session of their shard. Others may be about the whole bridge.
_OF_A_SESSION: Final = frozenset(
    {ControlKind.SESSION_STARTED, ControlKind.SUBSCRIBED, ControlKind.HEARTBEAT, ControlKind.GAP, ControlKind.RESUMED}
)


class _Shard(NamedTuple):
    """A part of the symbols: those of a group that belong to one of so many shards."""

    group: str | None
    number: int
    shards: int

    def has(self, symbol: str) -> bool:
        return self.number == (MARKET_STATUS_SHARD if symbol == MARKET else shard_of(symbol, self.shards))

    def is_of_another_number(self, other: _Shard) -> bool:
        return self.group == other.group and self.shards != other.shards


class _Instance:
    """A bridge by its instance name."""

    __slots__ = ("claimed_us", "gap", "heard_us", "is_silent", "is_standby", "is_stopped", "session_id", "sessions")

    def __init__(self) -> None:
        #: The newest of all its sessions.
        self.session_id: int | None = None
        #: The newest session of each of its shards. A bridge has one shard, or in group mode those that it has claimed.
        self.sessions: dict[_Shard, int] = {}
        #: When it announced the latest claim of each shard: such a record may be repeated, too.
        self.claimed_us: dict[_Shard, int] = {}
        self.heard_us = 0
        self.is_silent = False
        self.is_stopped = False
        #: Whether it has no shard (any more): then it says nothing.
        self.is_standby = False
        #: The latest gap that was announced as ended.
        self.gap: tuple[Any, Any] | None = None

    @property
    def is_unknown(self) -> bool:
        """Return whether nothing says yet which sessions it has."""
        return not (self.sessions or self.is_standby)


class Bridges:
    """What control records say of the bridges; records of the control topic may be repeated, too."""

    def __init__(self) -> None:
        self._instances: dict[str, _Instance] = {}
        #: Sessions whose records are stale.
        self._ended: set[int] = set()
        #: Shards whose records of a session are stale, though the session may go on with others.
        self._left: defaultdict[int, set[_Shard]] = defaultdict(set)
        #: The newest session of each shard that is claimed: an earlier one has ended, whoever had it.
        self._newest: dict[_Shard, int] = {}

    def is_stale(self, session_id: int, symbol: str) -> bool:
        """Return whether nothing more will come of a session for a symbol, or nothing is heard of its bridge."""
        if session_id in self._ended or any(shard.has(symbol) for shard in self._left.get(session_id, ())):
            return True
        return any(one.is_silent and session_id in one.sessions.values() for one in self._instances.values())

    def take(self, record: AvroRecord, now_us: int) -> list[Event]:
        """Take a control record at a time of the consumer's clock; kinds that are not known count as heartbeats."""
        fields: dict[str, Any] = record
        name, session_id = fields["instance"], fields["session_id"]
        shard = _Shard(fields["group"], fields["shard"], fields["shards"])
        instance = self._instances.setdefault(name, _Instance())
        if session_id is not None and session_id < instance.sessions.get(shard, 0):
            return []  # of a process that has been replaced
        if instance.is_stopped and session_id is not None and session_id <= (instance.session_id or 0):
            return []  # a repeat
        if fields["kind"] == ControlKind.SHARD_CLAIMED and fields["time_us"] <= instance.claimed_us.get(shard, 0):
            return []  # a repeat
        events: list[Event] = [BridgeHeard(name, session_id)] if instance.is_silent else []
        instance.heard_us, instance.is_silent, instance.is_stopped = now_us, False, False
        if session_id is not None:
            instance.session_id = max(session_id, instance.session_id or 0)
            if fields["kind"] in _OF_A_SESSION or instance.is_unknown:
                self._note_session(instance, shard, session_id)
        return events + self._events(instance, shard, fields)

    def tick(self, now_us: int) -> list[Event]:
        """Return which bridges have become silent."""
        events: list[Event] = []
        for name, instance in self._instances.items():
            silent_us = now_us - instance.heard_us
            says_nothing = instance.is_silent or instance.is_stopped or instance.is_standby
            if silent_us >= SILENT_AFTER_US and not says_nothing:
                instance.is_silent = True
                events.append(BridgeSilent(name, instance.session_id, silent_us))
        return events

    def _events(self, instance: _Instance, shard: _Shard, fields: dict[str, Any]) -> list[Event]:
        name, session_id, reason = fields["instance"], fields["session_id"], fields["reason"]
        match fields["kind"]:
            case ControlKind.GAP if session_id is not None and session_id not in self._ended:
                self._ended.add(session_id)
                return [FeedLost(name, session_id, fields["gap_from_us"], reason)]
            case ControlKind.RESUMED if (gap := (fields["gap_from_us"], fields["gap_to_us"])) != instance.gap:
                instance.gap = gap
                return [FeedResumed(name, session_id, *gap)]
            case ControlKind.SESSION_COMPLETED:
                instance.is_stopped = True
                self._ended.update(instance.sessions.values())
                return [BridgeStopped(name, session_id)]
            case ControlKind.SHARD_CLAIMED:
                instance.claimed_us[shard] = fields["time_us"]
                self._newest.setdefault(shard, 0)
                former = self._take_over(shard)
                instance.is_standby = False
                return [ShardClaimed(name, shard.number, shard.shards, former, fields["gap_from_us"], reason)]
            case ControlKind.SHARD_RELEASED if session_id is not None and shard not in self._left[session_id]:
                self._leave(instance, shard, session_id)
                return [ShardReleased(name, shard.number, shard.shards, session_id, reason)]
        return []

    def _take_over(self, shard: _Shard) -> tuple[str, ...]:
        """End the sessions of a shard, and those of another number of shards; return the names of their bridges."""
        former = []
        for name, instance in self._instances.items():
            held = [one for one in instance.sessions if one == shard or one.is_of_another_number(shard)]
            for one in held:
                self._leave(instance, one, instance.sessions[one])
            if held:
                former.append(name)
        return tuple(former)

    def _note_session(self, instance: _Instance, shard: _Shard, session_id: int) -> None:
        if session_id < self._newest.get(shard, 0):
            self._end(shard, session_id)  # another bridge has this shard, as its records have shown before
            return
        if shard in self._newest:
            self._newest[shard] = session_id
        before = instance.sessions.get(shard)
        instance.sessions[shard], instance.is_standby = session_id, False
        if before is not None and before != session_id:
            self._end(shard, before)

    def _leave(self, instance: _Instance, shard: _Shard, session_id: int) -> None:
        """Note that a bridge has a shard no more."""
        instance.sessions.pop(shard, None)
        instance.is_standby = not instance.sessions
        self._newest[shard] = max(session_id + 1, self._newest.get(shard, 0))
        self._end(shard, session_id)

    def _end(self, shard: _Shard, session_id: int) -> None:
        """Note that nothing more comes of a session for a shard; one that is claimed may have others beside it."""
        if shard in self._newest:
            self._left[session_id].add(shard)
        else:
            self._ended.add(session_id)
