"""The history of each bridge process, from control: its sessions, its accounts, and what it has announced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bridge.pipeline.accounts import Accounts
from bridge.pipeline.control_events import PRODUCER_REPLACED, ControlKind
from bridge.topics import Topic
from bridge.verify.violations import Violation, ViolationKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.verify.violations import Place, Violations

_READ: Final = ("lines_received", "split")
_ACCOUNTS: Final = tuple(Accounts().totals())
_GROWING: Final = tuple(name for name in _ACCOUNTS if name != "pending")


@dataclass(slots=True)
class ProcessHistory:
    """What is known of one bridge process: its sessions, and its latest accounts (of ``time_us``, at ``place``)."""

    instance: str
    shard: int
    place: Place
    #: Whether control is read from before its first record of market data.
    from_start: bool
    sessions: list[int] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    time_us: int = 0
    complete: bool = False
    gap_open: bool = False
    #: Whether it has announced merged records or overload.
    conflates: bool = False
    #: Whether it has announced that it replaced its producer, which sends records again.
    producer_replaced: bool = False
    #: Which of its accounts were reported: each only once.
    reported: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"the bridge {self.instance!r}" + (f", shard {self.shard}," if self.shard else "")

    def note(self, place: Place, record: Mapping[str, Any]) -> None:
        """Take a control record that is newer than the others."""
        kind, reason = record["kind"], record["reason"] or ""
        self.place, self.time_us, self.counts = place, record["time_us"], record["counts"]
        self.gap_open = kind == ControlKind.GAP or (self.gap_open and kind != ControlKind.RESUMED)
        self.complete |= kind == ControlKind.SESSION_COMPLETED
        self.conflates |= kind == ControlKind.OVERLOAD or bool(self.counts.get("conflated"))
        self.producer_replaced |= PRODUCER_REPLACED in reason


class ProcessHistories:
    """The histories of all bridge processes, from control records in the order of their partitions."""

    def __init__(self, violations: Violations) -> None:
        self.processes: list[ProcessHistory] = []
        self._violations = violations
        self._of_session: dict[int, ProcessHistory] = {}
        self._latest: dict[tuple[str, int], ProcessHistory] = {}

    def of_session(self, session_id: int) -> ProcessHistory | None:
        """Return the process that had this session."""
        return self._of_session.get(session_id)

    def conflates(self, instance: str) -> bool:
        """Return whether a bridge of this name has ever announced that it merges records."""
        return any(process.conflates for process in self.processes if process.instance == instance)

    def note(self, place: Place, record: Mapping[str, Any]) -> None:
        """Take one control record."""
        session_id, counts = record["session_id"], record["counts"]
        self._check_balance(place, record)
        if session_id is None:
            return
        process = self._of_session.get(session_id) or self._begin_session(place, record)
        if process.time_us >= record["time_us"] and not _higher(counts, process.counts):
            return  # sent again by a new producer
        if fell := _higher(process.counts, counts):
            self._report(place, record, f"the account of {', '.join(fell)} has gone back since {process.place}")
        process.note(place, record)

    def _begin_session(self, place: Place, record: Mapping[str, Any]) -> ProcessHistory:
        name, counts = (record["instance"], record["shard"]), record["counts"]
        process = self._latest.get(name)
        if process is None or not process.gap_open or process.complete or _higher(process.counts, counts):
            is_first = record["kind"] == ControlKind.SESSION_STARTED and counts.get("published") == 0
            process = self._latest[name] = ProcessHistory(*name, place, from_start=is_first)
            self.processes.append(process)
        process.sessions.append(record["session_id"])
        self._of_session[record["session_id"]] = process
        return process

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

    def _report(self, place: Place, record: Mapping[str, Any], message: str) -> None:
        message = f"{record['kind']} of {record['instance']!r}: {message}"
        violation = Violation(ViolationKind.ACCOUNTS, Topic.CONTROL, place, message, session_id=record["session_id"])
        self._violations.add(violation)


def _higher(higher: Mapping[str, int], lower: Mapping[str, int]) -> list[str]:
    """Return the accounts that are higher in the first counts."""
    return [name for name in _GROWING if higher.get(name, 0) > lower.get(name, 0)]
