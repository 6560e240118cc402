"""The judge: what the partitions found, explained by accounts and dead letters, or not."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.kafka.partitioner import partition as partition_of
from bridge.topics import SUBSCRIBABLE, Topic
from bridge.verify.evidence import Cause, Evidence
from bridge.verify.findings import Finding, Kind, Place
from bridge.verify.lives import Lives
from bridge.verify.sequence import CONFLATED, CompactedPartition, Partition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.verify.evidence import Break, Jump, Rewind, Tally
    from bridge.verify.heads import Head
    from bridge.verify.lives import Life

#: Control stands on other partitions than data: a session may be new there for so long before it must be known.
SESSION_GRACE_US: Final = 30_000_000
#: A composite line holds a quote, a trade and greeks.
MOST_RECORDS_OF_A_LINE: Final = 3
#: The reason of dead letters whose ``raw`` is a record that Kafka refused.
REFUSED: Final = "record_refused"
_UNEXPLAINED: Final = "after_gap is false, and no dead letter holds what is missing"


class Scope(NamedTuple):
    """Say what is read: only one session, perhaps; control and dead letters only where their topics exist."""

    counts: Mapping[Topic, int]
    #: Whether all data topics that exist are read.
    all_data: bool = True
    session_id: int | None = None
    #: Whether every repeat is a finding, also one that a rebuilt producer explains.
    strict: bool = False


class Checker:
    """Take the records of all topics, and tell what is not as promised."""

    def __init__(self, names: Mapping[Topic, str], scope: Scope) -> None:
        self.evidence = Evidence()
        self.findings = self.evidence.findings
        self.lives = Lives(self.findings)
        self.partitions: list[Partition] = []
        #: Jumps for which the accounts to come must speak, counted in records.
        self.awaiting = 0
        #: Holes that dead letters explain.
        self.dead_lettered_holes: Counter[Topic] = Counter()
        self.letters = self.announcements = 0
        self._names = names
        self._scope = scope
        self._control_from_us = -math.inf
        self._letters_from_us = -math.inf
        self._refused: dict[tuple[Topic, bytes, int], set[int]] = {}
        self._letters_of: dict[int | None, int] = {}
        #: Lines of a known symbol that became dead letters instead of records, by session.
        self._lines_lost: Counter[int | None] = Counter()
        self._told_sessions: set[int] = set()
        self._check_counts()

    def partition(self, topic: Topic, number: int, *, known_from_us: float, next_offset: int = 0) -> Partition:
        """Return the check of one data partition; see ``Partition`` for ``known_from_us``."""
        place = topic, self._names[topic], number, self._scope.counts[topic], self.evidence
        partition = (
            CompactedPartition(*place, known_from_us=known_from_us, next_offset=next_offset)
            if topic is Topic.MARKET_STATUS
            else Partition(*place, known_from_us=known_from_us)
        )
        self.partitions.append(partition)
        return partition

    def cut(self, topic: Topic, from_us: float) -> None:
        """Note that control or dead letters are read only from some time on."""
        if topic is Topic.CONTROL:
            self._control_from_us = max(self._control_from_us, from_us)
        else:
            self._letters_from_us = max(self._letters_from_us, from_us)

    # -- what is no market data ------------------------------------------------------------------------------------

    def control(self, place: Place, timestamp_ms: int, key: bytes | None, record: Mapping[str, Any]) -> None:
        """Take a control record."""
        self.announcements += 1
        instance = record["instance"].encode()
        self._check_frame(Topic.CONTROL, place, key, timestamp_ms, due_key=instance, due_us=record["time_us"])
        self.lives.take(place, record)

    def dead_letter(
        self,
        place: Place,
        timestamp_ms: int,
        key: bytes | None,
        letter: Mapping[str, Any],
        refused: tuple[Topic, Head] | None = None,
    ) -> None:
        """Take a dead letter, with the record of ours that it holds, if it holds one."""
        self.letters += 1
        symbol = letter["symbol"]
        due = symbol.encode() if symbol else None
        self._check_frame(Topic.DLQ, place, key, timestamp_ms, due_key=due, due_us=letter["ingest_time_us"])
        session_id = letter["session_id"]
        self._letters_of[session_id] = self._letters_of.get(session_id, 0) + 1
        if refused is not None and letter["reason"] == REFUSED:
            self._note_refused(*refused, place)
        elif symbol:
            self._lines_lost[session_id] += 1

    def undecodable(self, topic: Topic, place: Place, why: str) -> None:
        """Note a record that cannot be read, or is none of its topic's."""
        self.findings.add(Finding(Kind.UNDECODABLE, topic, place, why))

    def _note_refused(self, topic: Topic, head: Head, place: Place) -> None:
        symbol, _, session_id, seq, _ = head
        seqs = self._refused.setdefault((topic, symbol, session_id), set())
        if seq not in seqs:
            self.evidence.tally(session_id, topic, place).refused += 1
        seqs.add(seq)

    def _check_frame(
        self, topic: Topic, place: Place, key: bytes | None, timestamp_ms: int, *, due_key: bytes | None, due_us: int
    ) -> None:
        if key != due_key:
            self.findings.add(Finding(Kind.KEY, topic, place, f"its key is {key!r}, not {due_key!r}"))
        if timestamp_ms != due_us // 1000:
            said = f"its Kafka timestamp is {timestamp_ms}, its own time {due_us // 1000}"
            self.findings.add(Finding(Kind.TIMESTAMP, topic, place, said))
        count = self._scope.counts[topic]
        belongs = 0 if key is None else partition_of(key, count)
        if place.partition != belongs:
            said = f"its key belongs to partition {belongs} of {count}"
            self.findings.add(Finding(Kind.PARTITION, topic, place, said))

    def _check_counts(self) -> None:
        counts = {self._names[topic]: count for topic, count in self._scope.counts.items() if topic in SUBSCRIBABLE}
        if len(set(counts.values())) > 1:
            topic = next(topic for topic in self._scope.counts if topic in SUBSCRIBABLE)
            listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
            said = f"the data topics must have equal partition counts, or consumers cannot join them: {listed}"
            self.findings.add(Finding(Kind.PARTITION_COUNTS, topic, None, said))

    # -- repeats ---------------------------------------------------------------------------------------------------

    # Producers are named by id (-1: not idempotent; None: their batch is gone by now). While a producer lives it
    # repeats nothing (KIP-98); one that was rebuilt has a new id.

    def take_rewinds(self) -> list[Rewind]:
        """Return the runs of repeats that are to be judged."""
        rewinds, self.evidence.rewinds = self.evidence.rewinds, []
        return rewinds

    def take_breaks(self) -> list[Break]:
        """Return the places where repeats break off that are to be judged."""
        breaks, self.evidence.breaks = self.evidence.breaks, []
        return breaks

    def judge_rewind(self, rewind: Rewind, before: int | None, first: int | None, last: int | None) -> None:
        """Judge a run of repeats by the producers of the batch before it, of its first and of its last."""
        if self._scope.strict:
            self.evidence.report_repeat(rewind, "no repeat is allowed (--strict)")
        elif before is None or first is None or last is None:
            return
        elif min(first, last) < 0:
            self.evidence.report_repeat(rewind, "the producer that wrote them is not idempotent, so none of ours")
        elif before in {first, last}:
            why = f"the same producer ({before}) wrote them as what is before: none was rebuilt"
            self.evidence.report_repeat(rewind, why)

    def judge_break(self, broken: Break, last: int | None, behind: int | None) -> None:
        """Judge repeats that break off by the producers of the last of them and of what the symbol goes on with.

        The last batch of a producer given up may arrive late and repeat a part alone. Who goes on, repeats all.
        """
        if last is not None and last == behind:
            self.evidence.report_break(broken)

    # -- the verdict -----------------------------------------------------------------------------------------------

    def settle(self, now_us: int, *, final: bool = True) -> None:
        """Judge what is known by now; ``final``: nothing more will come that could explain it."""
        self.awaiting = 0
        self._settle_holes(final=final)
        if Topic.CONTROL in self._scope.counts:
            self._settle_sessions(now_us)
        strangers = [tally for tally in self.evidence.tallies.values() if not self.lives.of_session(tally.session_id)]
        self._settle_strangers(strangers, now_us, final=final)
        for life in self.lives.lives:
            self._settle_life(life, final=final)

    def _settle_holes(self, *, final: bool) -> None:
        open_holes = []
        for hole in self.evidence.holes:
            if self._is_dead_lettered(hole):
                self.dead_lettered_holes[hole.topic] += 1
            elif final:
                self.evidence.report_hole(hole, _UNEXPLAINED)
            else:
                open_holes.append(hole)
        self.evidence.holes = open_holes

    def _is_dead_lettered(self, hole: Jump) -> bool:
        refused = self._refused.get((hole.topic, hole.symbol.encode(), hole.session_id), ())
        return sum(hole.first <= seq <= hole.last for seq in refused) >= hole.missing > 0

    def _settle_sessions(self, now_us: int) -> None:
        for tally in self.evidence.tallies.values():
            session_id = tally.session_id
            is_due = not now_us - SESSION_GRACE_US < session_id < now_us + SESSION_GRACE_US
            if self.lives.of_session(session_id) or not is_due or session_id <= self._control_from_us:
                continue
            if session_id not in self._told_sessions:
                self._told_sessions.add(session_id)
                said = "control knows nothing of the session that this record says it is of"
                self.findings.add(Finding(Kind.SESSION, tally.topic, tally.place, said, session_id=session_id))

    def _settle_strangers(self, tallies: Iterable[Tally], now_us: int, *, final: bool) -> None:
        """Judge sessions that control does not know (yet, or any more)."""
        for tally in tallies:
            may_be_known = self._control_from_us < tally.session_id <= now_us - SESSION_GRACE_US
            if not (final and (may_be_known or Topic.CONTROL not in self._scope.counts)):
                self.awaiting += tally.later
            elif tally.conflated.later:
                self._report_jumps([tally], math.inf, "control does not tell of anything conflated in this session")

    def _settle_life(self, life: Life, *, final: bool) -> None:
        tallies = [tally for session in life.sessions if (tally := self.evidence.tallies.get(session))]
        said_us = math.inf if life.complete else life.time_us
        conflated = sum(tally.conflated.until(said_us) for tally in tallies)
        dropped = sum(tally.dropped.until(said_us) for tally in tallies)
        skipped = sum(tally.skipped.until(said_us) for tally in tallies)
        self._compare_losses(life, tallies, conflated + skipped, dropped)
        later = sum(tally.conflated.later for tally in tallies)
        if later and final and not self.lives.conflates(life.instance):
            why = f"{life.name} has never told of anything conflated; if it still runs, ask again in a minute"
            self._report_jumps(tallies, math.inf, why)
        else:
            self.awaiting += sum(tally.later for tally in tallies)
        if self._is_in_view(life):
            self._compare_published(life, sum(tally.found for tally in tallies))
        if life.whole and life.sessions[0] > self._letters_from_us and Topic.DLQ in self._scope.counts:
            self._compare_letters(life)

    def _compare_losses(self, life: Life, tallies: list[Tally], conflated: int, dropped: int) -> None:
        counted_drops = life.counts.get("dropped", 0)
        lettered = self._records_dead_lettered(life) + sum(tally.refused for tally in tallies)
        if dropped > counted_drops + lettered:
            jumps = [jump for tally in tallies for jump in tally.jumps if jump.topic not in CONFLATED]
            self._tell(life, "dropped", _over("after_gap", dropped, "dropped", counted_drops, jumps))
        counted = life.counts.get("conflated", 0)
        spare = max(0, counted_drops + lettered - dropped)
        if conflated <= counted + spare:
            return
        if not counted:
            said_us = math.inf if life.complete else life.time_us
            self._report_jumps(tallies, said_us, f"the accounts of {life.name} count nothing conflated")
        else:
            jumps = [jump for tally in tallies for jump in tally.jumps if jump.topic in CONFLATED]
            self._tell(life, "conflated", _over("quotes and greeks", conflated, "conflated", counted, jumps))

    def _records_dead_lettered(self, life: Life) -> int:
        """Return how many records at most were never made, as their lines became dead letters."""
        if Topic.DLQ in self._scope.counts and self._letters_from_us < life.sessions[0]:
            lines = sum(self._lines_lost[session] for session in life.sessions)
        else:
            lines = life.counts.get("dead_lettered", 0)
        return lines * MOST_RECORDS_OF_A_LINE

    def _report_jumps(self, tallies: Iterable[Tally], until_us: float, why: str) -> None:
        for tally in tallies:
            for jump in tally.jumps:
                if jump.cause is Cause.CONFLATION and jump.ingest_us < until_us and not self._is_dead_lettered(jump):
                    self.evidence.report_hole(jump, why)

    def _compare_published(self, life: Life, found: int) -> None:
        published = life.counts.get("published", 0)
        removed = sum(partition.removed for partition in self.partitions)
        if found + removed < published:
            said = f"{published} records were published until then, and the topics hold {found} of its sessions"
            self._tell(life, "published", said)
        elif life.complete and not life.counts.get("pending") and found > published:
            said = f"{published} records were published in all, but the topics hold {found} of its sessions"
            self._tell(life, "published", said)

    def _compare_letters(self, life: Life) -> None:
        written = life.counts.get("dead_lettered", 0)
        found = sum(self._letters_of.get(session, 0) for session in (*life.sessions, None))
        if found < written:
            said = f"{written} lines were dead-lettered until then, and {self._names[Topic.DLQ]} holds {found} of them"
            self._tell(life, "dead_lettered", said)

    def _is_in_view(self, life: Life) -> bool:
        """Return whether all that this process published is read."""
        if not (life.whole and self._scope.all_data):
            return False
        if self._scope.session_id is not None and life.sessions != [self._scope.session_id]:
            return False
        known_from_us = max((partition.known_from_us for partition in self.partitions), default=-math.inf)
        return life.sessions[0] > known_from_us

    def _tell(self, life: Life, what: str, said: str) -> None:
        """Report something about a life's accounts, once; its place is where these accounts stand."""
        if what not in life.told:
            life.told.add(what)
            said = f"{life.name}: {said}"
            self.findings.add(Finding(Kind.ACCOUNTS, Topic.CONTROL, life.place, said, session_id=life.sessions[-1]))


def _over(where: str, missing: int, account: str, counted: int, jumps: list[Jump]) -> str:
    said = f"jumps on {where} leave out {missing} records until then, but its account of {account} is {counted}"
    if jumps:
        said += f"; first jump: {jumps[0].place} symbol {jumps[0].symbol!r}, {jumps[0]}"
    return said
