"""Control events: sessions, gaps, overload and a heartbeat with the accounts, on ``aries.control``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from bridge import log_events
from bridge.clock import wall_us
from bridge.pipeline.accounts import RATE_LIMIT
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.pipeline.accounts import Accounts
    from bridge.pipeline.partition_queue import PartitionQueue
    from bridge.pipeline.record_buffer import RecordBuffer
    from bridge.serialization.serializer import Serializer

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS: Final = 10.0
#: In the reason of HEARTBEAT and SESSION_COMPLETED once the process has replaced its Kafka producer: from then on
#: records may be repeated, and ``verify`` accepts that from such processes only.
PRODUCER_REPLACED: Final = "producer replaced"
#: Reasons that ``verify`` looks at. Of SHARD_CLAIMED, with the name of the former owner: it has released the shard, or
#: its lease has expired; anything else is the first owner.
RELEASED_BY: Final = "released by {}"
LEASE_OF_EXPIRED: Final = "lease of {} expired"
#: Of SHARD_RELEASED: an owner has noticed that its own lease had expired.
LEASE_EXPIRED: Final = "lease expired"


class ControlKind(StrEnum):
    """What a control record announces (the field ``kind`` of ``control.avsc``)."""

    SESSION_STARTED = "SESSION_STARTED"
    SUBSCRIBED = "SUBSCRIBED"
    HEARTBEAT = "HEARTBEAT"
    GAP = "GAP"
    RESUMED = "RESUMED"
    SESSION_COMPLETED = "SESSION_COMPLETED"
    OVERLOAD = "OVERLOAD"
    PLAN_CHANGED = "PLAN_CHANGED"
    STALE_SYMBOLS = "STALE_SYMBOLS"
    SHARD_CLAIMED = "SHARD_CLAIMED"
    SHARD_RELEASED = "SHARD_RELEASED"


class ShardIdentity(NamedTuple):
    """The shard of a bridge: its number, of how many, and the name of the bridges that share the symbols.

    A bridge without a number owns no shard until it claims one.
    """

    number: int | None
    shards: int
    group: str | None = None


ONLY_SHARD: Final = ShardIdentity(0, 1)


class ControlEvents:
    """The announcements of one instance, each with the accounts at that moment."""

    def __init__(
        self,
        serializer: Serializer,
        buffer: RecordBuffer,
        accounts: Accounts,
        *,
        instance: str,
        redact: Callable[[str], str] = str,
        shard: ShardIdentity = ONLY_SHARD,
    ) -> None:
        #: The shards that this instance publishes, and the session of each; None before its first.
        self.sessions: dict[int, int | None] = {} if shard.number is None else {shard.number: None}
        #: The shard and the session of what concerns no shard: the latest there were.
        self._latest: tuple[int, int | None] = shard.number or 0, None
        self._serializer = serializer
        self._buffer = buffer
        self._accounts = accounts
        self._instance = instance
        self._redact = redact
        self._shard = shard

    @property
    def session_id(self) -> int | None:
        """Return the newest session, None before the first."""
        return max((session for session in self.sessions.values() if session is not None), default=self._latest[1])

    @property
    def has_session(self) -> bool:
        """Return whether a shard that is published has, or has had, a session."""
        return any(session is not None for session in self.sessions.values())

    def start_session(self, session_id: int, shards: Iterable[int] | None = None) -> None:
        """Let these shards, or all that are published, have a new session from now on."""
        for shard in list(self.sessions) if shards is None else shards:
            self.sessions[shard] = session_id
            self._latest = shard, session_id

    def claim(self, shard: int, *, reason: str, gap_from_us: int | None) -> None:
        """Announce that this instance publishes a shard from now on."""
        self.sessions[shard] = None
        self.announce(ControlKind.SHARD_CLAIMED, shard=shard, reason=reason, gap_from_us=gap_from_us)

    def release(self, shard: int, *, reason: str) -> None:
        """Announce that nothing of a shard's session follows."""
        self.announce(ControlKind.SHARD_RELEASED, shard=shard, reason=reason)
        del self.sessions[shard]

    def announce_each(
        self,
        kind: ControlKind,
        *,
        reason: str | None = None,
        gap_from_us: int | None = None,
        gap_to_us: int | None = None,
    ) -> None:
        """Queue one control record for each shard that has a session."""
        for shard in sorted(shard for shard, session_id in self.sessions.items() if session_id is not None):
            self.announce(kind, shard=shard, reason=reason, gap_from_us=gap_from_us, gap_to_us=gap_to_us)

    def announce(
        self,
        kind: ControlKind,
        *,
        shard: int | None = None,
        reason: str | None = None,
        gap_from_us: int | None = None,
        gap_to_us: int | None = None,
    ) -> None:
        """Queue one control record, of one shard or of the process."""
        now_us = wall_us()
        number, session_id = self._latest
        if shard is not None:
            number, session_id = shard, self.sessions.get(shard)
        record: dict[str, object] = {
            "kind": kind.value,
            "instance": self._instance,
            "shard": number,
            "shards": self._shard.shards,
            "group": self._shard.group,
            "session_id": session_id,
            "time_us": now_us,
            "gap_from_us": gap_from_us,
            "gap_to_us": gap_to_us,
            "reason": None if reason is None else self._redact(reason),
            "counts": self._accounts.totals(),
        }
        key = self._instance.encode()
        self._buffer.add(self._queue(), (now_us, key, self._serializer.encode(Topic.CONTROL, record), None))

    @property
    def is_idle(self) -> bool:
        """Return whether no earlier record waits: what is announced repeatedly must not pile up in an outage."""
        return not self._queue().waiting

    def heartbeat(self, producer_rebuilds: int) -> None:
        """Announce the accounts, unless an earlier record still waits."""
        if self.is_idle:
            self.announce_each(ControlKind.HEARTBEAT, reason=self._reason(producer_rebuilds) or None)

    def complete(self, producer_rebuilds: int) -> None:
        """Announce that the process ends with every record acknowledged."""
        self.announce(ControlKind.SESSION_COMPLETED, reason=self._reason(producer_rebuilds, "stopped"))

    def overload(self, started: bool, buffer_bytes: int) -> None:  # noqa: FBT001 - the one fact of the event
        """Announce and log that overload has started or ended."""
        (log.warning if started else log.info)(
            log_events.OVERLOAD_STARTED if started else log_events.OVERLOAD_ENDED, buffer_bytes=buffer_bytes
        )
        self.announce(ControlKind.OVERLOAD, reason="started" if started else "ended")

    def _reason(self, producer_rebuilds: int, *before: str) -> str:
        """Return what consumers should know of the process so far."""
        dropped = self._accounts.dropped[Topic.DLQ, RATE_LIMIT]
        limited = f"{log_events.DEAD_LETTERS_LIMITED}, {dropped} dropped" if dropped else ""
        return "; ".join(filter(None, (*before, _replacements(producer_rebuilds), limited)))

    def _queue(self) -> PartitionQueue:
        return self._buffer.queue_for(Topic.CONTROL, self._instance.encode())


def _replacements(count: int) -> str:
    return f"{PRODUCER_REPLACED} {count} time{'' if count == 1 else 's'}" if count else ""
