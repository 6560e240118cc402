"""The check of all observations: each is explained by accounts, dead letters and control, or is a violation."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.pipeline.dead_letters import RECORD_REJECTED
from bridge.topics import MARKET_DATA, SUBSCRIBABLE, Topic
from bridge.verify.handover_check import HandoverCheck
from bridge.verify.observations import JumpCause, Observations
from bridge.verify.partition_check import PartitionCheck
from bridge.verify.process_history import ProcessHistories
from bridge.verify.violations import Place, Violation, ViolationKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.verify.observations import Jump, SessionStatistics
    from bridge.verify.process_history import ProcessHistory

#: How long a session may be new before control must know it: its records are on another partition.
SESSION_GRACE_US: Final = 30_000_000
#: A composite line holds a quote, a trade and greeks.
MAX_RECORDS_PER_LINE: Final = 3
#: The reason of dead letters whose lines would have been no record of a known topic: no ``seq`` is missing.
UNKNOWN_KIND: Final = "unknown_kind"


class Scope(NamedTuple):
    """What is read: the topics with their partition counts, and whether that is everything."""

    counts: Mapping[Topic, int]
    #: Whether all data topics that exist are read.
    all_data: bool = True
    #: The only session that is read, if not all are.
    session_id: int | None = None
    #: Whether every repeat is a violation, also after a producer was replaced, and every late record of a former owner.
    strict: bool = False


class Checker:
    """A check of all topics: it takes every record, and judges what they show with ``settle``."""

    def __init__(self, names: Mapping[Topic, str], scope: Scope) -> None:
        self.observations = Observations()
        self.violations = self.observations.violations
        self.histories = ProcessHistories(self.violations)
        self.handovers = HandoverCheck(self.observations, self.histories, strict=scope.strict)
        #: The partitions that are read, also those of control and dead letters.
        self.partitions: list[PartitionCheck] = []
        #: Missing or repeated records that later control records must explain.
        self.awaiting = 0
        self.dead_letters = self.control_records = 0
        self._names = names
        self._scope = scope
        #: Dead letters, and the most records that can be missing because of them, by session.
        self._letters: Counter[int | None] = Counter()
        self._records_lost: Counter[int | None] = Counter()
        self._check_partition_counts()

    def partition(
        self, topic: Topic, number: int, *, complete_from_us: float = -math.inf, next_offset: int = 0
    ) -> PartitionCheck:
        """Add a partition."""
        where = topic, self._names[topic], number, self._scope.counts[topic], self.observations
        check = PartitionCheck(*where, complete_from_us=complete_from_us, next_offset=next_offset)
        self.partitions.append(check)
        return check

    # -- control and dead letters ------------------------------------------------------------------------------------

    def control(self, place: Place, record: Mapping[str, Any]) -> None:
        """Take a control record."""
        self.control_records += 1
        process = self.histories.note(place, record)
        if process is not None:
            self.handovers.note(process, record)

    def dead_letter(self, letter: Mapping[str, Any]) -> None:
        """Take a dead letter."""
        self.dead_letters += 1
        self._letters[letter["session_id"]] += 1
        if letter["symbol"] and letter["reason"] != UNKNOWN_KIND:
            most = 1 if letter["reason"] == RECORD_REJECTED else MAX_RECORDS_PER_LINE
            self._records_lost[letter["session_id"]] += most

    def undecodable(self, topic: Topic, place: Place, why: str) -> None:
        """Report a record that cannot be decoded, or is not one of its topic."""
        self.violations.add(Violation(ViolationKind.UNDECODABLE, topic, place, why))

    def _check_partition_counts(self) -> None:
        counts = {topic: count for topic, count in self._scope.counts.items() if topic in SUBSCRIBABLE}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{self._names[topic]}: {count}" for topic, count in counts.items())
            message = f"the data topics must have equal partition counts, or consumers cannot join them: {listed}"
            self.violations.add(Violation(ViolationKind.PARTITION_COUNTS, next(iter(counts)), None, message))

    # -- the verdict -----------------------------------------------------------------------------------------------

    def settle(self, now_us: int, *, final: bool = True) -> None:
        """Judge what is known so far; ``final``: no record will follow that could explain it."""
        self.observations.report_holes()
        self.awaiting = self.handovers.settle(lambda session_id: self._is_new(session_id, now_us), final=final)
        for statistics in self.observations.sessions.values():
            process = self.histories.of_session(statistics.session_id)
            if process is None:
                self._settle_unknown_session(statistics, now_us, final=final)
            self._settle_repeats(statistics, process, now_us, final=final)
        for process in self.histories.processes:
            self._settle_process(process, final=final)

    def _settle_unknown_session(self, statistics: SessionStatistics, now_us: int, *, final: bool) -> None:
        """Judge a session that control does not know (yet, or any more)."""
        is_due = self._is_due(statistics.session_id, now_us)
        if Topic.CONTROL in self._scope.counts and is_due and not statistics.is_reported:
            statistics.is_reported = True
            where, session_id = (statistics.topic, statistics.place), statistics.session_id
            message = "control does not know the session of this record"
            self.violations.add(Violation(ViolationKind.SESSION, *where, message, session_id=session_id))
        if final and is_due:
            self._report_later([statistics], "control announces no conflated records in this session")
        else:
            self.awaiting += statistics.losses.later()

    def _is_due(self, session_id: int, now_us: int) -> bool:
        """Return whether control, if it is read at all, must have announced this session by now."""
        if Topic.CONTROL not in self._scope.counts:
            return True
        return self._complete_from_us(Topic.CONTROL) < session_id and not self._is_new(session_id, now_us)

    def _is_new(self, session_id: int, now_us: int) -> bool:
        """Return whether control may still not know this session, as its records are on another partition."""
        return Topic.CONTROL in self._scope.counts and abs(now_us - session_id) < SESSION_GRACE_US

    def _settle_repeats(
        self, statistics: SessionStatistics, process: ProcessHistory | None, now_us: int, *, final: bool
    ) -> None:
        """Judge repeats: only a process that has replaced its producer sends records again.

        A running process may have done so since its latest control record, and so may one that was killed.
        """
        if self._scope.strict:
            why = "no repeat is accepted (--strict)"
        elif process is not None and process.producer_replaced:
            why = ""
        elif process is not None and process.complete:
            why = f"but {process} has not announced on control that it replaced its producer"
        elif process is None and final and self._is_due(statistics.session_id, now_us):
            why = "and no control record announces a replaced producer"
        else:
            self.awaiting += sum(run.count for run in statistics.repeat_runs)
            return
        for run in statistics.repeat_runs:
            if why:
                self.observations.report_repeats(run, why)
        statistics.repeat_runs.clear()

    def _settle_process(self, process: ProcessHistory, *, final: bool) -> None:
        if not process.sessions:
            return
        sessions = self.observations.sessions
        found = [sessions[session_id] for session_id in process.sessions if session_id in sessions]
        self._compare_losses(process, found)
        if final and not self.histories.conflates(process.instance):
            why = f"{process} has never announced conflated records; if it still runs, verify again in a minute"
            self._report_later(found, why)
        self.awaiting += sum(statistics.losses.later() for statistics in found)
        if self._is_in_view(process):
            self._compare_published(process, sum(statistics.found for statistics in found))
        if process.from_start and self._has_letters_of(process):
            self._compare_dead_letters(process)

    def _compare_losses(self, process: ProcessHistory, found: list[SessionStatistics]) -> None:
        until_us = math.inf if process.complete else process.time_us
        losses: Counter[JumpCause] = Counter()
        for statistics in found:
            losses.update(statistics.losses.cover(until_us))
        dropped, dropped_account = losses[JumpCause.DROP], process.counts.get("dropped", 0)
        spare = dropped_account + self._dead_lettered_records(process) - dropped
        if spare < 0:
            jumps = [jump for statistics in found for jump in statistics.jumps[JumpCause.DROP]]
            self._report_losses(process, "dropped", f"marked after_gap leave out {dropped} records", jumps)
        conflated = losses[JumpCause.CONFLATION] + losses[JumpCause.EITHER]
        conflated_account = process.counts.get("conflated", 0)
        if conflated <= conflated_account + max(0, spare):
            return
        if losses[JumpCause.CONFLATION] and not conflated_account:
            self._report_jumps(found, until_us, f"the accounts of {process} count no conflated records")
        else:
            causes = JumpCause.CONFLATION, JumpCause.EITHER
            jumps = [jump for statistics in found for cause in causes for jump in statistics.jumps[cause]]
            self._report_losses(process, "conflated", f"of quotes and greeks leave out {conflated} records", jumps)

    def _dead_lettered_records(self, process: ProcessHistory) -> int:
        """Return the most records that can be missing because they, or their lines, became dead letters."""
        if self._has_letters_of(process):
            return sum(self._records_lost[session_id] for session_id in process.sessions)
        return process.counts.get("dead_lettered", 0) * MAX_RECORDS_PER_LINE

    def _report_later(self, found: list[SessionStatistics], why: str) -> None:
        """Report jumps that only conflation could explain, though no later accounts will count any."""
        if sum(statistics.losses.forget_later(JumpCause.CONFLATION) for statistics in found):
            self._report_jumps(found, math.inf, why)

    def _report_jumps(self, found: list[SessionStatistics], until_us: float, why: str) -> None:
        for statistics in found:
            for jump in statistics.jumps[JumpCause.CONFLATION]:
                if jump.ingest_us < until_us:
                    self.observations.report_hole(jump, why)

    def _report_losses(self, process: ProcessHistory, account: str, leave_out: str, jumps: list[Jump]) -> None:
        message = f"jumps {leave_out}, but its account of {account} is {process.counts.get(account, 0)}"
        if jumps:
            message += f"; first jump: {jumps[0].place} symbol {jumps[0].symbol!r}, {jumps[0]}"
        self._report_account(process, account, message)

    def _compare_published(self, process: ProcessHistory, found: int) -> None:
        published = process.counts.get("published", 0)
        removed = sum(partition.removed for partition in self.partitions)
        in_flight = process.counts.get("dropped", 0) if process.lease_expired else 0
        if found + removed < published:
            message = f"{published} records were published, but the topics hold {found} of its sessions"
        elif process.complete and not process.counts.get("pending") and found > published + in_flight:
            message = f"{published} records were published in all, but the topics hold {found} of its sessions"
        else:
            return
        self._report_account(process, "published", message)

    def _compare_dead_letters(self, process: ProcessHistory) -> None:
        written = process.counts.get("dead_lettered", 0)
        found = sum(self._letters[session_id] for session_id in (*process.sessions, None))
        if found < written:
            message = f"{written} lines were dead-lettered, but {self._names[Topic.DLQ]} holds {found} of them"
            self._report_account(process, "dead_lettered", message)

    def _report_account(self, process: ProcessHistory, account: str, message: str) -> None:
        """Report a wrong account of a process, once, at the place of its latest accounts."""
        if account not in process.reported:
            process.reported.add(account)
            where, session_id = (Topic.CONTROL, process.place), process.sessions[-1]
            message = f"{process}: {message}"
            self.violations.add(Violation(ViolationKind.ACCOUNTS, *where, message, session_id=session_id))

    def _has_letters_of(self, process: ProcessHistory) -> bool:
        return Topic.DLQ in self._scope.counts and min(process.sessions) > self._complete_from_us(Topic.DLQ)

    def _is_in_view(self, process: ProcessHistory) -> bool:
        """Return whether all that this process published is read."""
        if not (process.from_start and self._scope.all_data):
            return False
        if self._scope.session_id is not None and process.sessions != [self._scope.session_id]:
            return False
        return min(process.sessions) > self._complete_from_us(*MARKET_DATA)

    def _complete_from_us(self, *topics: Topic) -> float:
        """Return from when on the records of these topics are read."""
        return max((one.complete_from_us for one in self.partitions if one.topic in topics), default=-math.inf)
