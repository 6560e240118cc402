"""What the partitions hand on: it is judged together with what control and dead letters say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bridge.verify.findings import Finding, Findings, Kind, Place

if TYPE_CHECKING:
    from bridge.topics import Topic

#: Jumps of a session that are kept to be named, runs of repeats whose producers are looked up, holes that wait for
#: a dead letter to explain them. What is beyond is counted, or reported at once.
MOST_JUMPS: Final = 100
MOST_REWINDS: Final = 1000
MOST_HOLES: Final = 10_000
#: About a second, in which losses are counted together.
_BUCKET_BITS: Final = 20


class Cause(StrEnum):
    """Name what a jump in ``seq`` says of itself."""

    CONFLATION = "conflation"  # quotes and greeks: merged into a younger record
    DROP = "drop"  # the record behind the jump is marked after_gap
    GAP = "gap"  # quotes and greeks behind after_gap: some dead-lettered, others merged, perhaps


@dataclass(slots=True)
class Jump:
    """Hold a jump: the missing ``seq`` from ``first`` to ``last``, and the record behind them."""

    topic: Topic
    place: Place
    symbol: str
    session_id: int
    first: int
    last: int
    ingest_us: int
    cause: Cause | None
    #: How many of the missing came later than they should.
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
class Rewind:
    """Hold a run of repeats without a break in its partition; ``place`` is that of the first of them."""

    topic: Topic
    place: Place
    symbol: str
    session_id: int
    seq: int
    #: The offset behind the last of them.
    end: int
    count: int = 0


@dataclass(frozen=True, slots=True)
class Break:
    """Hold a place where the repeats of a symbol end before all was repeated, and the offset where it goes on."""

    topic: Topic
    place: Place
    symbol: str
    session_id: int
    seq: int
    goes_on_at: int


class Losses:
    """Count missing records by the second in which they showed, so that accounts of any time can be compared."""

    def __init__(self) -> None:
        self._by_second: Counter[int] = Counter()
        self._covered = 0

    def add(self, ingest_us: int, count: int) -> None:
        """Count missing records (below 0: they came late)."""
        self._by_second[ingest_us >> _BUCKET_BITS] += count

    def until(self, time_us: float) -> int:
        """Return how many showed before this time; it may only grow from call to call."""
        for second in [second for second in self._by_second if (second + 1) << _BUCKET_BITS <= time_us]:
            self._covered += self._by_second.pop(second)
        return self._covered

    @property
    def later(self) -> int:
        """Return how many showed after the time last asked for."""
        return self._by_second.total()


@dataclass(slots=True)
class Tally:
    """Count what is found of one session, on all topics."""

    session_id: int
    topic: Topic
    #: Where its first record stands.
    place: Place
    #: Records, each counted once.
    found: int = 0
    conflated: Losses = field(default_factory=Losses)
    dropped: Losses = field(default_factory=Losses)
    skipped: Losses = field(default_factory=Losses)
    #: Records which Kafka refused: they are not missing but dead-lettered.
    refused: int = 0
    jumps: list[Jump] = field(default_factory=list)

    @property
    def later(self) -> int:
        """Return how many records are missing of which the accounts have not told yet."""
        return self.conflated.later + self.dropped.later + self.skipped.later

    def note(self, jump: Jump) -> None:
        """Count a jump that says why it is one."""
        self._losses(jump).add(jump.ingest_us, jump.last - jump.first + 1)
        if len(self.jumps) < MOST_JUMPS:
            self.jumps.append(jump)

    def take_back(self, jump: Jump) -> None:
        """Count one record that came late as not missing."""
        self._losses(jump).add(jump.ingest_us, -1)

    def _losses(self, jump: Jump) -> Losses:
        return {Cause.CONFLATION: self.conflated, Cause.GAP: self.skipped}.get(jump.cause or Cause.DROP, self.dropped)


class Evidence:
    """Collect what the partitions find."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.tallies: dict[int, Tally] = {}
        self.holes: list[Jump] = []
        self.rewinds: list[Rewind] = []
        self.breaks: list[Break] = []

    def tally(self, session_id: int, topic: Topic, place: Place) -> Tally:
        """Return the tally of a session; its first record stands at ``place``."""
        found = self.tallies.get(session_id)
        if found is None:
            found = self.tallies[session_id] = Tally(session_id, topic, place)
        return found

    def suspect(self, jump: Jump) -> None:
        """Keep a jump that says nothing of itself until the dead letters are known."""
        if len(self.holes) < MOST_HOLES:
            self.holes.append(jump)
        else:
            self.report_hole(jump, "more holes than can be compared with dead letters")

    def question(self, rewind: Rewind) -> None:
        """Keep a run of repeats until it is known who wrote it."""
        if len(self.rewinds) < MOST_REWINDS:
            self.rewinds.append(rewind)
        else:
            self.report_repeat(rewind, "there are more runs of repeats than rebuilt producers could explain")

    def question_break(self, broken: Break) -> None:
        """Keep a place where repeats break off until it is known who wrote them."""
        if len(self.breaks) < MOST_REWINDS:
            self.breaks.append(broken)
        else:
            self.report_break(broken)

    def report_hole(self, jump: Jump, why: str) -> None:
        """Report a jump, once."""
        if jump.missing and not jump.reported:
            jump.reported = True
            said = f"{jump}; {why}"
            self.findings.add(Finding(Kind.HOLE, jump.topic, jump.place, said, jump.symbol, jump.session_id))

    def report_repeat(self, rewind: Rewind, why: str) -> None:
        """Report a run of repeats."""
        self._report_repeat(rewind, f"{rewind.count or 1} repeated in a row, from seq {rewind.seq}; {why}")

    def report_break(self, broken: Break) -> None:
        """Report repeats that break off."""
        said = f"seq {broken.seq} is repeated, but not what came behind it: its producer goes on at {broken.goes_on_at}"
        self._report_repeat(broken, said)

    def _report_repeat(self, at: Rewind | Break, said: str) -> None:
        self.findings.add(Finding(Kind.REPEAT, at.topic, at.place, said, at.symbol, at.session_id))
