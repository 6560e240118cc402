"""What control and dead letters explain, and what of them does not add up."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from bridge.kafka.partitioner import partition as partition_of
from bridge.pipeline.accounts import Accounts
from bridge.topics import Topic
from bridge.verify.checker import SESSION_GRACE_US, Checker, Scope
from bridge.verify.violations import Place, ViolationKind

SESSION = 1_701_450_000_000_000
SECOND = 1_000_000
NOW_US = SESSION + 3600 * SECOND
NAMES = {topic: f"aries.{topic}" for topic in Topic}
COUNTS = {Topic.QUOTES: 1, Topic.TRADES: 1, Topic.CONTROL: 1, Topic.DLQ: 1}


@dataclass
class Scenario:
    """A checker, and the records that the topics have; times are seconds since the first session."""

    scope: Scope = field(default_factory=lambda: Scope(COUNTS))
    accounts: Accounts = field(default_factory=Accounts)
    offset: int = 0

    def __post_init__(self) -> None:
        self.checker = Checker(NAMES, self.scope)
        self.partitions = {topic: self.checker.partition(topic, 0) for topic in self.scope.counts}

    def record(
        self, topic: Topic, seq: int, *, after_gap: bool = False, session: int = 0, at: float = 1, symbol: str = "AAPL"
    ) -> None:
        """Add a market record, counted as read and published."""
        ingest_us = SESSION + session + round(at * SECOND)
        self.offset += 1
        self.accounts.lines_received += 1
        self.accounts.published[topic] += 1
        header = (symbol.encode(), ingest_us, SESSION + session, seq, after_gap or seq == 0)
        self.partitions[topic].check(self.offset, ingest_us // 1000, header[0], repr(header).encode(), header)

    def trades(self, *seqs: int) -> None:
        for seq in seqs:
            self.record(Topic.TRADES, seq)

    def quotes(self, *seqs: int) -> None:
        for seq in seqs:
            self.record(Topic.QUOTES, seq)

    def lost(self, conflated: int = 0, dropped: int = 0) -> None:
        """Count lines that became no record."""
        self.accounts.lines_received += conflated + dropped
        self.accounts.conflated[Topic.QUOTES] += conflated
        self.accounts.dropped[Topic.TRADES, "overload"] += dropped

    def control(
        self, kind: str, *, at: float = 2, session: int = 0, shard: int = 0, reason: str | None = None, **counts: int
    ) -> None:
        time_us = SESSION + round(at * SECOND)
        self.offset += 1
        record = {
            "kind": kind,
            "instance": "b",
            "shard": shard,
            "session_id": SESSION + session,
            "time_us": time_us,
            "reason": reason,
            "counts": self.accounts.totals() | counts,
        }
        self.checker.control(Place("aries.control", 0, self.offset), record)

    def letter(self, reason: str = "bad_json") -> None:
        self.checker.dead_letter({"reason": reason, "symbol": "AAPL", "session_id": SESSION})

    def found(self, *, final: bool = True, now_us: int = NOW_US) -> list[str]:
        """Settle, and return all violations so far as text."""
        self.checker.settle(now_us, final=final)
        return [str(violation) for violation in self.checker.violations.kept]


@pytest.fixture
def scenario() -> Scenario:
    """Return a scenario with a session."""
    begun = Scenario()
    begun.control("SESSION_STARTED", at=0)
    return begun


class TestProcesses:
    def test_passes(self, scenario: Scenario) -> None:
        """Records without a hole, and accounts that fit them, are no violation."""
        scenario.trades(0, 1, 2)
        scenario.quotes(0, 1)
        scenario.control("HEARTBEAT", at=10)
        scenario.trades(3)
        scenario.control("SESSION_COMPLETED", at=20)

        assert scenario.found() == []
        assert scenario.checker.awaiting == 0

    def test_a_reconnect_belongs_to_it(self, scenario: Scenario) -> None:
        """Sessions of one process share its accounts."""
        scenario.trades(0, 1)
        scenario.control("GAP", at=3)
        scenario.control("SESSION_STARTED", at=4, session=4)
        scenario.control("RESUMED", at=4, session=4)
        scenario.record(Topic.TRADES, 0, session=4)
        scenario.control("SESSION_COMPLETED", at=9, session=4)

        assert scenario.found() == []
        assert len(scenario.checker.histories.processes) == 1

    def test_a_restart_begins_another(self, scenario: Scenario) -> None:
        """After a kill a process of the same name counts from 0; what the first had not announced is no violation."""
        scenario.trades(0, 1)
        scenario.control("HEARTBEAT", at=3)
        scenario.trades(2, 3)
        scenario.accounts = Accounts()
        scenario.control("SESSION_STARTED", at=4, session=4)
        scenario.record(Topic.TRADES, 0, session=4)
        scenario.control("SESSION_COMPLETED", at=9, session=4)

        assert scenario.found() == []
        assert len(scenario.checker.histories.processes) == 2

    def test_control_records_sent_again_are_no_restart(self, scenario: Scenario) -> None:
        """A rebuilt producer may repeat control records, too."""
        scenario.trades(0)
        before = scenario.accounts
        for _ in range(2):
            scenario.accounts = Accounts()
            scenario.control("SESSION_STARTED", at=0)
            scenario.accounts = before
            scenario.control("HEARTBEAT", at=10)

        assert scenario.found() == []
        assert len(scenario.checker.histories.processes) == 1

    def test_shards_are_processes_of_their_own(self, scenario: Scenario) -> None:
        """Two shards of one name are two processes."""
        scenario.trades(0)
        scenario.control("HEARTBEAT", at=9)
        scenario.accounts = Accounts()
        scenario.control("SESSION_STARTED", at=1, session=7, shard=1)
        scenario.record(Topic.TRADES, 0, session=7, symbol="MSFT")
        scenario.control("HEARTBEAT", at=9, session=7, shard=1)

        assert scenario.found() == []
        assert len(scenario.checker.histories.processes) == 2


class TestJumps:
    def test_conflation_explains_quotes_up_to_its_account(self, scenario: Scenario) -> None:
        """What was merged is missing in seq, and counted as conflated."""
        scenario.quotes(0, 3, 5)
        scenario.lost(conflated=3)
        scenario.control("SESSION_COMPLETED", at=9)

        assert scenario.found() == []

    def test_one_more_than_conflated_is_found(self, scenario: Scenario) -> None:
        """The accounts show that a record is missing, if not which one."""
        scenario.quotes(0, 3, 5)
        scenario.lost(conflated=2)
        scenario.control("SESSION_COMPLETED", at=9)

        (violation,) = scenario.found()
        assert "jumps of quotes and greeks leave out 3 records, but its account of conflated is 2" in violation
        assert "seq 3 comes after 0" in violation

    def test_without_conflation_each_jump_is_a_hole(self, scenario: Scenario) -> None:
        """If nothing was conflated every jump has its place."""
        scenario.quotes(0, 2, 4)
        scenario.control("SESSION_COMPLETED", at=9)

        assert [violation.split(":")[0] for violation in scenario.found()] == ["hole", "hole"]

    def test_conflation_explains_no_other_topic(self, scenario: Scenario) -> None:
        """Trades are never merged."""
        scenario.trades(0, 2)
        scenario.lost(conflated=1)
        scenario.control("SESSION_COMPLETED", at=9)

        (violation,) = scenario.found()
        assert violation.startswith("hole: aries.trades")

    def test_what_is_newer_than_the_accounts_awaits_them(self, scenario: Scenario) -> None:
        """A bridge that conflates may have done so since its latest accounts, also if it was killed then."""
        scenario.quotes(0, 2)
        scenario.lost(conflated=1)
        scenario.control("HEARTBEAT", at=5)
        scenario.record(Topic.QUOTES, 9, at=60)

        assert scenario.found() == []
        assert scenario.checker.awaiting == 6

    def test_a_bridge_that_never_conflates_leaves_no_jumps(self, scenario: Scenario) -> None:
        """With --follow a jump waits for the next accounts; at the end it is a hole."""
        scenario.control("HEARTBEAT", at=5)
        scenario.quotes(0)
        scenario.record(Topic.QUOTES, 2, at=60)

        assert scenario.found(final=False) == []
        (violation,) = scenario.found()
        assert "has never announced conflated records" in violation

    def test_a_drop_is_marked_and_counted(self, scenario: Scenario) -> None:
        """after_gap explains a jump, up to the account of dropped records."""
        scenario.trades(0)
        scenario.record(Topic.TRADES, 5, after_gap=True)
        scenario.lost(dropped=4)
        scenario.control("HEARTBEAT", at=5)
        assert scenario.found() == []

        scenario.record(Topic.TRADES, 8, after_gap=True, at=6)
        scenario.lost(dropped=1)
        scenario.control("HEARTBEAT", at=15)
        (violation,) = scenario.found()
        assert "jumps marked after_gap leave out 6 records, but its account of dropped is 5" in violation

    @pytest.mark.parametrize("topic", [Topic.TRADES, Topic.QUOTES])
    def test_a_rejected_record_is_found_as_dead_letter(self, topic: Topic, scenario: Scenario) -> None:
        """A record that Kafka rejects is missing, and dead-lettered; its letter explains one record, and no more."""
        for seq in (0, 1):
            scenario.record(topic, seq)
        scenario.record(topic, 3, after_gap=True)
        scenario.accounts.lines_received += 1
        scenario.accounts.dead_lettered["record_refused"] += 1
        scenario.control("SESSION_COMPLETED", at=9)
        scenario.letter("record_refused")
        assert scenario.found() == []

        scenario.record(topic, 5, after_gap=True)
        scenario.accounts.published[topic] -= 1
        assert any("jumps" in violation or "conflated" in violation for violation in scenario.found())

    def test_a_dead_letter_explains_only_jumps_that_are_marked(self, scenario: Scenario) -> None:
        """The record after a missing one must have ``after_gap``, whatever became of the missing one."""
        scenario.trades(0, 2)
        scenario.letter("record_refused")

        assert [violation.split(":")[0] for violation in scenario.found()] == ["hole"]

    def test_a_dead_letter_of_unknown_kind_explains_no_jump(self, scenario: Scenario) -> None:
        """Its line belongs to no topic, so that no ``seq`` is missing because of it."""
        scenario.trades(0)
        scenario.record(Topic.TRADES, 2, after_gap=True)
        scenario.accounts.lines_received += 1
        scenario.accounts.dead_lettered["unknown_kind"] += 1
        scenario.letter("unknown_kind")
        scenario.control("SESSION_COMPLETED", at=9)

        (violation,) = scenario.found()
        assert "leave out 1 records" in violation


class TestRepeats:
    @pytest.fixture
    def repeating(self, scenario: Scenario) -> Scenario:
        """Return a scenario with a record that comes again."""
        scenario.trades(0, 1)
        before = scenario.accounts.totals()
        scenario.trades(1)
        scenario.accounts.lines_received, scenario.accounts.published[Topic.TRADES] = before["lines_received"], 2
        return scenario

    def test_are_explained_by_a_producer_that_was_replaced(self, repeating: Scenario) -> None:
        """Control announces that a new producer has sent again what the one before had in flight."""
        repeating.control("SESSION_COMPLETED", at=9, reason="stopped; producer replaced 1 time")

        assert repeating.found() == []
        assert repeating.checker.awaiting == 0

    def test_are_found_if_no_producer_was_replaced(self, repeating: Scenario) -> None:
        """At its end a process has announced everything."""
        repeating.control("SESSION_COMPLETED", at=9, reason="stopped")

        (violation,) = repeating.found()
        assert violation.startswith("repeat: aries.trades partition 0 offset 4, symbol 'AAPL'")
        assert "but the bridge 'b' has not announced on control that it replaced its producer" in violation

    def test_await_the_next_control_record_of_a_running_process(self, repeating: Scenario) -> None:
        """Its producer may just have been replaced; a process that was killed could not announce it."""
        repeating.control("HEARTBEAT", at=5)
        assert repeating.found() == []
        assert repeating.checker.awaiting == 1

        repeating.control("HEARTBEAT", at=15, reason="producer replaced 2 times")
        assert repeating.found() == []
        assert repeating.checker.awaiting == 0

    def test_are_found_if_none_is_allowed(self) -> None:
        """With --strict no repeat is explained."""
        strict = Scenario(Scope(COUNTS, strict=True))
        strict.control("HEARTBEAT", at=0, reason="producer replaced 2 times")
        strict.trades(0, 0)

        assert "no repeat is accepted (--strict)" in strict.found()[0]


class TestAccounts:
    @pytest.mark.parametrize("kind", ["HEARTBEAT", "OVERLOAD"])
    def test_must_add_up(self, kind: str, scenario: Scenario) -> None:
        """What was read and what became of it are equal, in each record of control."""
        scenario.control(kind, at=5, filtered=1)

        (violation,) = scenario.found()
        assert f"{kind} of 'b': the accounts do not add up: 0 read, 1 accounted for" in violation
        assert violation.startswith("accounts: aries.control partition 0 offset 2, session ")

    def test_never_go_back(self, scenario: Scenario) -> None:
        """Within a session the counters only grow."""
        scenario.trades(0, 1)
        scenario.control("HEARTBEAT", at=5)
        scenario.control("HEARTBEAT", at=15, published=1, filtered=1)

        (violation,) = scenario.found()
        assert "the account of published has gone back" in violation

    def test_are_complete(self, scenario: Scenario) -> None:
        """A control record without accounts proves nothing."""
        checker = scenario.checker
        record = {"kind": "HEARTBEAT", "instance": "b", "shard": 0, "session_id": SESSION, "time_us": 1, "counts": {}}
        checker.control(Place("aries.control", 0, 77), record)

        assert "the accounts are without lines_received, split, published" in scenario.found()[0]

    @pytest.mark.parametrize("kind", ["HEARTBEAT", "SESSION_COMPLETED"])
    def test_published_records_must_be_there(self, kind: str, scenario: Scenario) -> None:
        """Missing records at the end leave no jump; the accounts show them."""
        scenario.trades(0, 1)
        scenario.accounts.lines_received += 1
        scenario.accounts.published[Topic.TRADES] += 1
        scenario.control(kind, at=5)

        (violation,) = scenario.found()
        assert "3 records were published, but the topics hold 2 of its sessions" in violation

    def test_more_records_than_published_at_the_end_are_found(self, scenario: Scenario) -> None:
        """After SESSION_COMPLETED a bridge writes nothing; before, it may be ahead of its accounts."""
        scenario.trades(0, 1)
        scenario.control("HEARTBEAT", at=5)
        scenario.trades(2)
        assert scenario.found() == []
        scenario.accounts.published[Topic.TRADES] -= 1
        scenario.accounts.lines_received -= 1
        scenario.control("SESSION_COMPLETED", at=6)

        (violation,) = scenario.found()
        assert "2 records were published in all, but the topics hold 3" in violation

    def test_dead_letters_must_be_there(self, scenario: Scenario) -> None:
        """Each line counted as dead-lettered is on the topic of dead letters."""
        scenario.letter()
        scenario.accounts.lines_received += 2
        scenario.accounts.dead_lettered["bad_json"] += 2
        scenario.control("HEARTBEAT", at=5)

        (violation,) = scenario.found()
        assert "2 lines were dead-lettered, but aries.dlq holds 1 of them" in violation

    def test_of_a_process_that_is_read_in_part_are_not_compared(self) -> None:
        """If control or data is read in part, what was published cannot be counted."""
        amid = Scenario()
        amid.control("HEARTBEAT", at=5, lines_received=50, published=50)
        amid.trades(*range(5))
        assert amid.found() == []

        some = Scenario(Scope(COUNTS, all_data=False))
        some.control("SESSION_STARTED", at=0)
        some.control("HEARTBEAT", at=5, lines_received=50, published=50)
        assert some.found() == []


class TestSessions:
    def test_an_unknown_session_is_found(self, scenario: Scenario) -> None:
        """Records of a session that no bridge has announced are a violation."""
        scenario.control("HEARTBEAT", at=60)
        scenario.record(Topic.TRADES, 0, session=77)

        (violation,) = scenario.found()
        assert violation.startswith(f"session: aries.trades partition 0 offset 3, session {SESSION + 77}: ")

    def test_a_new_session_is_given_time(self, scenario: Scenario) -> None:
        """Data may be there a moment before control is."""
        scenario.record(Topic.TRADES, 0, session=77)

        assert scenario.found(now_us=SESSION + 77 + SESSION_GRACE_US - 1) == []
        assert scenario.found(now_us=SESSION + 77 + SESSION_GRACE_US + 1) != []

    def test_sessions_from_before_control_begins_are_not_judged(self) -> None:
        """Control records that retention has deleted are no violation."""
        scenario = Scenario()
        scenario.partitions[Topic.CONTROL].complete_from_us = SESSION + SECOND
        scenario.trades(0)
        scenario.quotes(0, 4)

        assert scenario.found() == []
        assert scenario.checker.awaiting == 3

    def test_without_control_jumps_of_quotes_are_holes(self) -> None:
        """Without control records no conflation is announced."""
        scenario = Scenario(Scope({Topic.QUOTES: 1, Topic.TRADES: 1}))
        scenario.quotes(0, 4)

        assert [violation.split(":")[0] for violation in scenario.found()] == ["hole"]


class TestFrames:
    def test_control_and_dead_letters_have_keys_times_and_places(self, scenario: Scenario) -> None:
        """They are checked like market data: key, timestamp, partition."""
        scenario.partitions[Topic.DLQ].check_frame(5, (b"AAPL", None), 0, SESSION)

        assert [violation.kind for violation in scenario.checker.violations.kept] == [
            ViolationKind.KEY,
            ViolationKind.TIMESTAMP,
        ]
        checker = Checker(NAMES, Scope({Topic.DLQ: 4}))
        checker.partition(Topic.DLQ, (partition_of(b"AAPL", 4) + 1) % 4).check_frame(5, (b"AAPL", b"AAPL"), 0, 0)
        assert [violation.kind for violation in checker.violations.kept] == [ViolationKind.PARTITION]

    def test_unequal_partition_counts_are_found(self) -> None:
        """Consumers join topics partition by partition."""
        checker = Checker(NAMES, Scope({Topic.QUOTES: 4, Topic.TRADES: 8, Topic.CONTROL: 1}))

        (violation,) = checker.violations.kept
        assert "aries.quotes: 4, aries.trades: 8" in str(violation)

    def test_violations_of_one_kind_are_kept_up_to_a_number(self, scenario: Scenario) -> None:
        """However much is wrong, memory is bounded and the count is exact."""
        scenario.trades(*range(0, 1000, 2))
        scenario.found()

        assert len(scenario.checker.violations) == 499
        assert len(scenario.checker.violations.kept) == len(scenario.checker.violations.take_new()) == 100
        assert scenario.checker.violations.take_new() == []
