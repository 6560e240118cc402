"""What verify finds of processes that hand shards to each other: one owner at a time, and nothing else passes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.topics import Topic
from bridge.verify.report import report
from tests.verify.group_play import CLOCKS, STEPS, Play, Step
from tests.verify.shard_group import SECOND, SHARDS, SYMBOLS, Process, ShardGroup

#: A symbol of shard 0.
SYMBOL = SYMBOLS[0][0]


@pytest.fixture
def group() -> ShardGroup:
    """Return a group in which process a owns shard 0, and has published."""
    return begun()


def begun(*, strict: bool = False) -> ShardGroup:
    group = ShardGroup(strict=strict)
    group.claim(Process("a"), 0)
    group.publish(0)
    return group


def own_at_once(group: ShardGroup) -> None:
    """Let a second process own shard 0 that knows of no other, while the first goes on."""
    former = group.owner(0)
    group.owners[0].former = None
    group.claim(Process("b"), 0)
    group.publish(0)
    for record in group.read(former, 0):
        group.write(*record, former)


def late_batch(group: ShardGroup, *, records: int = 1) -> tuple[Process, Process]:
    """Let the lease of shard 0 expire while a batch is on its way; it arrives after the new owner's first records."""
    former, new = group.owner(0), Process("b")
    in_flight = [one for _ in range(records) for one in group.read(former, 0)]
    group.expire(0)
    group.claim(new, 0)
    group.publish(0)
    for topic in (Topic.TRADES, Topic.TIMESALES):
        for header, of in in_flight:
            if of is topic:
                group.write(header, topic)
    return former, new


class TestProcesses:
    def test_have_one_history_over_all_their_shards(self) -> None:
        """Sessions of several shards stand side by side, and the accounts are of the whole process."""
        group, process = ShardGroup(), Process("a")
        for shard in range(SHARDS):
            group.claim(process, shard)
            group.publish(shard)
        group.reconnect(process)
        group.heartbeat(process)
        for shard in range(SHARDS):
            group.publish(shard)
        group.stop(process)

        assert group.found() == []
        [history] = group.checker.histories.processes
        assert len(set(history.sessions)) == 4
        assert history.from_start
        assert history.complete
        assert history.counts["published"] == 24

    def test_must_have_written_what_they_count(self) -> None:
        """A record that is missing at the end of one shard shows in the accounts of the process."""
        group, process = ShardGroup(), Process("a")
        group.claim(process, 0)
        group.claim(process, 1)
        group.publish(0)
        group.publish(1)
        process.accounts.lines_received += 1
        process.accounts.published[Topic.TRADES] += 1
        group.stop(process)

        [found] = group.found()
        assert "9 records were published, but the topics hold 8 of its sessions" in found

    def test_a_kill_and_a_start_under_the_same_name_are_two(self, group: ShardGroup) -> None:
        """The accounts of the new one begin at 0; what the killed one had not announced is no violation."""
        group.heartbeat(group.owner(0))
        group.publish(0)
        group.expire(0)
        group.claim(again := Process("a"), 0)
        group.publish(0)
        group.stop(again)

        assert group.found() == []
        assert len(group.checker.histories.processes) == 2

    def test_a_process_killed_before_its_first_accounts_is_another(self) -> None:
        """It has announced only zeros, and so does the next one."""
        group = ShardGroup()
        group.claim(Process("a"), 0)
        group.publish(0)
        group.expire(0)
        group.claim(again := Process("a"), 1)
        group.publish(1)
        group.stop(again)

        assert group.found() == []
        assert len(group.checker.histories.processes) == 2

    def test_a_process_without_a_session_is_none_that_publishes(self) -> None:
        """A claim that is given back before there was a connection breaks no promise."""
        group, process = ShardGroup(), Process("a")
        group.control(process, "SHARD_CLAIMED", 0, None, "first owner")
        group.control(process, "SHARD_RELEASED", 0, None, "Aries cannot be reached")

        assert group.found() == []
        assert len(group.checker.histories.processes) == 1

    def test_claims_that_come_again_are_no_restart(self, group: ShardGroup) -> None:
        """A new producer may send control records again."""
        process = Process("b")
        group.control(process, "SHARD_CLAIMED", 1, None, "first owner")
        before_us = group.now_us
        group.begin_session(process, 1)
        group.owners[1].process = process
        group.publish(1)
        group.heartbeat(process)
        now_us, counts = group.now_us, process.accounts
        group.now_us, process.accounts = before_us - 1000, Process("b").accounts
        group.control(process, "SHARD_CLAIMED", 1, None, "first owner")
        group.now_us, process.accounts = now_us, counts
        group.stop(process)

        assert group.found() == []
        assert [str(one) for one in group.checker.histories.processes] == ["the bridge 'a'", "the bridge 'b'"]

    def test_whose_claims_were_not_read_are_joined_by_a_later_one(self) -> None:
        """If control is read from the middle, sessions of several shards turn out to be of one process."""
        group, process = ShardGroup(), Process("a")
        process.accounts.lines_received = process.accounts.filtered["x"] = 5
        for shard in (0, 1):
            group.owners[shard].process = process
            group.begin_session(process, shard)
            group.publish(shard)
        group.heartbeat(process)
        assert len(group.checker.histories.processes) == 2
        group.claim(process, 2)
        group.stop(process)

        assert group.found() == []
        [history] = group.checker.histories.processes
        assert len(history.sessions) == 3
        assert not history.from_start

    def test_with_equal_sessions_are_found(self, group: ShardGroup) -> None:
        """The records of two processes can be told apart by their sessions only."""
        group.control(Process("b"), "HEARTBEAT", 1, group.owner(0).last_session)

        [found] = group.found()
        assert "HEARTBEAT of 'b': its session is one of the bridge 'a', too" in found


class TestReleases:
    def test_end_a_session_with_its_last_record(self, group: ShardGroup) -> None:
        """What a release promises is kept: nothing of the session follows."""
        group.release(0, "claimed by b")
        group.claim(Process("b"), 0)
        group.publish(0)

        assert group.found() == []
        handovers = group.checker.handovers.summary()
        assert (handovers.released, handovers.expired) == (1, 0)
        assert handovers.longest_gap_seconds == pytest.approx(0.007)

    def test_a_record_after_those_of_the_next_owner_is_found(self, group: ShardGroup) -> None:
        """A former owner that has released the shard has no batch on its way."""
        former = group.owner(0)
        in_flight, *_ = group.read(former, 0)
        group.release(0)
        former.sessions[0] = in_flight[0][2]
        group.claim(Process("b"), 0)
        group.publish(0)
        group.write(*in_flight, former)

        [found] = group.found()
        assert found.startswith("overlap: aries.trades")
        assert f"1 record comes after newer ones, of 1 symbol ({SYMBOL}). The older one had announced before" in found

    def test_a_record_that_was_read_after_it_is_found(self, group: ShardGroup) -> None:
        """Also if the next owner has not published the symbol yet, so that the order of records shows nothing."""
        former, session = group.owner(0), group.owner(0).sessions[0]
        group.release(0)
        former.sessions[0] = session
        group.now_us += 10 * SECOND
        for record in group.read(former, 0, SYMBOL):
            group.write(*record, former)
        group.claim(Process("b"), 0)
        group.publish(0)

        [found] = {text.partition("two owners")[2] for text in group.found()}
        assert f"of one shard: session {session} of the bridge 'a' published a record of this symbol" in found
        assert "read 10.0 s after it had released the shard" in found


class TestExpiredLeases:
    def test_the_last_batch_of_a_former_owner_is_counted(self, group: ShardGroup) -> None:
        """It was on its way: its records are late, for a consumer and in the report, and no violation."""
        late_batch(group)

        assert group.found() == []
        result = report(group.checker)
        assert [row.late_records for row in result.rows] == [2, 2]
        assert result.verdict.endswith("no repeats; 4 late, the last of former owners whose lease had expired.")
        assert result.to_json()["topics"][0]["late_records"] == 2
        assert result.to_json()["handovers"]["expired"] == 1

    def test_late_records_await_what_control_says_of_the_new_session(self, group: ShardGroup) -> None:
        """Data may be there a moment before control is, on another partition."""
        former, session = group.owner(0), group.now_us + 6 * SECOND
        in_flight = group.read(former, 0)
        group.expire(0)
        new = Process("b", sessions={0: session})
        for record in [*group.read(new, 0), *in_flight]:
            group.write(*record)

        assert group.found(after_us=0) == []
        assert group.checker.awaiting == 4
        assert "Two bridges had these symbols at once" in group.found()[0]

    def test_none_is_accepted_if_the_check_is_strict(self) -> None:
        """With --strict late records are a violation."""
        group = begun(strict=True)
        late_batch(group)

        [found] = group.found()
        assert "No late record of a former owner is accepted (--strict)" in found

    def test_a_second_batch_is_found(self, group: ShardGroup) -> None:
        """A bridge has one batch in flight for each partition; between two of them are the new owner's records."""
        former, _ = late_batch(group)
        more = group.read(former, 0)
        group.now_us -= 4 * SECOND
        group.publish(0)
        for record in more:
            group.write(*record)

        [found] = group.found()
        assert "They came in 2 batches of a partition, and only one can be late" in found

    def test_a_second_batch_is_found_while_it_is_followed(self, group: ShardGroup) -> None:
        """What was accepted in an earlier round counts, too."""
        former, _ = late_batch(group)
        for _ in range(3):
            group.checker.settle(group.now_us, final=False)
        assert [row.late_records for row in report(group.checker).rows] == [2, 2]
        group.publish(0)
        for record in group.read(former, 0):
            group.write(*record)

        assert len(group.found()) == 1
        assert [row.late_records for row in report(group.checker).rows] == [0, 0]

    def test_more_records_than_a_batch_has_are_found(self, group: ShardGroup, monkeypatch: pytest.MonkeyPatch) -> None:
        """However they stand together, they were not on their way at once."""
        monkeypatch.setattr("bridge.verify.handover_check.MAX_LATE_RECORDS", 5)
        late_batch(group, records=3)

        [found] = group.found()
        assert "6 of them are in one partition, and only one batch can be late" in found

    def test_a_record_that_was_read_after_the_claim_is_found(self, group: ShardGroup) -> None:
        """A former owner must not read on, publish what it read, and be excused by its expired lease."""
        former = group.owner(0)
        group.expire(0)
        group.claim(Process("b"), 0)
        group.publish(0)
        group.now_us += 3 * SECOND
        for record in group.read(former, 0, SYMBOL):
            group.write(*record)

        [found] = group.found()
        assert "The last of them was read 3.0 s after its expired lease was claimed" in found

    def test_holes_among_late_records_are_found(self, group: ShardGroup) -> None:
        """The records of a symbol are in order, also those that come late."""
        former, new = group.owner(0), Process("b")
        in_flight = [*group.read(former, 0, SYMBOL), *group.read(former, 0, SYMBOL)]
        group.expire(0)
        group.claim(new, 0)
        group.publish(0)
        for record in in_flight[2:]:
            group.write(*record)

        assert [found.split(":")[0] for found in group.found()] == ["hole", "hole"]

    def test_what_was_in_flight_may_be_written_though_it_counts_as_dropped(self, group: ShardGroup) -> None:
        """The former owner never gets to know; more than it dropped is still found."""
        former, _ = late_batch(group)
        group.notice_expired(former, 0, dropped=4)
        group.stop(former)
        assert group.found() == []

        group = begun()
        former, _ = late_batch(group)
        group.notice_expired(former, 0, dropped=3)
        group.stop(former)
        [found] = group.found()
        assert "4 records were published in all, but the topics hold 8" in found

    def test_of_another_time_explain_nothing(self, group: ShardGroup) -> None:
        """A later session of the same instance, which it released, is not excused by the expiry before."""
        former, _ = late_batch(group)
        group.notice_expired(former, 0)
        group.release(0)
        group.claim(former, 0)
        group.publish(0)
        in_flight, *_ = group.read(former, 0)
        group.release(0)
        group.claim(Process("c"), 0)
        group.publish(0)
        group.write(*in_flight, former)

        [found] = group.found()
        assert "The older one had announced before that it released the shard" in found


def test_an_owner_that_knew_of_no_other_is_found(group: ShardGroup) -> None:
    """A claim alone excuses nothing: the owner before had neither released the shard nor lost its lease."""
    own_at_once(group)

    [found] = group.found()
    assert "The newer one claimed the shard, but the older one had not released it" in found


def test_an_expiry_after_that_excuses_nothing(group: ShardGroup) -> None:
    """Two owners were there at once before the lease of one of them was claimed."""
    own_at_once(group)
    group.now_us += 10 * SECOND
    group.owners[0].former, group.owners[0].is_expired = "a", True
    group.claim(Process("c"), 0)

    [found] = group.found()
    assert "The newer one claimed the shard, but the older one had not released it" in found


@pytest.mark.parametrize("is_released", [False, True])
def test_symbols_that_go_to_another_shard(*, is_released: bool) -> None:
    """If the number of shards changes, the end of the only shard is that of a symbol which is in another one now."""
    group = ShardGroup()
    group.shards = 1
    group.claim(Process("a"), 0)
    group.publish(0)
    former = group.owner(0)
    in_flight, *_ = group.read(former, 0, SYMBOL)
    if is_released:
        group.release(0)
    else:
        group.expire(0)
    group.shards = 3
    group.owners[0].process = None
    group.claim(Process("b"), 0)
    group.claim(new := Process("c"), 1)
    group.publish(1, SYMBOL)
    group.write(*in_flight)
    group.heartbeat(new)

    found = group.found()
    assert len(found) == is_released
    assert all("The older one had announced before that it released the shard" in text for text in found)


# -- whatever a group does ---------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, clocks=CLOCKS)
def test_whatever_a_group_does_passes(steps: list[Step], clocks: list[int]) -> None:
    """Releases, expiries, kills and stops at random are no violation, and each late record is counted."""
    play = Play(clocks)
    for kind, shard, to, is_late in steps:
        play.step(kind, shard, to, is_late=is_late)

    assert play.group.found() == []
    assert sum(row.late_records for row in report(play.group.checker).rows) == play.late


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, clocks=CLOCKS, at=st.integers(0, 40), shard=st.integers(0, SHARDS - 1), is_expired=st.booleans())
def test_a_double_publication_is_found_wherever_it_is(
    *, steps: list[Step], clocks: list[int], at: int, shard: int, is_expired: bool
) -> None:
    """A former owner that goes on beside the new one is found, whatever happens before and after."""
    play = Play(clocks)
    group = play.group
    for kind, number, to, is_late in steps[:at]:
        play.step(kind, number, to, is_late=is_late)
    former = group.owner(shard)
    new = next(one for one in play.processes if one is not former)
    session = former.sessions[shard]
    group.publish(shard)
    if is_expired:
        group.expire(shard)
    else:
        group.release(shard)
        former.sessions[shard] = session
    group.claim(new, shard)
    for _ in range(2):
        group.publish(shard)
        for record in group.read(former, shard):
            group.write(*record, former)
    former.sessions.pop(shard)
    for kind, number, to, is_late in steps[at:]:
        play.step(kind, number, to, is_late=is_late)

    assert any(found.startswith("overlap") for found in group.found())
