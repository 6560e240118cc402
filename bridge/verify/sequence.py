"""The order of each symbol's records on its partition: pure code, a record at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.kafka.partitioner import partition as partition_of
from bridge.topics import Topic
from bridge.verify.evidence import Break, Cause, Jump, Rewind
from bridge.verify.findings import Finding, Kind, Place

if TYPE_CHECKING:
    from bridge.verify.evidence import Evidence, Tally
    from bridge.verify.heads import Head

#: Where the newest replaces older ones under load, or on purpose: a jump needs no mark there.
CONFLATED: Final = frozenset({Topic.QUOTES, Topic.GREEKS})
#: A session begins when the frame that begins it was read already: its first records may be older than its id.
AHEAD_US: Final = 1_000_000
_NO_SESSION: Final = -(1 << 63) - 1


class Arrival(NamedTuple):
    """Carry a record that is not simply the next one."""

    offset: int
    symbol: bytes
    ingest_us: int
    session_id: int
    seq: int
    after_gap: bool


class Replay(NamedTuple):
    """Say how far the second copy of a stretch has come, as (session, seq), and what comes after the first copy."""

    at: tuple[int, int]
    offset: int
    expected: int


class Stream:
    """Remember what is needed of one symbol on one partition: few fields, as there may be 100,000 of them."""

    __slots__ = ("before", "expected", "gap", "misplaced", "replay", "run", "session_id", "tally")

    tally: Tally

    def __init__(self, *, misplaced: bool) -> None:
        self.session_id = _NO_SESSION
        #: The next ``seq``; None while records repeat, so that nothing passes for the next one.
        self.expected: int | None = 0
        self.misplaced = misplaced
        #: The session before, and what its next record would have been.
        self.before: tuple[int, int] | None = None
        self.gap: Jump | None = None
        self.replay: Replay | None = None
        self.run: Rewind | None = None

    @property
    def next_seq(self) -> int:
        """Return the first ``seq`` of the session that was not seen yet."""
        if self.replay is not None:
            return self.replay.expected
        assert self.expected is not None  # it is None during a replay only
        return self.expected


class Partition:
    """Check the records of one partition in the order of their offsets.

    ``known_from_us``: sessions that began later are in view from their first record (-inf: all, inf: those that
    began after the first record that will be seen). ``count`` is the topic's number of partitions.
    """

    def __init__(
        self, topic: Topic, name: str, number: int, count: int, evidence: Evidence, *, known_from_us: float = -math.inf
    ) -> None:
        self.topic = topic
        self.name = name
        self.number = number
        self.known_from_us = known_from_us
        self.records = self.repeats = self.jumps = 0
        #: Records that compaction has taken away.
        self.removed = 0
        self.sessions: set[int] = set()
        self._count = count
        self._evidence = evidence
        self._streams: dict[bytes, Stream] = {}
        self._run: Rewind | None = None

    @property
    def symbols(self) -> int:
        """Return how many symbols were seen."""
        return len(self._streams)

    def take(self, offset: int, timestamp_ms: int, key: bytes | None, head: Head) -> None:
        """Check one record."""
        symbol, ingest_us, session_id, seq, after_gap = head
        self.records += 1
        if timestamp_ms != ingest_us // 1000:
            self._report_time(Arrival(offset, *head), timestamp_ms)
        if key != symbol:
            self._report_key(Arrival(offset, *head), key)
            if self._place_of(symbol) != self.number:  # it went where its wrong key sent it: out of its order
                self._tally(Arrival(offset, *head)).found += 1
                return
        stream = self._streams.get(symbol)
        if stream is not None and seq == stream.expected and session_id == stream.session_id:
            stream.expected = seq + 1
            stream.tally.found += 1
        else:
            self._look_closer(stream, Arrival(offset, symbol, ingest_us, session_id, seq, after_gap))

    def forget(self) -> None:
        """Note that records were deleted before they could be read: what comes next cannot be compared."""
        self._streams = {}
        self.known_from_us = math.inf

    def nothing_before(self, time_us: int) -> None:
        """Note that no record was there until this time, if none was seen."""
        if self.known_from_us == math.inf:
            self.known_from_us = time_us

    # -- what is not simply the next record -----------------------------------------------------------------------

    def _look_closer(self, stream: Stream | None, came: Arrival) -> None:
        if stream is None:
            stream = self._begin(came)
        if came.session_id > stream.session_id:
            self._begin_session(stream, came)
        elif came.session_id == stream.session_id and came.seq >= stream.next_seq:
            self._go_on(stream, came)
        elif self._is_late(stream, came):
            self._note_late(stream, came)
        else:
            self._note_repeat(stream, came)

    def _begin(self, came: Arrival) -> Stream:
        if self.known_from_us == math.inf:
            self.known_from_us = max(came.ingest_us + AHEAD_US, came.session_id)
        place = self._place_of(came.symbol)
        stream = self._streams[came.symbol] = Stream(misplaced=place != self.number)
        if stream.misplaced:
            said = f"its key belongs to partition {place} of {self._count} (murmur2, as the Java client)"
            self._report(Kind.PARTITION, came, said + self._hint(came))
        return stream

    def _begin_session(self, stream: Stream, came: Arrival) -> None:
        if stream.session_id != _NO_SESSION:
            stream.before = stream.session_id, stream.next_seq
        self.sessions.add(came.session_id)
        stream.session_id, stream.expected = came.session_id, came.seq + 1
        stream.gap = stream.replay = None
        stream.tally = self._tally(came)
        stream.tally.found += 1
        if self._knows(came.session_id) and not stream.misplaced:
            self._check_first(stream, came)

    def _check_first(self, stream: Stream, came: Arrival) -> None:
        if self._is_compacted(came.symbol, came.seq or 1):
            return
        if came.seq > 0:
            self._jump(stream, came, 0)
        elif not came.after_gap:
            self._report(Kind.AFTER_GAP, came, "the first record of its session does not say after_gap")

    def _go_on(self, stream: Stream, came: Arrival) -> None:
        first = stream.next_seq
        if stream.replay is not None:
            self._note_break(stream.replay, came)
            stream.replay = None
        if came.seq > first and not self._is_compacted(came.symbol, came.seq - first):
            self._jump(stream, came, first)
        stream.expected = came.seq + 1
        stream.tally.found += 1

    def _jump(self, stream: Stream, came: Arrival, first: int) -> None:
        jump = Jump(
            self.topic,
            self._at(came),
            _text(came.symbol),
            came.session_id,
            first,
            came.seq - 1,
            came.ingest_us,
            self._cause(came, first),
        )
        stream.gap = jump
        if jump.cause is None:
            self._evidence.suspect(jump)
        else:
            self.jumps += 1
            stream.tally.note(jump)

    def _cause(self, came: Arrival, first: int) -> Cause | None:
        """Return what a jump says of itself; the first record of a session says after_gap, whatever was merged."""
        if self.topic not in CONFLATED:
            return Cause.DROP if came.after_gap else None
        if came.after_gap:
            return Cause.GAP if first else Cause.CONFLATION
        return Cause.CONFLATION if first else None

    # -- going back ------------------------------------------------------------------------------------------------

    def _is_late(self, stream: Stream, came: Arrival) -> bool:
        """Return whether this record, though older than the newest, was not seen before."""
        if came.session_id == stream.session_id:
            return stream.gap is not None and stream.gap.first <= came.seq <= stream.gap.last
        if stream.before is None:
            return self._knows(came.session_id)
        session_id, expected = stream.before
        return came.session_id > session_id or (came.session_id == session_id and came.seq >= expected)

    def _note_late(self, stream: Stream, came: Arrival) -> None:
        self._report(
            Kind.OVERTAKING,
            came,
            f"seq {came.seq} comes only now, after seq {stream.next_seq - 1} of session {stream.session_id}",
        )
        self._tally(came).found += 1
        if came.session_id != stream.session_id:
            stream.before = came.session_id, came.seq + 1
            return
        assert stream.gap is not None  # or it would not be late
        stream.gap.late += 1
        if stream.gap.cause is not None:
            stream.tally.take_back(stream.gap)

    def _note_repeat(self, stream: Stream, came: Arrival) -> None:
        """Follow a second copy: it must go on as the first did, up to its end."""
        self.repeats += 1
        at, expected, replay = (came.session_id, came.seq), stream.next_seq, stream.replay
        begins = replay is None or at <= replay.at
        if replay is not None and not begins and not self._may_follow(came, replay.at):
            self._note_break(replay, came)
        self._join_run(stream, came, begins=begins)
        done = at == (stream.session_id, expected - 1)
        stream.replay = None if done else Replay(at, came.offset, expected)
        stream.expected = expected if done else None

    def _may_follow(self, came: Arrival, at: tuple[int, int]) -> bool:
        """Return whether a record may follow another in a copy: by one, or with a jump like the first copy's."""
        return (came.session_id, came.seq) == (at[0], at[1] + 1) or came.after_gap or self.topic in CONFLATED

    def _note_break(self, replay: Replay, came: Arrival) -> None:
        """Note that a copy ended before the first one did: it is to be seen whether its producer went on."""
        session_id, seq = replay.at
        place = Place(self.name, self.number, replay.offset)
        broken = Break(self.topic, place, _text(came.symbol), session_id, seq, came.offset)
        self._evidence.question_break(broken)

    def _join_run(self, stream: Stream, came: Arrival, *, begins: bool) -> None:
        """Count a repeat to the run it stands in: where a symbol begins to repeat a second time, so does a run."""
        run = self._run
        if run is None or run.end != came.offset or (begins and stream.run is run):
            run = self._run = Rewind(
                self.topic, self._at(came), _text(came.symbol), came.session_id, came.seq, came.offset
            )
            self._evidence.question(run)
        run.count += 1
        run.end = came.offset + 1
        stream.run = run

    # -- facts -----------------------------------------------------------------------------------------------------

    def _knows(self, session_id: int) -> bool:
        return session_id > self.known_from_us

    def _is_compacted(self, symbol: bytes, missing: int) -> bool:  # noqa: ARG002 - see CompactedPartition
        return False

    def _place_of(self, key: bytes) -> int:
        return partition_of(key, self._count)

    def _hint(self, came: Arrival) -> str:
        fits = [count for count in range(1, self._count) if partition_of(came.symbol, count) == self.number]
        return f"; with {fits[-1]} partitions it would belong here: were some added?" if fits else ""

    def _tally(self, came: Arrival) -> Tally:
        return self._evidence.tally(came.session_id, self.topic, self._at(came))

    def _at(self, came: Arrival) -> Place:
        return Place(self.name, self.number, came.offset)

    def _report(self, kind: Kind, came: Arrival, said: str) -> None:
        finding = Finding(kind, self.topic, self._at(came), said, _text(came.symbol), came.session_id)
        self._evidence.findings.add(finding)

    def _report_time(self, came: Arrival, timestamp_ms: int) -> None:
        self._report(
            Kind.TIMESTAMP, came, f"its Kafka timestamp is {timestamp_ms}, its time of ingest {came.ingest_us // 1000}"
        )

    def _report_key(self, came: Arrival, key: bytes | None) -> None:
        self._report(Kind.KEY, came, f"its key is {'null' if key is None else repr(_text(key))}, not its symbol")


class CompactedPartition(Partition):
    """Check a partition of a topic that Kafka compacts: where offsets are missing, records were taken away."""

    def __init__(
        self,
        topic: Topic,
        name: str,
        number: int,
        count: int,
        evidence: Evidence,
        *,
        known_from_us: float = -math.inf,
        next_offset: int = 0,
    ) -> None:
        super().__init__(topic, name, number, count, evidence, known_from_us=known_from_us)
        self._next_offset = next_offset
        self._removed_before: dict[bytes, int] = {}

    def take(self, offset: int, timestamp_ms: int, key: bytes | None, head: Head) -> None:
        """Check one record."""
        self.removed += offset - self._next_offset
        self._next_offset = offset + 1
        super().take(offset, timestamp_ms, key, head)
        self._removed_before[head[0]] = self.removed

    def _is_compacted(self, symbol: bytes, missing: int) -> bool:
        return self.removed - self._removed_before.get(symbol, 0) >= missing


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")
