"""The check of one partition's records, one at a time: key, timestamp, partition, order, repeats."""

from __future__ import annotations

import math
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.kafka.partitioner import partition as partition_of
from bridge.pipeline.routing import CONFLATED
from bridge.topics import NOT_PLACED, Topic
from bridge.verify.observations import Jump, JumpCause, RepeatRun, Transition
from bridge.verify.violations import Place, Violation, ViolationKind

if TYPE_CHECKING:
    from bridge.verify.observations import Observations, SessionStatistics
    from bridge.verify.record_header import RecordHeader

#: A session begins when the frame that begins it was read already: its first records may be older than its id.
SESSION_LEAD_US: Final = 1_000_000
#: Records of a session on a partition with which repeats are compared: more than fit into a batch.
MAX_HISTORY: Final = 10_000
#: Sessions of which these are kept: those of a few processes that share the topics, and some before them.
MAX_SESSIONS: Final = 8


class Arrival(NamedTuple):
    """A record that is not simply the next one of its symbol."""

    offset: int
    value: bytes
    symbol: bytes
    ingest_us: int
    session_id: int
    seq: int
    after_gap: bool


class SymbolState:
    """The latest of one symbol: few fields, as there may be 100,000 symbols."""

    __slots__ = ("gap", "history", "ingest_us", "next_seq", "previous", "session_id", "statistics")

    statistics: SessionStatistics
    history: deque[int]

    def __init__(self) -> None:
        self.session_id = -math.inf
        self.next_seq = 0
        self.ingest_us = 0
        #: The session before, and its next ``seq``.
        self.previous: tuple[float, int] | None = None
        #: The latest jump of the session: what is missing in it may still come, out of order.
        self.gap: Jump | None = None


class PartitionCheck:
    """A check of the records of one partition; ``count`` is the number of its topic's partitions.

    ``complete_from_us``: sessions that began later are seen from their first record (-inf: all sessions; inf: those
    that begin after the first record that will be read).
    """

    def __init__(
        self,
        topic: Topic,
        name: str,
        number: int,
        count: int,
        observations: Observations,
        *,
        complete_from_us: float = -math.inf,
        next_offset: int = 0,
    ) -> None:
        self.topic = topic
        self.name = name
        self.complete_from_us = complete_from_us
        self.records = self.repeats = self.jumps = self.redriven = 0
        #: Records that compaction has removed.
        self.removed = 0
        self.sessions: set[int] = set()
        self.symbols: dict[bytes, SymbolState] = {}
        self._number = number
        self._count = count
        self._observations = observations
        self._next_offset = next_offset
        self._removed_before: dict[bytes, int] = {}
        #: The hashes of the values of the latest records, without repeats, by session.
        self._histories: dict[int, deque[int]] = {}
        self._run: RepeatRun | None = None
        #: How many times records of one session were followed by those of another.
        self._stretch = 0
        self._stretch_session = -1

    def begin_at(self, time_us: float) -> None:
        """Note the time of the first record that is read, or until when there was none."""
        if self.complete_from_us == math.inf:
            self.complete_from_us = time_us

    def restart(self) -> None:
        """Note that records were deleted before they were read: what comes next cannot be compared."""
        self.complete_from_us = math.inf
        self.symbols.clear()
        self._histories.clear()

    def check_frame(
        self, at: Arrival | int, keys: tuple[bytes | None, bytes | None], timestamp_ms: int, due_us: int
    ) -> None:
        """Check the key (``keys``: as it is and as it should be), the timestamp and the partition of a record."""
        key, due_key = keys
        if key != due_key:
            self._report(ViolationKind.KEY, at, f"its key is {key!r}, not {due_key!r}")
        if timestamp_ms != due_us // 1000:
            message = f"its Kafka timestamp is {timestamp_ms} ms, not its own time, {due_us // 1000} ms"
            self._report(ViolationKind.TIMESTAMP, at, message)
        due = 0 if key is None else partition_of(key, self._count)
        if due != self._number:
            fits = [count for count in range(1, self._count) if key and partition_of(key, count) == self._number]
            hint = f"; with {fits[-1]} partitions it would belong here: were some added?" if fits else ""
            message = f"its key belongs to partition {due} of {self._count} (murmur2, as the Java client){hint}"
            self._report(ViolationKind.PARTITION, at, message)

    def check(self, offset: int, timestamp_ms: int, key: bytes | None, value: bytes, header: RecordHeader) -> None:
        """Check one record of market data."""
        symbol, ingest_us, session_id, seq, _ = header
        self.records += 1
        if session_id != self._stretch_session:
            self._stretch_session = session_id
            self._stretch += 1
        state = self.symbols.get(symbol)
        if state is None or key != symbol or timestamp_ms != ingest_us // 1000:
            self.check_frame(Arrival(offset, value, *header), (key, symbol), timestamp_ms, ingest_us)
            if key != symbol and partition_of(symbol, self._count) != self._number:  # its order is that of another key
                self._statistics(Arrival(offset, value, *header)).found += 1
                return
        if self.topic is Topic.MARKET_STATUS:
            self.removed += offset - self._next_offset
            self._next_offset = offset + 1
        if state is not None and seq == state.next_seq and session_id == state.session_id:
            state.next_seq = seq + 1
            state.ingest_us = ingest_us
            state.statistics.found += 1
            state.history.append(hash(value))
        else:
            self._check_order(state, Arrival(offset, value, *header))
        if self.removed:
            self._removed_before[symbol] = self.removed

    # -- what is not simply the next record -----------------------------------------------------------------------

    def _check_order(self, state: SymbolState | None, came: Arrival) -> None:
        if came.seq == NOT_PLACED:
            self.redriven += 1
            return
        if state is None:
            self.begin_at(max(came.ingest_us + SESSION_LEAD_US, came.session_id))
            state = self.symbols[came.symbol] = SymbolState()
        if came.session_id > state.session_id:
            self._begin_session(state, came)
        elif came.session_id == state.session_id and came.seq >= state.next_seq:
            self._advance(state, came, state.next_seq)
        elif self._is_late(state, came):
            self._note_late(state, came)
        else:
            self._note_repeat(came)

    def _begin_session(self, state: SymbolState, came: Arrival) -> None:
        if state.session_id > -math.inf:
            state.previous = state.session_id, state.next_seq
            if state.session_id in self._histories:  # else it is long gone
                where = self.topic, self._place(came.offset), _text(came.symbol)
                seen = Transition(*where, state.ingest_us, came.ingest_us)
                self._observations.note_transition(int(state.session_id), came.session_id, seen)
        self.sessions.add(came.session_id)
        state.session_id, state.gap = came.session_id, None
        state.statistics = self._statistics(came)
        state.history = self._history(came.session_id)
        is_whole = came.session_id > self.complete_from_us and partition_of(came.symbol, self._count) == self._number
        if is_whole and came.seq == 0 and not came.after_gap and not self._is_compacted(came, 1):
            self._report(ViolationKind.AFTER_GAP, came, "it is the first of its session, but not marked after_gap")
        self._advance(state, came, 0 if is_whole else came.seq)

    def _advance(self, state: SymbolState, came: Arrival, first: int) -> None:
        """Take a record that is the newest of its symbol; ``first`` is the ``seq`` that was to come."""
        state.next_seq = came.seq + 1
        state.ingest_us = came.ingest_us
        state.statistics.found += 1
        state.history.append(hash(came.value))
        if came.seq != first and not self._is_compacted(came, came.seq - first):
            state.gap = self._note_jump(state.statistics, came, first)

    def _note_jump(self, statistics: SessionStatistics, came: Arrival, first: int) -> Jump:
        where = self.topic, self._place(came.offset), _text(came.symbol), came.session_id
        jump = Jump(*where, first, came.seq - 1, came.ingest_us, self._cause(came, first))
        if jump.cause is None:
            self._observations.note_hole(jump)
        else:
            self.jumps += 1
            statistics.note(jump)
        return jump

    def _cause(self, came: Arrival, first: int) -> JumpCause | None:
        """Return the cause of a jump; the first record of a session is marked after_gap whatever was merged."""
        if self.topic not in CONFLATED:
            return JumpCause.DROP if came.after_gap else None
        if came.after_gap:
            return JumpCause.EITHER if first else JumpCause.CONFLATION
        return JumpCause.CONFLATION if first else None

    def _is_compacted(self, came: Arrival, missing: int) -> bool:
        """Return whether compaction has removed enough records to explain the missing ones."""
        return missing <= self.removed - self._removed_before.get(came.symbol, 0)

    # -- going back ------------------------------------------------------------------------------------------------

    def _is_late(self, state: SymbolState, came: Arrival) -> bool:
        """Return whether this record, older than the newest, comes for the first time."""
        if came.session_id == state.session_id:
            return state.gap is not None and state.gap.first <= came.seq <= state.gap.last
        if state.previous is None:
            return came.session_id > self.complete_from_us
        return (came.session_id, came.seq) >= state.previous

    def _note_late(self, state: SymbolState, came: Arrival) -> None:
        statistics = self._statistics(came)
        statistics.found += 1
        if came.session_id in self._histories:
            self._histories[came.session_id].append(hash(came.value))
        if came.session_id != state.session_id:
            self._note_overlap(state, statistics, came)
            return
        message = f"seq {came.seq} comes after seq {state.next_seq - 1} of its session"
        self._report(ViolationKind.OUT_OF_ORDER, came, message)
        if state.gap is not None:
            state.gap.late += 1
            if state.gap.cause is not None:
                statistics.losses.add(state.gap.cause, state.gap.ingest_us, -1)

    def _note_overlap(self, state: SymbolState, statistics: SessionStatistics, came: Arrival) -> None:
        """Take a record of a session after those of a newer one; it is still the next one of its own session."""
        overlap = self._observations.overlap(
            came.session_id, int(state.session_id), self.topic, self._place(came.offset)
        )
        overlap.take(_text(came.symbol), came.ingest_us, (self.topic, self._number), self._stretch)
        session_id, first = state.previous or (-math.inf, 0)
        if session_id != came.session_id:
            first = 0 if came.session_id > self.complete_from_us else came.seq
        if came.seq > first and self.topic is not Topic.MARKET_STATUS:
            self._note_jump(statistics, came, first)
        state.previous = came.session_id, came.seq + 1

    def _note_repeat(self, came: Arrival) -> None:
        """Follow repeats: they copy a stretch of their session, as batches that are sent again do."""
        self.repeats += 1
        run, history = self._run, self._histories.get(came.session_id, deque())
        if run is not None and (run.end_offset, run.session_id) != (came.offset, came.session_id):
            run = None
        position = _position(history, hash(came.value), run.position + 1 if run is not None else 0)
        if position < 0 and self._is_remembered(came.session_id):
            self._report(ViolationKind.REPEAT, came, f"seq {came.seq} comes again, with other content")
            return
        if run is not None and position > run.furthest + 1:
            message = f"seq {came.seq} comes again behind other repeats, but not all that came before it"
            self._report(ViolationKind.REPEAT, came, message)
        if run is None or position not in (-1, run.position + 1):
            where = self.topic, self._place(came.offset), _text(came.symbol), came.session_id, came.seq
            run = self._run = RepeatRun(*where, furthest=run.furthest if run is not None else position)
            self._statistics(came).note_repeats(run)
        run.take(position, came.offset)

    def _history(self, session_id: int) -> deque[int]:
        history = self._histories.get(session_id)
        if history is None:
            history = self._histories[session_id] = deque(maxlen=MAX_HISTORY)
            if len(self._histories) > MAX_SESSIONS:
                self._histories.pop(min(self._histories)).clear()
        return history

    def _is_remembered(self, session_id: int) -> bool:
        """Return whether the history holds each record of this session."""
        is_whole = len(self._histories.get(session_id, ())) < MAX_HISTORY
        return is_whole and session_id in self._histories and session_id > self.complete_from_us

    # -- facts -----------------------------------------------------------------------------------------------------

    def _statistics(self, came: Arrival) -> SessionStatistics:
        return self._observations.session(came.session_id, self.topic, self._place(came.offset))

    def _place(self, offset: int) -> Place:
        return Place(self.name, self._number, offset)

    def _report(self, kind: ViolationKind, at: Arrival | int, message: str) -> None:
        if isinstance(at, Arrival):
            violation = Violation(kind, self.topic, self._place(at.offset), message, _text(at.symbol), at.session_id)
        else:
            violation = Violation(kind, self.topic, self._place(at), message)
        self._observations.violations.add(violation)


def _position(history: deque[int], value: int, expected: int) -> int:
    """Return where a value is in the history (-1: nowhere); the search begins where it is expected."""
    for start in (expected, 0):
        with suppress(ValueError):
            return history.index(value, start)
    return -1


def _text(symbol: bytes) -> str:
    return symbol.decode("utf-8", "backslashreplace")
