"""What the partitions show of each session, kept until control can explain it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bridge.verify.overlap import Overlap
from bridge.verify.violations import Place, Violation, ViolationKind, Violations

if TYPE_CHECKING:
    from bridge.topics import Topic

#: Jumps of a session (for each cause) and repeat runs that are kept with their places, and holes kept for a moment.
MAX_JUMPS: Final = 100
MAX_REPEAT_RUNS: Final = 100
MAX_HOLES: Final = 10_000
#: About a second, for which missing records are counted together.
_BUCKET_BITS: Final = 20


class JumpCause(StrEnum):
    """The reason for a jump in ``seq``, as far as the record after it shows."""

    CONFLATION = "conflation"  # quotes and greeks: merged into a later record
    DROP = "drop"  # the record behind the jump is marked after_gap
    EITHER = "either"  # quotes and greeks marked after_gap: dead-lettered, and others merged, perhaps


@dataclass(slots=True)
class Jump:
    """A jump: the missing ``seq`` from ``first`` to ``last``, and the place of the record behind them."""

    topic: Topic
    place: Place
    symbol: str
    session_id: int
    first: int
    last: int
    ingest_us: int
    cause: JumpCause | None
    #: How many of the missing came later, out of order.
    late: int = 0
    reported: bool = False

    @property
    def missing(self) -> int:
        """Return how many records did not come at all."""
        return max(0, self.last - self.first + 1 - self.late)

    def __str__(self) -> str:
        count = self.missing
        which = f"seq {self.first}" if self.first == self.last else f"seq {self.first} to {self.last}"
        after = f"comes after {self.first - 1}" if self.first else "is the first of its session"
        return f"seq {self.last + 1} {after}: {count} record{'s are' if count > 1 else ' is'} missing ({which})"


@dataclass(slots=True)
class RepeatRun:
    """Records of one session that come again in a row; ``place`` and ``seq`` are those of the first of them."""

    topic: Topic
    place: Place
    symbol: str
    session_id: int
    seq: int
    #: The furthest position that was copied by this run and those directly before it, in the session's history.
    furthest: int
    position: int = -1
    end_offset: int = 0
    count: int = 0

    def take(self, position: int, offset: int) -> None:
        """Take the next repeat."""
        self.position, self.furthest = position, max(position, self.furthest)
        self.end_offset = offset + 1
        self.count += 1


class Losses:
    """Missing records by cause and by the second in which they showed, to be compared with accounts of some time."""

    def __init__(self) -> None:
        self._covered: Counter[JumpCause] = Counter()
        self._later: Counter[tuple[JumpCause, int]] = Counter()

    def add(self, cause: JumpCause, ingest_us: int, count: int) -> None:
        """Count missing records; a negative number takes back what came late."""
        self._later[cause, ingest_us >> _BUCKET_BITS] += count

    def cover(self, until_us: float) -> Counter[JumpCause]:
        """Return what showed until the time of the accounts, which only grows from call to call."""
        for cause, second in [key for key in self._later if (key[1] + 1) << _BUCKET_BITS <= until_us]:
            self._covered[cause] += self._later.pop((cause, second))
        return self._covered

    def later(self) -> int:
        """Return how many showed after that time."""
        return self._later.total()

    def forget_later(self, cause: JumpCause) -> int:
        """Return how many showed after that time for a cause, and count them no more."""
        return sum(self._later.pop(key) for key in list(self._later) if key[0] is cause)


@dataclass(slots=True)
class SessionStatistics:
    """What all topics show of one session; ``place`` is that of its first record."""

    session_id: int
    topic: Topic
    place: Place
    #: Records, without repeats.
    found: int = 0
    losses: Losses = field(default_factory=Losses)
    jumps: defaultdict[JumpCause, list[Jump]] = field(default_factory=lambda: defaultdict(list))
    #: Runs of repeats that are not explained yet.
    repeat_runs: list[RepeatRun] = field(default_factory=list)
    is_reported: bool = False

    def note(self, jump: Jump) -> None:
        """Count a jump with a cause."""
        assert jump.cause is not None
        self.losses.add(jump.cause, jump.ingest_us, jump.missing)
        if len(jumps := self.jumps[jump.cause]) < MAX_JUMPS:
            jumps.append(jump)

    def note_repeats(self, run: RepeatRun) -> None:
        """Keep a run of repeats until it is explained; one of many is left out, as all are explained alike."""
        if len(self.repeat_runs) < MAX_REPEAT_RUNS:
            self.repeat_runs.append(run)


@dataclass(slots=True)
class Transition:
    """The symbols that went from one session to a newer one.

    ``last_us`` is when the older one read its last record of them, ``first_us`` when the newer one read its first. The
    rest is of the symbol of that last record, and of its first record in the newer session.
    """

    topic: Topic
    place: Place
    symbol: str
    last_us: int
    first_us: int
    is_reported: bool = False


class Observations:
    """What the partitions show, by session."""

    def __init__(self) -> None:
        self.violations = Violations()
        self.sessions: dict[int, SessionStatistics] = {}
        #: Jumps without a cause: what is missing may still come, out of order.
        self.holes: list[Jump] = []
        #: Records of a session that came after those of a newer one, by both sessions.
        self.overlaps: dict[tuple[int, int], Overlap] = {}
        #: The symbols that went from a session to a newer one, by both sessions.
        self.transitions: dict[tuple[int, int], Transition] = {}

    def session(self, session_id: int, topic: Topic, place: Place) -> SessionStatistics:
        """Return the statistics of a session; ``place`` is where it is seen."""
        statistics = self.sessions.get(session_id)
        if statistics is None:
            statistics = self.sessions[session_id] = SessionStatistics(session_id, topic, place)
        return statistics

    def note_hole(self, jump: Jump) -> None:
        """Keep a jump without a cause; report those kept if there are many."""
        self.holes.append(jump)
        if len(self.holes) >= MAX_HOLES:
            self.report_holes()

    def report_holes(self) -> None:
        """Report the jumps without a cause."""
        for jump in self.holes:
            self.report_hole(jump, "the record behind the jump is not marked after_gap")
        self.holes.clear()

    def report_hole(self, jump: Jump, why: str) -> None:
        """Report a jump, once."""
        if jump.missing and not jump.reported:
            jump.reported = True
            self._report(ViolationKind.HOLE, jump, f"{jump}; {why}")

    def note_transition(self, older: int, newer: int, seen: Transition) -> None:
        """Take the step of a symbol from one session to a newer one."""
        known = self.transitions.setdefault((older, newer), seen)
        known.first_us = min(known.first_us, seen.first_us)
        if seen.last_us > known.last_us:
            known.place, known.topic, known.symbol, known.last_us = seen.place, seen.topic, seen.symbol, seen.last_us

    def overlap(self, older: int, newer: int, topic: Topic, place: Place) -> Overlap:
        """Return what is known of the records of a session after those of a newer one; ``place`` is of the first."""
        overlap = self.overlaps.get((older, newer))
        if overlap is None:
            overlap = self.overlaps[older, newer] = Overlap(topic, place, older, newer)
        return overlap

    def ended_overlaps(self, *, final: bool) -> list[Overlap]:
        """Return the overlaps that have ended since the last call; ``final``: all."""
        return [one for one in list(self.overlaps.values()) if one.has_ended() or final]

    def report_repeats(self, run: RepeatRun, why: str) -> None:
        """Report a run of repeats."""
        records = f"{run.count} records come" if run.count > 1 else "1 record comes"
        self._report(ViolationKind.REPEAT, run, f"{records} again, from seq {run.seq} on; {why}")

    def _report(self, kind: ViolationKind, at: Jump | RepeatRun, message: str) -> None:
        self.violations.add(Violation(kind, at.topic, at.place, message, at.symbol, at.session_id))
