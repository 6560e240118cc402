"""The order of a partition: what a checker with little memory finds is what one that remembers everything finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.kafka.partitioner import partition as partition_of
from bridge.topics import Topic
from bridge.verify.checker import Checker, Scope
from bridge.verify.findings import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

SESSION = 1_701_450_000_000_000
NOW_US = SESSION + 3_600_000_000
SYMBOLS = (b"AAPL", b"MSFT")
NAMES = {topic: f"aries.{topic}" for topic in Topic}
FOREIGN = -1


@dataclass(frozen=True)
class Entry:
    """Hold one record of a log, with the id of the producer that brought it."""

    symbol: bytes
    session: int
    seq: int
    after_gap: bool
    producer: int

    @property
    def place(self) -> tuple[bytes, int, int]:
        return self.symbol, self.session, self.seq


def entry(seq: int, *, session: int = 1, after_gap: bool = False, symbol: bytes = b"AAPL", producer: int = 7) -> Entry:
    return Entry(symbol, session, seq, after_gap or seq == 0, producer)


def head_of(one: Entry, offset: int) -> tuple[bytes, int, int, int, bool]:
    return one.symbol, SESSION + offset * 1000, SESSION + one.session, one.seq, one.after_gap


def check(log: list[Entry], topic: Topic = Topic.TRADES, *, strict: bool = False) -> Checker:
    """Return a checker that has read the log and knows who wrote it."""
    checker = Checker(NAMES, Scope({topic: 1}, strict=strict))
    partition = checker.partition(topic, 0, known_from_us=float("-inf"))
    for offset, one in enumerate(log):
        head = head_of(one, offset)
        partition.take(offset, head[1] // 1000, one.symbol, head)
    for rewind in checker.take_rewinds():
        before, first, last = (
            log[at].producer for at in (rewind.place.offset - 1, rewind.place.offset, rewind.end - 1)
        )
        checker.judge_rewind(rewind, before, first, last)
    for broken in checker.take_breaks():
        checker.judge_break(broken, log[broken.place.offset].producer, log[broken.goes_on_at].producer)
    checker.settle(NOW_US)
    return checker


def kinds(checker: Checker) -> set[Kind]:
    return {kind for _, kind in checker.findings.counts}


# -- the judge that remembers everything -----------------------------------------------------------------------------


def remembered_kinds(log: list[Entry]) -> set[Kind]:
    """Return what is wrong with a log of a topic that does not conflate, by all that was ever in it."""
    found: set[Kind] = set()
    seen: dict[tuple[bytes, int, int], Entry] = {}
    for one in log:
        earlier = [other for other in seen.values() if other.symbol == one.symbol]
        newest = max(((other.session, other.seq) for other in earlier), default=(0, -1))
        if one.place in seen:
            if one.producer == FOREIGN or one.producer == seen[one.place].producer:
                found.add(Kind.REPEAT)
        elif (one.session, one.seq) < newest:
            found.add(Kind.OVERTAKING)
        else:
            expected = newest[1] + 1 if one.session == newest[0] else 0
            missing = {(one.symbol, one.session, seq) for seq in range(expected, one.seq)}
            if not one.after_gap and not missing <= {other.place for other in log}:
                found.add(Kind.HOLE)
            elif not one.after_gap and one.session != newest[0] and not missing:
                found.add(Kind.AFTER_GAP)
        seen[one.place] = one
    return found


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """Draw what a bridge writes: sessions, drops, batches, those that a rebuilt producer sends again, late ones."""
    batches: list[list[Entry]] = []
    late: list[Entry] = []
    next_seq: dict[bytes, int] = {}
    dropped: set[bytes] = set()
    session, producer = 1, 1
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.integers(0, 5)) == 0:
            session, next_seq, dropped = session + 1, {}, set()
        batch = []
        for symbol in draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=6)):
            seq = next_seq.get(symbol, 0)
            next_seq[symbol] = seq + 1
            if draw(st.integers(0, 7)) == 0:
                dropped.add(symbol)
                continue
            batch.append(Entry(symbol, session, seq, seq == 0 or symbol in dropped, producer))
            dropped.discard(symbol)
        if batch and draw(st.integers(0, 7)) == 0:  # it did not arrive in time: its producer was given up
            late, producer = batch, producer + 1
            batch = [replace(one, producer=producer) for one in batch]
        batches.append(batch)
        arrives = draw(st.booleans())
        if late and arrives:
            batches.append(late)
            late, producer = [], producer + 1
        for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
            producer += 1
            again = batch[: draw(st.integers(1, len(batch)))] if batch else []
            batches.append([replace(one, producer=producer) for one in again])
            if len(again) < len(batch):
                rest = batch[len(again) :]
                batches.append([replace(one, producer=producer) for one in rest])
    return [one for batch in batches for one in batch]


@settings(max_examples=150)
@given(log=logs())
def test_whatever_a_bridge_writes_passes(log: list[Entry]) -> None:
    """Sessions, drops and batches sent again leave no finding, and each record counts once."""
    checker = check(log)

    assert checker.findings.kept == []
    unique = {one.place for one in log}
    assert sum(tally.found for tally in checker.evidence.tallies.values()) == len(unique)
    assert checker.partitions[0].repeats == len(log) - len(unique)


def cut(log: list[Entry], at: int) -> list[Entry]:
    place = log[at].place
    return [one for one in log if one.place != place]


def swapped(log: list[Entry], at: int) -> list[Entry]:
    symbol = log[at].symbol
    other = next((offset for offset in range(at + 1, len(log)) if log[offset].symbol == symbol), None)
    if other is None:
        return log
    moved = list(log)
    moved[at], moved[other] = log[other], log[at]
    return moved


def repeated(log: list[Entry], at: int) -> list[Entry]:
    return [*log, replace(log[at], producer=FOREIGN)]


@settings(max_examples=300)
@given(log=logs(), at=st.integers(0, 1000), damage=st.sampled_from((cut, swapped, repeated)))
def test_damage_is_found_just_as_by_who_remembers_everything(
    log: list[Entry], at: int, damage: Callable[[list[Entry], int], list[Entry]]
) -> None:
    """One record cut out, swapped or repeated is found if it can be known at all, and nothing else is."""
    if len({one.place for one in log}) < len(log) and damage is not repeated:
        log = [one for offset, one in enumerate(log) if one.place not in {other.place for other in log[:offset]}]
    if not log:
        return
    damaged = damage(log, at % len(log))

    assert bool(kinds(check(damaged))) == bool(remembered_kinds(damaged))


@pytest.mark.parametrize(
    ("seqs", "expected"),
    [
        ([0, 1, 2, 3], set()),
        ([0, 1, 3], {Kind.HOLE}),
        ([1, 2], {Kind.HOLE}),
        ([0, 2, 1, 3], {Kind.OVERTAKING}),
        ([0, 1, 1, 2], {Kind.REPEAT}),
        ([0, 1, 2, 3, 1, 4], {Kind.REPEAT}),
    ],
)
def test_each_damage_has_its_name(seqs: list[int], expected: set[Kind]) -> None:
    """What is missing, late or there twice is told apart, by itself and by the judge."""
    log = [entry(seq) for seq in seqs]

    assert kinds(check(log)) == remembered_kinds(log) == expected


def test_a_hole_is_told_with_its_place() -> None:
    """A finding names topic, partition, offset, symbol and session, and what is missing."""
    checker = check([entry(0), entry(1), entry(5)])

    (finding,) = checker.findings.kept
    assert str(finding).startswith(
        f"hole: aries.trades partition 0 offset 2, symbol 'AAPL', session {SESSION + 1}: "
        "seq 5 comes after 1: 3 records are missing (seq 2 to 4); "
    )


def test_a_session_that_does_not_begin_after_a_gap_is_found() -> None:
    """The first record of a symbol in a session must say that it is one."""
    log = [entry(0), entry(1), replace(entry(0, session=2), after_gap=False)]

    assert kinds(check(log)) == {Kind.AFTER_GAP}


def test_a_session_that_comes_back_is_found() -> None:
    """Two bridges that write the same symbol at the same time break its order."""
    log = [entry(0), entry(0, session=2), entry(1), entry(1, session=2), entry(2)]

    assert kinds(check(log)) == {Kind.OVERTAKING}


@pytest.mark.parametrize(
    ("first_producer", "second_producer", "passes"),
    [(1, 2, True), (1, 1, False), (1, FOREIGN, False), (FOREIGN, FOREIGN, False)],
)
def test_repeats_need_another_producer(first_producer: int, second_producer: int, *, passes: bool) -> None:
    """What came again is explained by a rebuilt producer, which has another id; nothing else repeats."""
    log = [replace(entry(seq), producer=first_producer) for seq in (0, 1)]
    log += [replace(entry(seq), producer=second_producer) for seq in (0, 1, 2)]

    assert kinds(check(log)) == (set() if passes else {Kind.REPEAT})
    assert kinds(check(log, strict=True)) == {Kind.REPEAT}


def test_repeats_by_a_stranger_behind_others_are_found() -> None:
    """All of a run of repeats is by rebuilt producers."""
    log = [entry(0), entry(1), replace(entry(0), producer=8), replace(entry(1), producer=FOREIGN)]

    assert kinds(check(log)) == {Kind.REPEAT}


def test_a_producer_that_leaves_out_the_rest_of_its_repeats_is_found() -> None:
    """A batch that arrives late stands alone; who repeats and goes on repeats all there was."""
    first = [replace(entry(seq), producer=1) for seq in range(5)]
    repeats = [replace(entry(seq), producer=2) for seq in (1, 2)]

    assert "not what came behind it" in check([*first, *repeats, replace(entry(5), producer=2)]).findings.kept[0].said
    assert check([*first, *repeats, replace(entry(5), producer=1)]).findings.kept == []


def test_a_copy_with_a_hole_is_found() -> None:
    """A batch that is sent again holds all it held before."""
    log = [entry(seq) for seq in range(5)]
    log += [replace(entry(seq), producer=8) for seq in (1, 3, 4)]

    (finding,) = check(log).findings.kept
    assert finding.said == "seq 1 is repeated, but not what came behind it: its producer goes on at 6"


def test_a_beginning_that_is_gone_is_no_hole() -> None:
    """Where retention has deleted the beginning, sessions count from where they are seen; later ones from 0."""
    checker = Checker(NAMES, Scope({Topic.TRADES: 1}))
    partition = checker.partition(Topic.TRADES, 0, known_from_us=float("inf"), next_offset=500)
    for offset, one in enumerate([entry(40), entry(41), replace(entry(3, session=2_000_000), after_gap=False)]):
        head = head_of(one, offset + 80)
        partition.take(offset + 500, head[1] // 1000, one.symbol, head)
    checker.settle(NOW_US)

    assert [finding.place.offset for finding in checker.findings.kept if finding.place] == [502]


def test_records_deleted_while_they_are_read_are_no_hole() -> None:
    """What retention takes away before it was read cannot be compared."""
    checker = Checker(NAMES, Scope({Topic.TRADES: 1}))
    partition = checker.partition(Topic.TRADES, 0, known_from_us=float("-inf"))
    for offset, one in ((0, entry(0)), (1, entry(1)), (50, entry(50)), (51, entry(51))):
        if offset == 50:
            partition.forget()
        head = head_of(one, offset)
        partition.take(offset, head[1] // 1000, one.symbol, head)
    checker.settle(NOW_US)

    assert checker.findings.kept == []


@pytest.mark.parametrize(("offsets", "passes"), [((0, 4), True), ((0, 3), False)])
def test_compaction_explains_what_it_takes_away(offsets: tuple[int, int], *, passes: bool) -> None:
    """Market status is compacted: seq may jump by as many records as offsets are missing."""
    checker = Checker(NAMES, Scope({Topic.MARKET_STATUS: 1}))
    partition = checker.partition(Topic.MARKET_STATUS, 0, known_from_us=float("-inf"))
    for offset, one in zip(offsets, (entry(0, symbol=b"market"), entry(4, symbol=b"market")), strict=True):
        head = head_of(one, offset)
        partition.take(offset, head[1] // 1000, one.symbol, head)
    checker.settle(NOW_US)

    assert kinds(checker) == (set() if passes else {Kind.HOLE})


class TestEachRecord:
    def take(self, count: int, number: int, **more: object) -> Checker:
        """Return a checker that has read one first record."""
        checker = Checker(NAMES, Scope({Topic.TRADES: count}))
        head = head_of(entry(0), 0)
        frame = {"timestamp_ms": head[1] // 1000, "key": head[0], **more}
        checker.partition(Topic.TRADES, number, known_from_us=float("-inf")).take(9, head=head, **frame)  # type: ignore[arg-type]
        return checker

    def test_key(self) -> None:
        """A key that is not the symbol is found."""
        (finding,) = self.take(1, 0, key=b"APPL").findings.kept
        assert (finding.kind, finding.said) == (Kind.KEY, "its key is 'APPL', not its symbol")
        assert kinds(self.take(1, 0, key=None)) == {Kind.KEY}

    def test_partition(self) -> None:
        """A record on another partition than the Java client's is found, with the count that would explain it."""
        right = partition_of(b"AAPL", 8)
        assert kinds(self.take(8, right)) == set()
        wrong = (right + 1) % 8
        (finding,) = self.take(8, wrong).findings.kept
        assert finding.kind == Kind.PARTITION
        assert f"belongs to partition {right} of 8" in finding.said
        was_four = next(key for key in (b"A", b"B", b"C", b"D", b"E") if partition_of(key, 8) >= 4)
        checker = Checker(NAMES, Scope({Topic.TRADES: 8}))
        partition = checker.partition(Topic.TRADES, partition_of(was_four, 4), known_from_us=float("-inf"))
        head = head_of(entry(0, symbol=was_four), 0)
        partition.take(0, head[1] // 1000, was_four, head)
        assert "partitions it would belong here" in checker.findings.kept[0].said

    def test_timestamp(self) -> None:
        """A Kafka timestamp that is not the time of ingest is found."""
        assert kinds(self.take(1, 0, timestamp_ms=5)) == {Kind.TIMESTAMP}
