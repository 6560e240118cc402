"""What a consumer of the topics learns, one event at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.consumer.symbol_state import SymbolState
    from bridge.serialization.schemas import AvroRecord
    from bridge.topics import Topic


@dataclass(frozen=True, slots=True)
class Updated:
    """A record that was taken, and the state of its symbol with it; the state goes on changing with later records."""

    topic: Topic
    symbol: str
    record: AvroRecord
    state: SymbolState


@dataclass(frozen=True, slots=True)
class Restarted:
    """A record with ``after_gap``: the state of its symbol begins with it, and what was known before is discarded.

    ``missing`` is how many records of this session came before it and are lost, dead-lettered or merged; None if the
    session is new.
    """

    topic: Topic
    symbol: str
    session_id: int
    seq: int
    missing: int | None


@dataclass(frozen=True, slots=True)
class Merged:
    """A jump in ``seq`` without ``after_gap``: quotes or greeks were merged into this record; nothing is lost."""

    topic: Topic
    symbol: str
    session_id: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Missed:
    """Records that the bridge wrote and the consumer did not get; the state is incomplete until the next gap.

    Kafka has deleted them before they were read, or the consumer has left them out. ``last_seq`` is None if it is not
    known whether records of this symbol were among the deleted ones.
    """

    topic: Topic
    symbol: str
    session_id: int
    first_seq: int
    last_seq: int | None


@dataclass(frozen=True, slots=True)
class Redriven:
    """A record of a dead letter, published late: an execution that counts, but no part of any state.

    A run that was killed may repeat it, with the same header ``aries.dead-letter``.
    """

    topic: Topic
    symbol: str
    record: AvroRecord


@dataclass(frozen=True, slots=True)
class FeedLost:
    """``GAP``: the bridge has lost its connection, and the records of this session are stale from now on."""

    instance: str
    session_id: int
    gap_from_us: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class FeedResumed:
    """``RESUMED``: the bridge receives data again, in a new session; between these times there is none."""

    instance: str
    session_id: int
    gap_from_us: int | None
    gap_to_us: int | None


@dataclass(frozen=True, slots=True)
class ShardReleased:
    """``SHARD_RELEASED``: a bridge hands a shard back; of this session nothing more comes for the shard's symbols."""

    instance: str
    shard: int
    shards: int
    session_id: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class ShardClaimed:
    """``SHARD_CLAIMED``: a bridge takes a shard over; what others wrote of its symbols is stale from now on.

    ``former`` are the bridges that had it until now; none if the last one has released it. ``gap_from_us`` is when data
    of the shard was last received: it resumes with the next record of each symbol, in a new session.
    """

    instance: str
    shard: int
    shards: int
    former: tuple[str, ...]
    gap_from_us: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class BridgeStopped:
    """``SESSION_COMPLETED``: a bridge has ended, and its records are stale from now on."""

    instance: str
    session_id: int | None


@dataclass(frozen=True, slots=True)
class BridgeSilent:
    """Nothing from a bridge on the control topic for 30 s: it may have been killed; take its records as stale."""

    instance: str
    session_id: int | None
    silent_us: int


@dataclass(frozen=True, slots=True)
class BridgeHeard:
    """A bridge that was silent is heard again; if its session is the same, nothing was lost."""

    instance: str
    session_id: int | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A Kafka record that is not one of its topic, and why."""

    topic: str
    partition: int
    offset: int
    reason: str


Event = (
    Updated
    | Restarted
    | Merged
    | Missed
    | Redriven
    | FeedLost
    | FeedResumed
    | ShardReleased
    | ShardClaimed
    | BridgeStopped
    | BridgeSilent
    | BridgeHeard
    | Unreadable
)
