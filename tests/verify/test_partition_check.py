"""The check of a partition finds what a reference check that keeps every record finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.kafka.partitioner import partition as partition_of
from bridge.pipeline.accounts import Accounts
from bridge.topics import Topic
from bridge.verify import partition_check
from bridge.verify.checker import Checker, Scope
from bridge.verify.violations import Place, ViolationKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.verify.partition_check import PartitionCheck

SESSION = 1_701_450_000_000_000
NOW_US = SESSION + 3_600_000_000
SYMBOLS = (b"AAPL", b"MSFT")
NAMES = {topic: f"aries.{topic}" for topic in Topic}


@dataclass(frozen=True)
class Entry:
    """One record of a log."""

    symbol: bytes
    session: int
    seq: int
    after_gap: bool
    price: str = "1.5"

    @property
    def place(self) -> tuple[bytes, int, int]:
        return self.symbol, self.session, self.seq


def entry(seq: int, *, session: int = 1, after_gap: bool = False, symbol: bytes = b"AAPL") -> Entry:
    return Entry(symbol, session, seq, after_gap or seq == 0)


def header_of(one: Entry, offset: int) -> tuple[bytes, int, int, int, bool]:
    return one.symbol, SESSION + offset * 1000, SESSION + one.session, one.seq, one.after_gap


def take(partition: PartitionCheck, one: Entry, offset: int) -> None:
    header = header_of(one, offset)
    partition.check(offset, header[1] // 1000, one.symbol, repr(one).encode(), header)


def check(log: list[Entry], topic: Topic = Topic.TRADES, *, replaced: bool = False, strict: bool = False) -> Checker:
    """Return a checker that has read the log; ``replaced``: control announces that the producer was replaced."""
    counts = {topic: 1, Topic.CONTROL: 1} if replaced else {topic: 1}
    checker = Checker(NAMES, Scope(counts, strict=strict))
    partition = checker.partition(topic, 0)
    for offset, one in enumerate(log):
        take(partition, one, offset)
    for session in {one.session for one in log} if replaced else ():
        announce_replaced_producer(checker, session)
    checker.settle(NOW_US)
    return checker


def announce_replaced_producer(checker: Checker, session: int) -> None:
    record = {
        "kind": "HEARTBEAT",
        "instance": "b",
        "shard": 0,
        "session_id": SESSION + session,
        "time_us": NOW_US,
        "reason": "producer replaced 2 times",
        "counts": Accounts().totals() | {"lines_received": 1000, "dropped": 1000},
    }
    checker.control(Place("aries.control", 0, session), record)


def kinds(checker: Checker) -> set[ViolationKind]:
    return {kind for _, kind in checker.violations.counts}


# -- the reference check, which keeps every record -------------------------------------------------------------------


def reference_kinds(log: list[Entry]) -> set[ViolationKind]:
    """Return what is wrong with a log of a topic that does not conflate, from all its records."""
    found: set[ViolationKind] = set()
    seen: set[tuple[bytes, int, int]] = set()
    for one in log:
        earlier = [(session, seq) for symbol, session, seq in seen if symbol == one.symbol]
        newest = max(earlier, default=(0, -1))
        if one.place in seen:
            found.add(ViolationKind.REPEAT)
        elif (one.session, one.seq) < newest:
            is_overlap = one.session != newest[0]
            found.add(ViolationKind.OVERLAP if is_overlap else ViolationKind.OUT_OF_ORDER)
        else:
            expected = newest[1] + 1 if one.session == newest[0] else 0
            missing = {(one.symbol, one.session, seq) for seq in range(expected, one.seq)}
            if not one.after_gap and not missing <= {other.place for other in log}:
                found.add(ViolationKind.HOLE)
            elif not one.after_gap and one.session != newest[0] and not missing:
                found.add(ViolationKind.AFTER_GAP)
        seen.add(one.place)
    return found


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """Draw what a bridge writes: sessions, drops, batches, those that a new producer sends again, late ones."""
    batches: list[list[Entry]] = []
    late: list[Entry] = []
    next_seq: dict[bytes, int] = {}
    dropped: set[bytes] = set()
    session = 1
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
            batch.append(Entry(symbol, session, seq, seq == 0 or symbol in dropped))
            dropped.discard(symbol)
        if batch and draw(st.integers(0, 7)) == 0:  # it did not arrive in time: its producer was replaced
            late = batch
        batches.append(batch)
        arrives = draw(st.booleans())
        if late and arrives:
            batches.append(late)
            late = []
            continue
        for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
            batches += [batch[: draw(st.integers(1, len(batch)))] if batch else [], batch]
    return [one for batch in batches for one in batch]


@settings(max_examples=150)
@given(log=logs())
def test_whatever_a_bridge_writes_passes(log: list[Entry]) -> None:
    """Sessions, drops and batches sent again by a new producer are no violation, and each record counts once."""
    checker = check(log, replaced=True)

    assert checker.violations.kept == []
    unique = {one.place for one in log}
    assert sum(statistics.found for statistics in checker.observations.sessions.values()) == len(unique)
    assert checker.partitions[0].repeats == len(log) - len(unique)


def cut(log: list[Entry], at: int) -> list[Entry]:
    return [one for one in log if one != log[at]]


def swapped(log: list[Entry], at: int) -> list[Entry]:
    symbol = log[at].symbol
    other = next((offset for offset in range(at + 1, len(log)) if log[offset].symbol == symbol), None)
    if other is None:
        return log
    moved = list(log)
    moved[at], moved[other] = log[other], log[at]
    return moved


def repeated(log: list[Entry], at: int) -> list[Entry]:
    return [*log, log[at]]


@settings(max_examples=300)
@given(log=logs(), at=st.integers(0, 1000), damage=st.sampled_from((cut, swapped, repeated)))
def test_damage_is_found_just_as_by_the_reference(
    log: list[Entry], at: int, damage: Callable[[list[Entry], int], list[Entry]]
) -> None:
    """One record cut out, swapped or repeated is found if it can be known at all, and nothing else is."""
    log = list(dict.fromkeys(log))
    if not log:
        return
    damaged = damage(log, at % len(log))

    assert bool(kinds(check(damaged))) == bool(reference_kinds(damaged))


@pytest.mark.parametrize(
    ("seqs", "expected"),
    [
        ([0, 1, 2, 3], set()),
        ([0, 1, 3], {ViolationKind.HOLE}),
        ([1, 2], {ViolationKind.HOLE}),
        ([0, 2, 1, 3], {ViolationKind.OUT_OF_ORDER}),
        ([0, 1, 1, 2], {ViolationKind.REPEAT}),
        ([0, 1, 2, 3, 1, 4], {ViolationKind.REPEAT}),
    ],
)
def test_each_damage_has_its_name(seqs: list[int], expected: set[ViolationKind]) -> None:
    """Missing, late and repeated records are distinguished, as by the reference."""
    log = [entry(seq) for seq in seqs]

    assert kinds(check(log)) == reference_kinds(log) == expected


def test_a_hole_is_reported_with_its_place() -> None:
    """A violation names topic, partition, offset, symbol and session, and what is missing."""
    checker = check([entry(0), entry(1), entry(5)])

    (violation,) = checker.violations.kept
    assert str(violation).startswith(
        f"hole: aries.trades partition 0 offset 2, symbol 'AAPL', session {SESSION + 1}: "
        "seq 5 comes after 1: 3 records are missing (seq 2 to 4); "
    )


def test_a_session_that_does_not_begin_after_a_gap_is_found() -> None:
    """The first record of a symbol in a session must have ``after_gap``."""
    log = [entry(0), entry(1), replace(entry(0, session=2), after_gap=False)]

    assert kinds(check(log)) == {ViolationKind.AFTER_GAP}


def test_a_session_that_comes_back_is_found() -> None:
    """Two bridges that write the same symbol at the same time break its order."""
    log = [entry(0), entry(0, session=2), entry(1), entry(1, session=2), entry(2)]

    assert kinds(check(log)) == {ViolationKind.OVERLAP}


def test_two_bridges_at_once_are_one_finding() -> None:
    """However many records and symbols overlap, one finding has the sessions, the time, and the first symbols."""
    symbols = [b"S%d" % number for number in range(8)]
    log = [Entry(symbol, session, seq, seq == 0) for seq in range(20) for session in (1, 2) for symbol in symbols]

    [found] = check(log).violations.kept

    assert f"session {SESSION + 1} of an unknown bridge and session {SESSION + 2} of an unknown bridge" in found.message
    assert "152 records come after newer ones, of 8 symbols (S0, S1, S2, S3, S4, ...)" in found.message
    assert "2023-12-01T17:00:00.016Z to 2023-12-01T17:00:00.311Z (0.3 s)" in found.message


def test_an_overlap_is_reported_when_it_has_ended() -> None:
    """While it is followed, an overlap that grows is not reported yet; one that begins again is another finding."""
    checker = Checker(NAMES, Scope({Topic.TRADES: 1}))
    partition = checker.partition(Topic.TRADES, 0)
    log = [entry(0), entry(0, session=2), entry(1), entry(2), entry(3)]
    for offset, one in enumerate(log):
        take(partition, one, offset)
        checker.settle(NOW_US, final=False)
        assert not checker.violations.kept
    for _ in range(2):
        checker.settle(NOW_US, final=False)
        assert len(checker.violations) == 1
    take(partition, entry(4), len(log))
    checker.settle(NOW_US)
    assert len(checker.violations) == 2


@pytest.mark.parametrize("again", [(0, 1), (1,), (0,)])
def test_repeats_need_a_replaced_producer(again: tuple[int, ...]) -> None:
    """Records come again only after a producer was replaced, as control announces."""
    log = [entry(seq) for seq in (0, 1, *again, 2)]

    assert check(log, replaced=True).violations.kept == []
    assert kinds(check(log)) == {ViolationKind.REPEAT}
    assert kinds(check(log, replaced=True, strict=True)) == {ViolationKind.REPEAT}


def test_repeats_that_are_not_announced_are_found_with_their_place() -> None:
    """A run of repeats is one violation, at its first record."""
    (violation,) = check([entry(seq) for seq in (0, 1, 2, 1, 2, 3)]).violations.kept

    assert (
        violation.message == "2 records come again, from seq 1 on; and no control record announces a replaced producer"
    )
    assert violation.place is not None
    assert violation.place.offset == 3


def test_a_repeat_with_other_content_is_found() -> None:
    """A new producer sends the same bytes again."""
    log = [entry(0), entry(1), replace(entry(1), price="1.6"), entry(2)]

    (violation,) = check(log, replaced=True).violations.kept
    assert violation.message == "seq 1 comes again, with other content"


def test_a_batch_that_arrives_late_stands_alone() -> None:
    """The last batch of a replaced producer may repeat a stretch behind what the new one has sent since."""
    assert check([entry(seq) for seq in (0, 1, 2, 3, 4, 1, 2, 5)], replaced=True).violations.kept == []


def test_a_copy_with_a_hole_is_found() -> None:
    """A batch that is sent again holds all it held before."""
    (violation,) = check([entry(seq) for seq in (0, 1, 2, 3, 4, 1, 3, 4)], replaced=True).violations.kept

    assert violation.message == "seq 3 comes again behind other repeats, but not all that came before it"


def test_a_copy_in_another_order_is_found() -> None:
    """What is sent again comes in its order."""
    log = [entry(0), entry(0, symbol=b"MSFT"), entry(1), entry(0), entry(1), entry(0, symbol=b"MSFT"), entry(2)]

    assert kinds(check(log, replaced=True)) == {ViolationKind.REPEAT}


def test_processes_that_share_a_partition_repeat_their_own_records() -> None:
    """Batches of two shards alternate; what one sends again leaves out the other's."""
    ours, others = [entry(seq) for seq in (0, 1)], [entry(seq, session=2, symbol=b"MSFT") for seq in (0, 1)]

    assert check([ours[0], others[0], ours[1], others[1], *ours], replaced=True).violations.kept == []


def test_repeats_of_records_long_gone_are_explained_by_control_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: what is older than the records kept is not compared."""
    monkeypatch.setattr(partition_check, "MAX_HISTORY", 3)
    log = [entry(seq) for seq in (*range(9), 2, 3)]

    assert check(log, replaced=True).violations.kept == []
    assert len(check(log).violations) == 1


def test_a_beginning_deleted_by_retention_is_no_hole() -> None:
    """If retention has deleted the beginning, sessions count from the first record seen; later ones from 0."""
    checker = Checker(NAMES, Scope({Topic.TRADES: 1}))
    partition = checker.partition(Topic.TRADES, 0, complete_from_us=float("inf"), next_offset=500)
    for offset, one in enumerate([entry(40), entry(41), entry(3, session=2_000_000)]):
        take(partition, one, offset + 500)
    checker.settle(NOW_US)

    assert [violation.place.offset for violation in checker.violations.kept if violation.place] == [502]


def test_records_deleted_while_they_are_read_are_no_hole() -> None:
    """Records that retention deletes before they are read are not compared."""
    checker = Checker(NAMES, Scope({Topic.TRADES: 1}))
    partition = checker.partition(Topic.TRADES, 0)
    for offset, one in ((0, entry(0)), (1, entry(1)), (50, entry(50)), (51, entry(51))):
        if offset == 50:
            partition.restart()
        take(partition, one, offset)
    checker.settle(NOW_US)

    assert checker.violations.kept == []


@pytest.mark.parametrize(("offsets", "passes"), [((0, 4), True), ((0, 3), False)])
def test_compaction_explains_what_it_takes_away(offsets: tuple[int, int], *, passes: bool) -> None:
    """Market status is compacted: seq may jump by as many records as offsets are missing."""
    checker = Checker(NAMES, Scope({Topic.MARKET_STATUS: 1}))
    partition = checker.partition(Topic.MARKET_STATUS, 0)
    for offset, one in zip(offsets, (entry(0, symbol=b"market"), entry(4, symbol=b"market")), strict=True):
        take(partition, one, offset)
    checker.settle(NOW_US)

    assert kinds(checker) == (set() if passes else {ViolationKind.HOLE})


class TestEachRecord:
    def checked(self, count: int, number: int, **more: object) -> Checker:
        """Return a checker that has read one first record."""
        checker = Checker(NAMES, Scope({Topic.TRADES: count}))
        header = header_of(entry(0), 0)
        record = {"timestamp_ms": header[1] // 1000, "key": header[0], **more}
        checker.partition(Topic.TRADES, number).check(9, value=b"", header=header, **record)  # type: ignore[arg-type]
        return checker

    def test_key(self) -> None:
        """A key that is not the symbol is found."""
        (violation,) = self.checked(1, 0, key=b"APPL").violations.kept
        assert (violation.kind, violation.message) == (ViolationKind.KEY, "its key is b'APPL', not b'AAPL'")
        assert kinds(self.checked(1, 0, key=None)) == {ViolationKind.KEY}

    def test_partition(self) -> None:
        """A record on another partition than the Java client's is found, with the count that would explain it."""
        right = partition_of(b"AAPL", 8)
        assert kinds(self.checked(8, right)) == set()
        wrong = (right + 1) % 8
        (violation,) = self.checked(8, wrong).violations.kept
        assert violation.kind == ViolationKind.PARTITION
        assert f"belongs to partition {right} of 8" in violation.message
        was_four = next(key for key in (b"A", b"B", b"C", b"D", b"E") if partition_of(key, 8) >= 4)
        checker = Checker(NAMES, Scope({Topic.TRADES: 8}))
        take(checker.partition(Topic.TRADES, partition_of(was_four, 4)), entry(0, symbol=was_four), 0)
        assert "partitions it would belong here" in checker.violations.kept[0].message

    def test_timestamp(self) -> None:
        """A Kafka timestamp that is not the time of ingest is found."""
        assert kinds(self.checked(1, 0, timestamp_ms=5)) == {ViolationKind.TIMESTAMP}
