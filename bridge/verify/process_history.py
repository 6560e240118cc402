"""The history of each bridge process, from control: its sessions, its accounts, and what it has announced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bridge.pipeline.accounts import Accounts
from bridge.pipeline.control_events import LEASE_EXPIRED, PRODUCER_REPLACED, ControlKind
from bridge.topics import Topic
from bridge.verify.violations import Violation, ViolationKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.verify.violations import Place, Violations

_SHARD_KINDS: Final = (ControlKind.SHARD_CLAIMED, ControlKind.SHARD_RELEASED)
_READ: Final = ("lines_received", "split")
_ACCOUNTS: Final = tuple(Accounts().totals())
_GROWING: Final = tuple(name for name in _ACCOUNTS if name != "pending")


@dataclass(slots=True, eq=False)
class ProcessHistory:
    """What is known of one bridge process: its sessions, and its latest accounts (of ``time_us``, at ``place``)."""

    instance: str
    #: None for a process that claims and releases shards: its sessions are of all of them.
    shard: int | None
    place: Place
    #: Whether control is read from before its first record of market data.
    from_start: bool
    sessions: list[int] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    time_us: int = 0
    latest_kind: str = ""
    latest_shard: int = 0
    complete: bool = False
    gap_open: bool = False
    #: Whether it has announced merged records or overload.
    conflates: bool = False
    #: Whether it has announced that it replaced its producer, which sends records again.
    producer_replaced: bool = False
    #: Whether it has announced that the lease of a shard had expired: what it had in flight then may have been written,
    #: although it counts as dropped.
    lease_expired: bool = False
    #: Which of its accounts were reported: each only once.
    reported: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"the bridge {self.instance!r}" + (f", shard {self.shard}," if self.shard else "")

    @property
    def claims_shards(self) -> bool:
        """Return whether shards are handed to it and by it."""
        return self.shard is None

    def knows(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record of its sessions says nothing new; one announcement may be made for each shard."""
        if _higher(record["counts"], self.counts):
            return False
        newest = self.time_us, self.latest_kind, self.latest_shard
        return record["time_us"] < self.time_us or newest == (record["time_us"], record["kind"], record["shard"])

    def continues(self, record: Mapping[str, Any]) -> bool:
        """Return whether a later record of its instance may be its own; a new process counts from 0."""
        counts = record["counts"]
        if self.complete or _higher(self.counts, counts):
            return False
        is_new = record["session_id"] is None and not any(counts.get(name) for name in _GROWING)
        return not (is_new and self.sessions)

    def note(self, place: Place, record: Mapping[str, Any]) -> None:
        """Take a control record that is newer than the others."""
        kind, reason = record["kind"], record["reason"] or ""
        self.place, self.time_us, self.counts = place, record["time_us"], record["counts"]
        self.latest_kind, self.latest_shard = kind, record["shard"]
        self.gap_open = kind == ControlKind.GAP or (self.gap_open and kind != ControlKind.RESUMED)
        self.complete |= kind == ControlKind.SESSION_COMPLETED
        self.conflates |= kind == ControlKind.OVERLOAD or bool(self.counts.get("conflated"))
        self.producer_replaced |= PRODUCER_REPLACED in reason
        self.lease_expired |= kind == ControlKind.SHARD_RELEASED and reason == LEASE_EXPIRED


class ProcessHistories:
    """The histories of all bridge processes, from control records in the order of their partitions."""

    def __init__(self, violations: Violations) -> None:
        self.processes: list[ProcessHistory] = []
        self._violations = violations
        self._of_session: dict[int, ProcessHistory] = {}
        #: The claims and releases that were read: by instance, kind, shard and time.
        self._shard_events: set[tuple[str, str, int, int]] = set()
        self._latest: dict[tuple[str, int | None], ProcessHistory] = {}

    def of_session(self, session_id: int) -> ProcessHistory | None:
        """Return the process that had this session."""
        return self._of_session.get(session_id)

    def conflates(self, instance: str) -> bool:
        """Return whether a bridge of this name has ever announced that it merges records."""
        return any(process.conflates for process in self.processes if process.instance == instance)

    def note(self, place: Place, record: Mapping[str, Any]) -> ProcessHistory | None:
        """Take one control record; return the process that it says something new of."""
        self._check_balance(place, record)
        if record["kind"] in _SHARD_KINDS:
            event = record["instance"], record["kind"], record["shard"], record["time_us"]
            if event in self._shard_events:
                return None  # sent again by a new producer
            self._shard_events.add(event)
            process = self._of_shards(place, record)
        elif record["session_id"] is None:
            return None
        else:
            process = self._of_session.get(record["session_id"]) or self._begin_session(place, record)
            if process.knows(record):
                return None  # sent again by a new producer
        if process.instance != record["instance"]:
            self._report(place, record, f"its session is one of {process}, too", ViolationKind.SESSION)
            return None
        if fell := _higher(process.counts, record["counts"]):
            self._report(place, record, f"the account of {', '.join(fell)} has gone back since {process.place}")
        process.note(place, record)
        return process

    def _begin_session(self, place: Place, record: Mapping[str, Any]) -> ProcessHistory:
        instance, shard, counts = record["instance"], record["shard"], record["counts"]
        process = self._latest.get((instance, None))
        if process is not None and not process.continues(record):  # it runs with a shard of its own now
            del self._latest[instance, None]
            process = None
        if process is None:
            process = self._latest.get((instance, shard))
            if process is None or not process.gap_open or process.complete or _higher(process.counts, counts):
                is_first = record["kind"] == ControlKind.SESSION_STARTED and counts.get("published") == 0
                process = self._begin(ProcessHistory(instance, shard, place, from_start=is_first))
        self._add_session(process, record["session_id"])
        return process

    def _of_shards(self, place: Place, record: Mapping[str, Any]) -> ProcessHistory:
        """Return the process that claims or releases a shard."""
        session_id, instance = record["session_id"], record["instance"]
        if (process := self._of_session.get(session_id)) is not None and process.claims_shards:
            return process
        process = self._latest.get((instance, None)) or self._merged(instance, record)
        if process is None or not process.continues(record):
            is_first = record["kind"] == ControlKind.SHARD_CLAIMED and record["counts"].get("published") == 0
            process = self._begin(ProcessHistory(instance, None, place, from_start=is_first))
        if session_id is not None and session_id not in self._of_session:
            self._add_session(process, session_id)
        return process

    def _merged(self, instance: str, record: Mapping[str, Any]) -> ProcessHistory | None:
        """Return one process made of those that turn out to be one: its earlier claims were not read."""
        found = [one for one in self._latest.values() if one.instance == instance and one.continues(record)]
        if not found:
            return None
        first, *others = found
        for one in others:
            for session_id in one.sessions:
                self._add_session(first, session_id)
            first.conflates |= one.conflates
            first.producer_replaced |= one.producer_replaced
            self.processes.remove(one)
        self._latest = {name: one for name, one in self._latest.items() if one not in found}
        first.shard, first.from_start = None, False
        self._latest[instance, None] = first
        return first

    def _begin(self, process: ProcessHistory) -> ProcessHistory:
        self._latest[process.instance, process.shard] = process
        self.processes.append(process)
        return process

    def _add_session(self, process: ProcessHistory, session_id: int) -> None:
        process.sessions.append(session_id)
        self._of_session[session_id] = process

    def _check_balance(self, place: Place, record: Mapping[str, Any]) -> None:
        counts = record["counts"]
        missing = [name for name in _ACCOUNTS if name not in counts]
        if missing:
            self._report(place, record, f"the accounts are without {', '.join(missing)}")
            return
        read = sum(counts[name] for name in _READ)
        ended = sum(counts[name] for name in _ACCOUNTS) - read
        if read != ended:
            listed = ", ".join(f"{name} {counts[name]}" for name in _ACCOUNTS)
            self._report(place, record, f"the accounts do not add up: {read} read, {ended} accounted for ({listed})")

    def _report(
        self, place: Place, record: Mapping[str, Any], message: str, kind: ViolationKind = ViolationKind.ACCOUNTS
    ) -> None:
        message = f"{record['kind']} of {record['instance']!r}: {message}"
        violation = Violation(kind, Topic.CONTROL, place, message, session_id=record["session_id"])
        self._violations.add(violation)


def _higher(higher: Mapping[str, int], lower: Mapping[str, int]) -> list[str]:
    """Return the accounts that are higher in the first counts."""
    return [name for name in _GROWING if higher.get(name, 0) > lower.get(name, 0)]
