"""The bridges that write the topics, as far as the control topic shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.consumer.events import BridgeHeard, BridgeSilent, BridgeStopped, Event, FeedLost, FeedResumed
from bridge.pipeline.control_events import ControlKind

if TYPE_CHECKING:
    from bridge.serialization.schemas import AvroRecord

#: How long a bridge may say nothing; its heartbeats are 10 s apart.
SILENT_AFTER_US: Final = 30_000_000


class _Instance:
    """A bridge by its instance name."""

    __slots__ = ("gap", "heard_us", "is_silent", "is_stopped", "session_id")

    def __init__(self) -> None:
        self.session_id: int | None = None
        self.heard_us = 0
        self.is_silent = False
        self.is_stopped = False
        #: The latest gap that was announced as ended.
        self.gap: tuple[Any, Any] | None = None


class Bridges:
    """What control records say of the bridges; records of the control topic may be repeated, too."""

    def __init__(self) -> None:
        self._instances: dict[str, _Instance] = {}
        #: Sessions whose records are stale.
        self._ended: set[int] = set()

    def is_stale(self, session_id: int) -> bool:
        """Return whether nothing more will come of a session, or nothing is heard of its bridge."""
        return session_id in self._ended or any(
            one.is_silent and one.session_id == session_id for one in self._instances.values()
        )

    def take(self, record: AvroRecord, now_us: int) -> list[Event]:
        """Take a control record at a time of the consumer's clock; kinds that are not known count as heartbeats."""
        fields: dict[str, Any] = record
        name, kind, session_id = fields["instance"], fields["kind"], fields["session_id"]
        instance = self._instances.setdefault(name, _Instance())
        if session_id is not None and session_id < (instance.session_id or 0):
            return []  # of a process that has been replaced
        if instance.is_stopped and session_id == instance.session_id:
            return []  # a repeat
        self._note_session(instance, session_id)
        events: list[Event] = [BridgeHeard(name, session_id)] if instance.is_silent else []
        instance.heard_us, instance.is_silent, instance.is_stopped = now_us, False, False
        match kind:
            case ControlKind.GAP if session_id is not None and session_id not in self._ended:
                self._ended.add(session_id)
                events.append(FeedLost(name, session_id, fields["gap_from_us"], fields["reason"]))
            case ControlKind.RESUMED if (gap := (fields["gap_from_us"], fields["gap_to_us"])) != instance.gap:
                instance.gap = gap
                events.append(FeedResumed(name, session_id, *gap))
            case ControlKind.SESSION_COMPLETED:
                instance.is_stopped = True
                self._end(session_id)
                events.append(BridgeStopped(name, session_id))
        return events

    def tick(self, now_us: int) -> list[Event]:
        """Return which bridges have become silent."""
        events: list[Event] = []
        for name, instance in self._instances.items():
            silent_us = now_us - instance.heard_us
            if silent_us >= SILENT_AFTER_US and not instance.is_silent and not instance.is_stopped:
                instance.is_silent = True
                events.append(BridgeSilent(name, instance.session_id, silent_us))
        return events

    def _note_session(self, instance: _Instance, session_id: int | None) -> None:
        if session_id is not None and session_id != instance.session_id:
            self._end(instance.session_id)
            instance.session_id = session_id

    def _end(self, session_id: int | None) -> None:
        if session_id is not None:
            self._ended.add(session_id)
