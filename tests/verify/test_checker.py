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
class Story:
    """Tell a checker what the topics hold, in few words; times are seconds since the first session."""

    scope: Scope = field(default_factory=lambda: Scope(COUNTS))
    accounts: Accounts = field(default_factory=Accounts)
    offset: int = 0

    def __post_init__(self) -> None:
        self.checker = Checker(NAMES, self.scope)
        self.partitions = {topic: self.checker.partition(topic, 0) for topic in self.scope.counts}

    def record(
        self, topic: Topic, seq: int, *, after_gap: bool = False, session: int = 0, at: float = 1, symbol: str = "AAPL"
    ) -> None:
        """Find a market record; it is read and published according to the accounts, too."""
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
        """Account for lines that became no record of their own."""
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
        """Settle, and return all findings so far as text."""
        self.checker.settle(now_us, final=final)
        return [str(violation) for violation in self.checker.violations.kept]


@pytest.fixture
def story() -> Story:
    """Return a story that has begun with a session."""
    begun = Story()
    begun.control("SESSION_STARTED", at=0)
    return begun


class TestAPlainLife:
    def test_passes(self, story: Story) -> None:
        """Records without a hole, and accounts that fit them, leave nothing to find."""
        story.trades(0, 1, 2)
        story.quotes(0, 1)
        story.control("HEARTBEAT", at=10)
        story.trades(3)
        story.control("SESSION_COMPLETED", at=20)

        assert story.found() == []
        assert story.checker.awaiting == 0

    def test_a_reconnect_belongs_to_it(self, story: Story) -> None:
        """Sessions of one process share its accounts."""
        story.trades(0, 1)
        story.control("GAP", at=3)
        story.control("SESSION_STARTED", at=4, session=4)
        story.control("RESUMED", at=4, session=4)
        story.record(Topic.TRADES, 0, session=4)
        story.control("SESSION_COMPLETED", at=9, session=4)

        assert story.found() == []
        assert len(story.checker.histories.processes) == 1

    def test_a_restart_begins_another(self, story: Story) -> None:
        """After a kill a process of the same name counts from 0 again; what the first had not told yet is no fault."""
        story.trades(0, 1)
        story.control("HEARTBEAT", at=3)
        story.trades(2, 3)
        story.accounts = Accounts()
        story.control("SESSION_STARTED", at=4, session=4)
        story.record(Topic.TRADES, 0, session=4)
        story.control("SESSION_COMPLETED", at=9, session=4)

        assert story.found() == []
        assert len(story.checker.histories.processes) == 2

    def test_control_records_sent_again_are_no_restart(self, story: Story) -> None:
        """A rebuilt producer may repeat control records, too."""
        story.trades(0)
        before = story.accounts
        for _ in range(2):
            story.accounts = Accounts()
            story.control("SESSION_STARTED", at=0)
            story.accounts = before
            story.control("HEARTBEAT", at=10)

        assert story.found() == []
        assert len(story.checker.histories.processes) == 1

    def test_shards_have_lives_of_their_own(self, story: Story) -> None:
        """Two shards of one name are two processes."""
        story.trades(0)
        story.control("HEARTBEAT", at=9)
        story.accounts = Accounts()
        story.control("SESSION_STARTED", at=1, session=7, shard=1)
        story.record(Topic.TRADES, 0, session=7, symbol="MSFT")
        story.control("HEARTBEAT", at=9, session=7, shard=1)

        assert story.found() == []
        assert len(story.checker.histories.processes) == 2


class TestJumps:
    def test_conflation_explains_quotes_up_to_its_account(self, story: Story) -> None:
        """What was merged is missing in seq, and counted as conflated."""
        story.quotes(0, 3, 5)
        story.lost(conflated=3)
        story.control("SESSION_COMPLETED", at=9)

        assert story.found() == []

    def test_one_more_than_conflated_is_found(self, story: Story) -> None:
        """Where the accounts cannot say which record is missing they still say that one is."""
        story.quotes(0, 3, 5)
        story.lost(conflated=2)
        story.control("SESSION_COMPLETED", at=9)

        (violation,) = story.found()
        assert "jumps of quotes and greeks leave out 3 records, but its account of conflated is 2" in violation
        assert "seq 3 comes after 0" in violation

    def test_without_conflation_each_jump_is_a_hole(self, story: Story) -> None:
        """If nothing was conflated every jump has its place."""
        story.quotes(0, 2, 4)
        story.control("SESSION_COMPLETED", at=9)

        assert [violation.split(":")[0] for violation in story.found()] == ["hole", "hole"]

    def test_conflation_explains_no_other_topic(self, story: Story) -> None:
        """Trades are never merged."""
        story.trades(0, 2)
        story.lost(conflated=1)
        story.control("SESSION_COMPLETED", at=9)

        (violation,) = story.found()
        assert violation.startswith("hole: aries.trades")

    def test_what_is_newer_than_the_accounts_awaits_them(self, story: Story) -> None:
        """A bridge that conflates may have done so since it last spoke, also where it was killed then."""
        story.quotes(0, 2)
        story.lost(conflated=1)
        story.control("HEARTBEAT", at=5)
        story.record(Topic.QUOTES, 9, at=60)

        assert story.found() == []
        assert story.checker.awaiting == 6

    def test_a_bridge_that_never_conflates_has_no_such_excuse(self, story: Story) -> None:
        """While it is followed a jump waits for the next accounts; at the end it is a hole."""
        story.control("HEARTBEAT", at=5)
        story.quotes(0)
        story.record(Topic.QUOTES, 2, at=60)

        assert story.found(final=False) == []
        (violation,) = story.found()
        assert "has never told of anything conflated" in violation

    def test_a_drop_is_marked_and_counted(self, story: Story) -> None:
        """after_gap explains a jump, up to the account of dropped records."""
        story.trades(0)
        story.record(Topic.TRADES, 5, after_gap=True)
        story.lost(dropped=4)
        story.control("HEARTBEAT", at=5)
        assert story.found() == []

        story.record(Topic.TRADES, 8, after_gap=True, at=6)
        story.lost(dropped=1)
        story.control("HEARTBEAT", at=15)
        (violation,) = story.found()
        assert "jumps marked after_gap leave out 6 records, but its account of dropped is 5" in violation

    @pytest.mark.parametrize("topic", [Topic.TRADES, Topic.QUOTES])
    def test_a_rejected_record_is_found_as_dead_letter(self, topic: Topic, story: Story) -> None:
        """A record that Kafka rejects is missing, and dead-lettered; its letter explains one record, and no more."""
        for seq in (0, 1):
            story.record(topic, seq)
        story.record(topic, 3, after_gap=True)
        story.accounts.lines_received += 1
        story.accounts.dead_lettered["record_refused"] += 1
        story.control("SESSION_COMPLETED", at=9)
        story.letter("record_refused")
        assert story.found() == []

        story.record(topic, 5, after_gap=True)
        story.accounts.published[topic] -= 1
        assert any("jumps" in violation or "conflated" in violation for violation in story.found())

    def test_a_dead_letter_explains_only_jumps_that_are_marked(self, story: Story) -> None:
        """The record behind a missing one is marked after_gap, whatever became of the missing one."""
        story.trades(0, 2)
        story.letter("record_refused")

        assert [violation.split(":")[0] for violation in story.found()] == ["hole"]


class TestRepeats:
    @pytest.fixture
    def repeating(self, story: Story) -> Story:
        """Return a story with a record that comes again."""
        story.trades(0, 1)
        before = story.accounts.totals()
        story.trades(1)
        story.accounts.lines_received, story.accounts.published[Topic.TRADES] = before["lines_received"], 2
        return story

    def test_are_explained_by_a_producer_that_was_replaced(self, repeating: Story) -> None:
        """Control announces that a new producer has sent again what the one before had in flight."""
        repeating.control("SESSION_COMPLETED", at=9, reason="stopped; producer replaced 1 time")

        assert repeating.found() == []
        assert repeating.checker.awaiting == 0

    def test_are_found_if_no_producer_was_replaced(self, repeating: Story) -> None:
        """At its end a process has announced everything."""
        repeating.control("SESSION_COMPLETED", at=9, reason="stopped")

        (violation,) = repeating.found()
        assert violation.startswith("repeat: aries.trades partition 0 offset 4, symbol 'AAPL'")
        assert "but the bridge 'b' has not announced on control that it replaced its producer" in violation

    def test_await_the_next_control_record_of_a_running_process(self, repeating: Story) -> None:
        """Its producer may have been replaced a moment ago; a process that was killed could not tell any more."""
        repeating.control("HEARTBEAT", at=5)
        assert repeating.found() == []
        assert repeating.checker.awaiting == 1

        repeating.control("HEARTBEAT", at=15, reason="producer replaced 2 times")
        assert repeating.found() == []
        assert repeating.checker.awaiting == 0

    def test_are_found_if_none_is_allowed(self) -> None:
        """With --strict no repeat is explained."""
        strict = Story(Scope(COUNTS, strict=True))
        strict.control("HEARTBEAT", at=0, reason="producer replaced 2 times")
        strict.trades(0, 0)

        assert "no repeat is accepted (--strict)" in strict.found()[0]


class TestAccounts:
    @pytest.mark.parametrize("kind", ["HEARTBEAT", "OVERLOAD"])
    def test_must_add_up(self, kind: str, story: Story) -> None:
        """What was read and what became of it are equal, in each record of control."""
        story.control(kind, at=5, filtered=1)

        (violation,) = story.found()
        assert f"{kind} of 'b': the accounts do not add up: 0 read, 1 accounted for" in violation
        assert violation.startswith("accounts: aries.control partition 0 offset 2, session ")

    def test_never_go_back(self, story: Story) -> None:
        """Within a session the counters only grow."""
        story.trades(0, 1)
        story.control("HEARTBEAT", at=5)
        story.control("HEARTBEAT", at=15, published=1, filtered=1)

        (violation,) = story.found()
        assert "the account of published has gone back" in violation

    def test_are_complete(self, story: Story) -> None:
        """A control record without accounts proves nothing."""
        checker = story.checker
        record = {"kind": "HEARTBEAT", "instance": "b", "shard": 0, "session_id": SESSION, "time_us": 1, "counts": {}}
        checker.control(Place("aries.control", 0, 77), record)

        assert "the accounts are without lines_received, split, published" in story.found()[0]

    @pytest.mark.parametrize("kind", ["HEARTBEAT", "SESSION_COMPLETED"])
    def test_published_records_must_be_there(self, kind: str, story: Story) -> None:
        """A tail that is cut off leaves no jump; the accounts know."""
        story.trades(0, 1)
        story.accounts.lines_received += 1
        story.accounts.published[Topic.TRADES] += 1
        story.control(kind, at=5)

        (violation,) = story.found()
        assert "3 records were published, but the topics hold 2 of its sessions" in violation

    def test_more_records_than_published_at_the_end_are_found(self, story: Story) -> None:
        """After its last word a bridge has written nothing; amid its life it may be ahead of its accounts."""
        story.trades(0, 1)
        story.control("HEARTBEAT", at=5)
        story.trades(2)
        assert story.found() == []
        story.accounts.published[Topic.TRADES] -= 1
        story.accounts.lines_received -= 1
        story.control("SESSION_COMPLETED", at=6)

        (violation,) = story.found()
        assert "2 records were published in all, but the topics hold 3" in violation

    def test_dead_letters_must_be_there(self, story: Story) -> None:
        """Each line counted as dead-lettered lies on the topic of dead letters."""
        story.letter()
        story.accounts.lines_received += 2
        story.accounts.dead_lettered["bad_json"] += 2
        story.control("HEARTBEAT", at=5)

        (violation,) = story.found()
        assert "2 lines were dead-lettered, but aries.dlq holds 1 of them" in violation

    def test_of_a_life_that_is_not_in_view_are_not_compared(self) -> None:
        """Where control begins amid a life, or data is not all there, what was published cannot be counted."""
        amid = Story()
        amid.control("HEARTBEAT", at=5, lines_received=50, published=50)
        amid.trades(*range(5))
        assert amid.found() == []

        some = Story(Scope(COUNTS, all_data=False))
        some.control("SESSION_STARTED", at=0)
        some.control("HEARTBEAT", at=5, lines_received=50, published=50)
        assert some.found() == []


class TestSessions:
    def test_an_unknown_session_is_found(self, story: Story) -> None:
        """Records of a session that no bridge announced are not ours."""
        story.control("HEARTBEAT", at=60)
        story.record(Topic.TRADES, 0, session=77)

        (violation,) = story.found()
        assert violation.startswith(f"session: aries.trades partition 0 offset 3, session {SESSION + 77}: ")

    def test_a_new_session_is_given_time(self, story: Story) -> None:
        """Data may be there a moment before control is."""
        story.record(Topic.TRADES, 0, session=77)

        assert story.found(now_us=SESSION + 77 + SESSION_GRACE_US - 1) == []
        assert story.found(now_us=SESSION + 77 + SESSION_GRACE_US + 1) != []

    def test_sessions_from_before_control_begins_are_not_judged(self) -> None:
        """What retention has taken of control is no fault of the bridge."""
        story = Story()
        story.partitions[Topic.CONTROL].complete_from_us = SESSION + SECOND
        story.trades(0)
        story.quotes(0, 4)

        assert story.found() == []
        assert story.checker.awaiting == 3

    def test_without_control_jumps_of_quotes_are_holes(self) -> None:
        """Where nobody tells of conflation there is none."""
        story = Story(Scope({Topic.QUOTES: 1, Topic.TRADES: 1}))
        story.quotes(0, 4)

        assert [violation.split(":")[0] for violation in story.found()] == ["hole"]


class TestFrames:
    def test_control_and_dead_letters_have_keys_times_and_places(self, story: Story) -> None:
        """They are checked like market data: key, timestamp, partition."""
        story.partitions[Topic.DLQ].check_frame(5, (b"AAPL", None), 0, SESSION)

        assert [violation.kind for violation in story.checker.violations.kept] == [
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

    def test_findings_of_one_kind_are_kept_up_to_a_number(self, story: Story) -> None:
        """However much is wrong, memory is bounded and the count is exact."""
        story.trades(*range(0, 1000, 2))
        story.found()

        assert len(story.checker.violations) == 499
        assert len(story.checker.violations.kept) == len(story.checker.violations.take_new()) == 100
        assert story.checker.violations.take_new() == []
