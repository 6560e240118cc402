"""The locks of shards: each transition, by marks, acknowledgements and a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from bridge.group.marks import LEASE_MARGIN_SECONDS, LEASE_SECONDS, Mark, MarkKind, Progress
from bridge.group.shard_locks import (
    CLAIM_AGAIN_SECONDS,
    PARTIAL_LAPSE_SECONDS,
    WRITE_AGAIN_SECONDS,
    Cause,
    Claimed,
    LockEvent,
    LockState,
    Lost,
    ReleaseRequested,
    Resumed,
    ShardLocks,
    Suspended,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

CLAIM, HOLD, RELEASE = MarkKind.CLAIM, MarkKind.HOLD, MarkKind.RELEASE
#: How long an owner counts its lease.
OWN_LEASE_SECONDS = LEASE_SECONDS - LEASE_MARGIN_SECONDS
MOMENT = 0.001


def mark(
    kind: MarkKind, shard: int = 0, owner: str = "other", *, epoch: int = 1, shards: int = 1, session_id: int | None = 5
) -> Mark:
    return Mark(kind=kind, shard=shard, shards=shards, epoch=epoch, owner=owner, process=owner, session_id=session_id)


class Log:
    """The locks of a process ``me``, a clock, and the log of marks that it reads."""

    def __init__(self, *marks: Mark, shards: int = 1, age_seconds: float = 60) -> None:
        """Begin with marks that were read so long ago."""
        self.now = 1000.0
        self.locks = ShardLocks(process="me", owner="me", shards=shards, wall_clock=lambda: 1)
        for one in marks:
            self.locks.note(one, self.now - age_seconds)
        self.locks.marks.caught_up(self.now - age_seconds, self.now - age_seconds)

    def pass_seconds(self, seconds: float) -> list[LockEvent]:
        """Let time pass in which nothing is written or read."""
        self.now += seconds
        return self.locks.step(self.now)

    def read(self, *marks: Mark) -> list[LockEvent]:
        """Read marks of others."""
        for one in marks:
            self.locks.note(one, self.now)
        return self.locks.step(self.now)

    def due(self) -> list[Mark]:
        return self.locks.due(self.now)

    def write(self, *, is_acknowledged: bool = True) -> list[Mark]:
        """Write what is due, which is read at once; return it."""
        marks = self.due()
        for one in marks:
            self.locks.note(one, self.now)
            if is_acknowledged:
                self.locks.written(one, self.now, self.now)
        return marks

    def catch_up(self) -> list[LockEvent]:
        """Read to the end of the log once more, which begins now."""
        self.now += MOMENT
        self.locks.marks.caught_up(self.now, self.now)
        return self.locks.step(self.now)

    def own(self, *shards: int) -> list[LockEvent]:
        """Claim shards that are free, and begin with them."""
        self.locks.want(shards)
        while {self.locks.state(shard) for shard in shards} != {LockState.HOLDING}:
            assert self.write()
        return self.catch_up()

    def renew(self, seconds: float, *shards: int) -> list[LockEvent]:
        """Let time pass, after which the leases of these shards are renewed, and no others."""
        self.now += seconds
        for one in self.due():
            if one.shard in shards:
                self.locks.written(one, self.now, self.now)
            else:
                self.locks.failed(one, self.now)
        return self.locks.step(self.now)


def kinds(marks: Iterable[Mark]) -> list[tuple[MarkKind, int, int]]:
    return [(one.kind, one.shard, one.epoch) for one in marks]


class TestClaiming:
    def test_a_free_shard(self) -> None:
        """A claim, once it is read a hold, once that is acknowledged one more look at the log, and it is ours."""
        log = Log()
        log.locks.want([0])
        assert kinds(log.write()) == [(CLAIM, 0, 1)]
        assert log.locks.state(0) is LockState.CLAIMING
        assert kinds(log.write()) == [(HOLD, 0, 1)]
        assert log.pass_seconds(0.1) == []
        assert (log.locks.needs_reading, log.locks.owned()) == (True, [])
        assert log.catch_up() == [Claimed(0, Cause.FIRST, None, 0)]
        assert (log.locks.owned(), log.locks.held(), log.locks.needs_reading) == ([0], [0], False)
        assert log.locks.may_publish(log.now)

    def test_nothing_is_claimed_before_the_log_was_read(self) -> None:
        """What is not read yet may be the lease of another."""
        locks = ShardLocks(process="me", owner="me", shards=1)
        locks.want([0])
        assert locks.due(1000.0) == []
        assert not locks.marks.has_caught_up
        assert locks.needs_reading

    def test_a_claim_that_is_not_read_back_is_no_claim(self) -> None:
        """Whether it was written is not known: nothing is held, and it is claimed again after a while."""
        log = Log()
        log.locks.want([0])
        [claim] = log.due()
        log.locks.written(claim, log.now, log.now)
        log.pass_seconds(CLAIM_AGAIN_SECONDS - MOMENT)
        assert log.due() == []
        log.pass_seconds(2 * MOMENT)
        assert kinds(log.due()) == [(CLAIM, 0, 1)]

    def test_a_claim_that_cannot_be_written_is_repeated(self) -> None:
        """An error of Kafka ends the attempt at once, the next one comes soon, as a broker may only lead no more.

        Those after that come later: each takes the connection of the other shards' marks with it.
        """
        log = Log()
        log.locks.want([0])
        log.locks.failed(log.due()[0], log.now)
        assert log.locks.state(0) is None
        assert log.due() == []
        assert log.locks.next_due(log.now) == pytest.approx(WRITE_AGAIN_SECONDS)
        log.pass_seconds(WRITE_AGAIN_SECONDS + MOMENT)
        [claim] = log.due()
        log.locks.failed(claim, log.now)
        log.pass_seconds(WRITE_AGAIN_SECONDS + MOMENT)
        assert log.due() == []
        log.pass_seconds(CLAIM_AGAIN_SECONDS)
        assert kinds(log.due()) == [(CLAIM, 0, 1)]

    def test_a_failed_claim_that_is_in_the_log_counts(self) -> None:
        """An answer may be lost although the mark was written."""
        log = Log()
        log.locks.want([0])
        [claim] = log.due()
        log.locks.note(claim, log.now)
        log.locks.failed(claim, log.now)
        log.pass_seconds(WRITE_AGAIN_SECONDS)
        assert kinds(log.due()) == [(HOLD, 0, 1)]

    def test_of_two_claims_with_the_same_epoch_the_first_counts(self) -> None:
        """The other one gives way, and tries again while the shard is assigned to it."""
        log = Log()
        log.locks.want([0])
        [claim] = log.due()
        log.read(mark(CLAIM, epoch=1))
        log.locks.note(claim, log.now)
        log.pass_seconds(MOMENT)
        assert log.locks.state(0) is None
        assert kinds(log.due()) == [(RELEASE, 0, 1)]
        log.pass_seconds(CLAIM_AGAIN_SECONDS)
        assert kinds(log.due()) == [(CLAIM, 0, 2)]

    def test_a_shard_that_is_no_longer_wanted_is_not_claimed_again(self) -> None:
        """The group has assigned it to another."""
        log = Log()
        log.locks.want([0])
        log.locks.failed(log.due()[0], log.now)
        log.locks.want([])
        log.pass_seconds(CLAIM_AGAIN_SECONDS)
        assert log.due() == []

    def test_a_process_that_was_cut_off_spares_those_that_may_have_been(self) -> None:
        """It claims what its owner has not released only once that has had time to return; all else at once."""
        log = Log(mark(HOLD), mark(HOLD, 1), mark(RELEASE, 1), shards=2)
        log.read(mark(CLAIM, epoch=2, shards=2), mark(HOLD, epoch=2, shards=2))
        log.now += 60
        log.locks.spare(log.now + LEASE_SECONDS)
        log.locks.want([0, 1])
        assert kinds(log.due()) == [(CLAIM, 1, 2)]
        log.pass_seconds(LEASE_SECONDS - MOMENT)
        assert log.locks.next_due(log.now) <= 0.01
        log.pass_seconds(2 * MOMENT)
        assert (CLAIM, 0, 3) in kinds(log.due())


class TestTakingOver:
    def test_a_released_shard(self) -> None:
        """It is ours without a wait; the former owner's last mark says since when data is missing."""
        release = mark(RELEASE, epoch=3)
        log = Log(mark(HOLD, epoch=3), release)
        assert log.own(0) == [Claimed(0, Cause.RELEASED, release, 5)]

    def test_an_owner_that_says_nothing_more(self) -> None:
        """Its lease is waited for, from the reading of its newest mark."""
        log = Log(mark(HOLD), age_seconds=0)
        log.locks.want([0])
        log.write()
        log.pass_seconds(LEASE_SECONDS - MOMENT)
        assert log.write() == []
        assert log.locks.next_due(log.now) <= 0.01
        log.pass_seconds(2 * MOMENT)
        assert kinds(log.write()) == [(HOLD, 0, 2)]
        [claimed] = log.catch_up()
        assert isinstance(claimed, Claimed)
        assert (claimed.cause, claimed.former) == (Cause.EXPIRED, mark(HOLD))

    def test_an_owner_that_renews_its_lease_meanwhile(self) -> None:
        """Each of its marks begins the wait again: it drains."""
        log = Log(mark(HOLD), age_seconds=0)
        log.locks.want([0])
        log.write()
        for _ in range(5):
            log.pass_seconds(LEASE_SECONDS - 1)
            log.read(mark(HOLD))
            assert log.write() == []

    def test_a_holder_that_began_meanwhile(self) -> None:
        """The last look at the log shows a hold that was written before ours: it has the shard."""
        log = Log(mark(HOLD), mark(RELEASE), age_seconds=60)
        log.locks.want([0])
        log.write()
        assert kinds(log.write()) == [(HOLD, 0, 2)]
        log.read(mark(CLAIM, epoch=2, owner="third"), mark(HOLD, epoch=2, owner="third"))
        assert log.catch_up() == []
        assert log.locks.owned() == []

    def test_a_hold_whose_lease_has_ended_before_the_log_was_read(self) -> None:
        """It takes another hold to begin."""
        log = Log()
        log.locks.want([0])
        log.write()
        log.write()
        log.now += OWN_LEASE_SECONDS
        assert log.catch_up() == []
        assert kinds(log.write()) == [(HOLD, 0, 1)]
        assert [type(event) for event in log.catch_up()] == [Claimed]

    def test_the_next_session_is_larger_than_all_of_the_log(self) -> None:
        """Sessions of other shards count, too: symbols move between shards when their number changes."""
        log = Log(
            mark(HOLD, 1, epoch=1, shards=2, session_id=90),
            mark(RELEASE, 1, epoch=1, shards=2, session_id=90),
            shards=2,
        )
        [claimed] = log.own(0)
        assert isinstance(claimed, Claimed)
        assert claimed.newest_session_id == 90

    def test_a_former_owner_that_returns_late_is_not_the_last_one(self) -> None:
        """It renews its lease before it reads that another has had the shard: the gap begins with the other's data."""
        release = mark(RELEASE, owner="second", epoch=2, session_id=6)
        log = Log(mark(HOLD), mark(HOLD, owner="second", epoch=2, session_id=6), release, mark(HOLD), mark(RELEASE))
        assert log.own(0) == [Claimed(0, Cause.RELEASED, release, 6)]

    def test_a_session_that_no_mark_names(self) -> None:
        """An owner whose clock is ahead began one after its last mark, and was killed then: ours is larger."""
        held = msgspec.structs.replace(mark(HOLD, session_id=5), time_us=9_000_000)
        [claimed] = Log(held).own(0)
        assert isinstance(claimed, Claimed)
        assert claimed.newest_session_id == 9_000_000 + LEASE_SECONDS * 1e6

    def test_a_released_shard_has_had_no_other_session(self) -> None:
        """Its last mark names the last one, whatever time its clock showed."""
        release = msgspec.structs.replace(mark(RELEASE, session_id=5), time_us=9_000_000)
        [claimed] = Log(mark(HOLD), release).own(0)
        assert isinstance(claimed, Claimed)
        assert claimed.newest_session_id == 5


class TestOwning:
    def test_the_lease_is_renewed_each_second(self) -> None:
        """A hold is due a second after the one before was sent, and counts from then on, not from its answer."""
        log = Log()
        log.own(0)
        log.pass_seconds(0.9)
        assert log.write() == []
        log.pass_seconds(0.1)
        [hold] = log.due()
        sent_at = log.now
        log.pass_seconds(0.5)
        assert log.due() == []  # one at a time
        log.locks.written(hold, sent_at, log.now)
        assert log.locks.lease_seconds(0, sent_at) == pytest.approx(OWN_LEASE_SECONDS)

    def test_nothing_is_published_once_the_lease_has_ended(self) -> None:
        """The gate is closed by the clock alone, whether anything has run since or not."""
        log = Log()
        log.own(0)
        log.now += OWN_LEASE_SECONDS
        assert not log.locks.may_publish(log.now)
        assert log.pass_seconds(0) == [Suspended()]
        assert (log.locks.owned(), log.locks.held(), log.locks.suspended()) == ([0], [], [0])

    def test_a_shard_that_is_released_when_its_lease_ends(self) -> None:
        """It does not stay ours, so that it is assigned to another."""
        log = Log()
        log.own(0)
        log.locks.give_back([0], Cause.STOPPED)
        log.pass_seconds(OWN_LEASE_SECONDS)
        assert (log.locks.owned(), log.locks.suspended()) == ([0], [])

    def test_a_late_answer_does_not_renew_a_lease_that_has_ended(self) -> None:
        """Another may have begun between its end and the answer."""
        log = Log()
        log.own(0)
        log.pass_seconds(3)
        [hold] = log.due()
        sent_at = log.now
        log.now += OWN_LEASE_SECONDS
        log.locks.written(hold, sent_at, log.now)
        assert not log.locks.may_publish(log.now)
        assert log.pass_seconds(0) == [Suspended()]

    def test_an_outage_of_kafka(self) -> None:
        """Suspended until a hold is acknowledged and the log read after that shows no claim: then it goes on."""
        log = Log()
        log.own(0)
        log.pass_seconds(30)
        assert kinds(log.write()) == [(HOLD, 0, 1)]
        assert log.pass_seconds(MOMENT) == []
        assert log.locks.needs_reading
        assert log.catch_up() == [Resumed()]
        assert log.locks.may_publish(log.now)

    def test_a_claim_during_an_outage(self) -> None:
        """The shard is lost, whatever is still buffered of it."""
        log = Log()
        log.own(0)
        log.pass_seconds(30)
        assert log.read(mark(CLAIM, epoch=2)) == [Lost(0, "other"), Resumed()]
        assert (log.locks.owned(), log.locks.state(0)) == ([], None)

    def test_another_owner_with_a_smaller_epoch(self) -> None:
        """The marks were deleted, and a process that knows no epoch has begun with the first: the shard is lost."""
        log = Log(mark(RELEASE, epoch=7))
        log.own(0)
        log.pass_seconds(30)
        assert log.read(mark(CLAIM, epoch=1)) == []  # it waits for our lease
        log.write()
        assert log.read(mark(HOLD, epoch=1)) == [Lost(0, "other"), Resumed()]

    def test_an_owner_with_a_smaller_epoch_that_has_released_the_shard(self) -> None:
        """Its session is larger than ours: consumers would ignore all that we go on to publish."""
        log = Log(mark(RELEASE, epoch=7))
        log.own(0)
        log.locks.progress[0] = Progress(100, 100)
        log.pass_seconds(30)
        log.write()
        log.read(*(mark(kind, epoch=1, session_id=101) for kind in (HOLD, RELEASE)))
        assert log.locks.owned() == []

    def test_an_owner_with_a_smaller_epoch_that_had_no_session(self) -> None:
        """It is no reason to give up a shard."""
        log = Log(mark(RELEASE, epoch=7))
        log.own(0)
        log.pass_seconds(30)
        assert log.read(mark(CLAIM, epoch=1), mark(HOLD, epoch=1), mark(RELEASE, epoch=1)) == []
        log.write()
        assert log.catch_up() == [Resumed()]

    def test_a_shard_that_was_claimed_and_released_during_an_outage(self) -> None:
        """Nobody has it any more: if it is still ours by assignment it is claimed at once."""
        log = Log()
        log.own(0)
        log.pass_seconds(30)
        log.read(*(mark(kind, epoch=2, session_id=6) for kind in (CLAIM, HOLD, RELEASE)))
        assert kinds(log.due()) == [(RELEASE, 0, 1), (CLAIM, 0, 3)]

    def test_the_lease_of_one_shard_among_others(self) -> None:
        """It stops all for a moment, then it is given up, and the others go on."""
        log = Log(shards=2)
        log.own(0, 1)
        assert log.locks.owned() == [0, 1]
        assert [event for _ in range(4) for event in log.renew(1, 0)] == [Suspended()]
        assert not log.locks.may_publish(log.now)
        assert log.renew(PARTIAL_LAPSE_SECONDS, 0) == [Lost(1, ""), Resumed()]
        assert (log.locks.owned(), log.locks.may_publish(log.now)) == ([0], True)


class TestReleasing:
    def test_a_claim_of_another(self) -> None:
        """The shard is released in order: its lease is renewed until what was read of it is published."""
        log = Log()
        log.own(0)
        assert log.read(mark(CLAIM, epoch=2)) == [ReleaseRequested(0, Cause.CLAIMED, "other")]
        assert (log.locks.owned(), log.locks.held()) == ([0], [])
        log.pass_seconds(1)
        assert kinds(log.write()) == [(HOLD, 0, 1)]
        assert log.locks.may_publish(log.now)
        log.locks.progress[0] = Progress(77, 88)
        log.locks.released(0)
        [release] = log.due()
        assert (release.kind, release.epoch) == (RELEASE, 1)
        assert log.locks.owned() == []

    def test_a_release_says_the_last_session(self) -> None:
        """The next owner's must be larger, and its gap begins with the last data."""
        log = Log()
        log.own(0)
        log.locks.progress[0] = Progress(77, 88)
        log.locks.give_back([0], Cause.STOPPED)
        assert log.pass_seconds(0) == [ReleaseRequested(0, Cause.STOPPED, "")]
        log.locks.released(0)
        [release] = log.due()
        assert (release.session_id, release.last_data_us) == (77, 88)

    def test_a_lease_that_ends_meanwhile(self) -> None:
        """What is not published by then never is: the claimant may begin."""
        log = Log()
        log.own(0)
        log.locks.want([])
        log.read(mark(CLAIM, epoch=2))
        assert log.pass_seconds(OWN_LEASE_SECONDS) == [Lost(0, "other")]
        assert kinds(log.due()) == [(RELEASE, 0, 1)]

    def test_what_is_only_claimed_is_given_up_at_a_stop(self) -> None:
        """Nothing of it was published: others need not wait."""
        log = Log(mark(HOLD), age_seconds=0)
        log.locks.want([0])
        log.write()
        log.locks.want([])
        log.locks.give_back([0], Cause.STOPPED)
        assert kinds(log.due()) == [(RELEASE, 0, 2)]
        assert log.pass_seconds(LEASE_SECONDS) == []


class TestNumberOfShards:
    def test_another_number_supersedes_all_shards(self) -> None:
        """A claim of shard 0 with another number is a claim of everything that we have."""
        log = Log(shards=2)
        log.own(0, 1)
        events = log.read(mark(CLAIM, 0, epoch=2, shards=3))
        assert events == [ReleaseRequested(0, Cause.CLAIMED, "other"), ReleaseRequested(1, Cause.CLAIMED, "other")]
        assert log.locks.marks.count_in_force == 3

    def test_only_shard_0_is_claimed_until_its_number_is_in_force(self) -> None:
        """A claim of another shard would wait in vain, and say nothing to the owners."""
        log = Log(mark(HOLD, 0, epoch=1, shards=1), shards=2, age_seconds=0)
        log.locks.want([0, 1])
        assert kinds(log.write()) == [(CLAIM, 0, 2)]
        assert kinds(log.write()) == [(CLAIM, 1, 1)]

    def test_nobody_begins_while_an_owner_of_another_number_is_left(self) -> None:
        """Its symbols are among those of every shard of the new number."""
        log = Log(mark(HOLD, 2, epoch=1, shards=3), shards=1, age_seconds=0)
        log.locks.want([0])
        log.write()
        log.pass_seconds(LEASE_SECONDS - MOMENT)
        assert log.write() == []
        log.read(mark(RELEASE, 2, epoch=1, shards=3))
        assert kinds(log.write()) == []  # shard 0 has no marks: whoever had it may have written to a deleted topic
        log.pass_seconds(LEASE_SECONDS)
        assert kinds(log.write()) == [(HOLD, 0, 1)]


class TestWhatIsLeftInTheTopic:
    def test_a_claim_that_compaction_has_removed(self) -> None:
        """The newest hold of shard 0 tells which number of shards is in force, so that others can be claimed."""
        log = Log(mark(HOLD, 0, shards=2), mark(RELEASE, 1, shards=2), shards=2)
        log.locks.want([1])
        assert log.locks.marks.count_in_force == 2
        assert kinds(log.due()) == [(CLAIM, 1, 2)]

    def test_only_a_release(self) -> None:
        """It stands for the former owner, and no process is waited for."""
        release = mark(RELEASE, epoch=9)
        log = Log(release, age_seconds=0)
        assert log.own(0) == [Claimed(0, Cause.RELEASED, release, 5)]
        assert log.locks.epoch(0) == 10

    def test_only_a_claim(self) -> None:
        """Whoever wrote it may have begun since: it is waited for as long as a lease lasts."""
        log = Log(mark(CLAIM, epoch=9), age_seconds=0)
        log.locks.want([0])
        log.write()
        log.pass_seconds(LEASE_SECONDS - MOMENT)
        assert log.write() == []
        log.pass_seconds(2 * MOMENT)
        assert kinds(log.write()) == [(HOLD, 0, 10)]

    def test_nothing(self) -> None:
        """The topic may be a new one in the place of one that was deleted, with the marks of an owner that goes on."""
        log = Log(age_seconds=0)
        log.locks.want([0])
        assert kinds(log.write()) == [(CLAIM, 0, 1)]
        log.pass_seconds(LEASE_SECONDS - MOMENT)
        assert log.write() == []
        log.pass_seconds(2 * MOMENT)
        assert kinds(log.write()) == [(HOLD, 0, 1)]

    def test_a_claimant_that_has_given_up_was_no_owner(self) -> None:
        """Of two that start at once the one that owns the shard is its first owner."""
        log = Log()
        log.locks.want([0])
        [claim] = log.due()
        log.locks.note(claim, log.now)
        log.locks.written(claim, log.now, log.now)
        log.read(mark(CLAIM, epoch=1, session_id=None), mark(RELEASE, epoch=1, session_id=None))
        while log.locks.state(0) is not LockState.HOLDING:
            log.write()
        assert log.catch_up() == [Claimed(0, Cause.FIRST, None, 0)]


class TestWhatIsShown:
    def test_the_holder_among_the_others(self) -> None:
        """A process that holds a shard is shown while its lease lasts; neither a claimant nor ourselves are."""
        log = Log(mark(HOLD, epoch=2), mark(CLAIM, owner="third", epoch=3), age_seconds=1)
        held = log.locks.marks.other_holder(0, log.now)
        assert held is not None
        assert held[0] == mark(HOLD, epoch=2)
        assert held[1] == pytest.approx(LEASE_SECONDS - 1)
        assert log.locks.marks.other_holder(0, log.now + LEASE_SECONDS) is None
        own = Log()
        own.own(0)
        assert own.locks.marks.other_holder(0, own.now) is None

    def test_others_claim_what_is_marked_since_the_log_was_read(self) -> None:
        """A mark that was there before may be of one that was killed long ago; our own shows nothing of others."""
        log = Log(mark(RELEASE))
        log.own(0)
        assert not log.locks.marks.others_claim
        log.read(mark(CLAIM, epoch=3))
        assert log.locks.marks.others_claim

    def test_the_sessions_of_owners_are_known(self) -> None:
        """Of the present one and of the one before it, whether that was killed or not."""
        log = Log(mark(HOLD, owner="a"), mark(HOLD, owner="b", epoch=2, session_id=6))
        assert log.locks.marks.sessions() == {5, 6}
        log.read(mark(HOLD, owner="b", epoch=2, session_id=7))
        assert log.locks.marks.sessions() == {5, 7}
