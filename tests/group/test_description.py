"""A group is described from its members and marks, and what should not stay as it is has a warning."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from bridge.group.description import (
    GroupReport,
    MemberDescription,
    ShardDescription,
    ShardMarks,
    ShardState,
    describe_member,
    shard_count,
)
from bridge.group.marks import Mark, MarkKind
from bridge.group.member_data import Member, encode
from bridge.kafka.consumer_groups import GroupMember

if TYPE_CHECKING:
    from collections.abc import Sequence

CLAIM, HOLD, RELEASE = MarkKind.CLAIM, MarkKind.HOLD, MarkKind.RELEASE


def mark(kind: MarkKind, owner: str, epoch: int, time_us: int = 0, shards: int = 1) -> Mark:
    return Mark(
        kind=kind, shard=0, shards=shards, epoch=epoch, owner=owner, process=f"p-{owner}", session_id=7, time_us=time_us
    )


def shard(*marks: Mark, lapsed: bool = False) -> ShardDescription:
    log = ShardMarks(0)
    for one in marks:
        log.add(one, follows=True)
    return log.describe(is_lapsed=lapsed)


class TestShards:
    def test_a_shard_without_marks(self) -> None:
        """No process has ever claimed it."""
        assert shard() == ShardDescription(0, ShardState.FREE)

    def test_an_owner(self) -> None:
        """It owns the shard since its first hold; the newest one renews the lease."""
        found = shard(mark(CLAIM, "a", 1, 10), mark(HOLD, "a", 1, 20), mark(HOLD, "a", 1, 30))
        assert (found.state, found.owner, found.epoch, found.claimant) == (ShardState.OWNED, "a", 1, None)
        assert (found.since_us, found.renewed_us, found.session_id) == (20, 30, 7)

    def test_an_owner_that_was_there_before_the_oldest_mark(self) -> None:
        """Since when is not known: the marks before are not read, or compaction has removed them."""
        log = ShardMarks(0)
        log.add(mark(HOLD, "a", 1, 20), follows=False)
        assert log.describe(is_lapsed=False).since_us is None

    def test_a_hand_over(self) -> None:
        """The former owner has the shard until it releases it, then no process, then the claimant."""
        log = (mark(HOLD, "a", 1), mark(CLAIM, "b", 2), mark(HOLD, "a", 1), mark(RELEASE, "a", 1), mark(HOLD, "b", 2))
        steps = [shard(*log[:number]) for number in range(1, 6)]
        assert [(one.state, one.owner, one.claimant) for one in steps] == [
            (ShardState.OWNED, "a", None),
            (ShardState.OWNED, "a", "b"),
            (ShardState.OWNED, "a", "b"),
            (ShardState.CLAIMED, "a", "b"),
            (ShardState.OWNED, "b", None),
        ]

    def test_an_owner_that_renews_its_lease_no_more(self) -> None:
        """It is named as the last one."""
        found = shard(mark(HOLD, "a", 1), lapsed=True)
        assert (found.state, found.owner) == (ShardState.LAPSED, "a")

    def test_a_former_owner_that_wakes_up(self) -> None:
        """Its marks of an earlier epoch change nothing."""
        found = shard(mark(HOLD, "a", 1), mark(HOLD, "b", 2), mark(HOLD, "a", 1), mark(RELEASE, "a", 1))
        assert (found.state, found.owner, found.epoch) == (ShardState.OWNED, "b", 2)

    def test_a_claim_that_is_given_up(self) -> None:
        """The owner keeps the shard; of a shard without a holder, the claim is gone."""
        assert shard(mark(HOLD, "a", 1), mark(CLAIM, "b", 2), mark(RELEASE, "b", 2)).claimant is None
        given_up = shard(mark(RELEASE, "a", 1), mark(CLAIM, "b", 2), mark(RELEASE, "b", 2))
        assert (given_up.state, given_up.owner) == (ShardState.FREE, "a")

    def test_of_two_equal_claims_the_first_counts(self) -> None:
        """The order of the log decides."""
        assert shard(mark(CLAIM, "b", 2), mark(CLAIM, "a", 2)).claimant == "b"

    def test_the_number_of_shards(self) -> None:
        """Shard 0's mark of the largest epoch decides, else the members, else the setting."""
        log = ShardMarks(0)
        assert shard_count([log], [], 4) == 4
        members = [member("a", shards=2), member("b", shards=3)]
        assert shard_count([log], members, 4) == 3
        log.add(mark(HOLD, "a", 5, shards=2), follows=True)
        log.add(mark(CLAIM, "b", 6, shards=6), follows=True)
        assert shard_count([log], members, 4) == 6
        assert shard_count([], [], 4) == 4


def member(name: str, **more: object) -> MemberDescription:
    said = {"process": f"p-{name}", "version": "1", "shards": 1, "fingerprint": "f", "fit": True, **more}
    return MemberDescription(f"id-{name}", f"client-{name}", "127.0.0.1", (0,), name, **said)  # type: ignore[arg-type]  # each test gives what the field takes


def report(
    members: Sequence[MemberDescription] = (member("a"),),
    shards: Sequence[ShardDescription] = (shard(mark(HOLD, "a", 1)),),
    state: str = "Stable",
) -> GroupReport:
    return GroupReport("g", "g.shards", "g.shards", 1, state, 1, tuple(members), tuple(shards))


class TestMembers:
    def test_a_member(self) -> None:
        """What it says is in its metadata, what it is given in its assignment."""
        own = Member(instance="a", process="p", shards=3, fingerprint="f", version="1.2")
        metadata = ConsumerProtocolMemberMetadata(0, ["t"], encode(own)).encode()
        assignment = ConsumerProtocolMemberAssignment(0, [("t", [2, 0]), ("other", [1])], b"").encode()
        found = describe_member(GroupMember("id", "client", "10.0.0.1", metadata, assignment), "t")
        assert found == MemberDescription("id", "client", "10.0.0.1", (0, 2), "a", "p", "1.2", 3, "f", fit=True)

    @pytest.mark.parametrize("data", [b"", b"\x00", ConsumerProtocolMemberMetadata(0, ["t"], b"no JSON").encode()])
    def test_a_member_that_does_not_say_who_it_is(self, data: bytes) -> None:
        """During a rebalance, or of another program: it is named by its client."""
        found = describe_member(GroupMember("id", "client", "10.0.0.1", data, data[:1]), "t")
        assert (found.name, found.instance, found.assigned) == ("client", None, ())


class TestWarnings:
    def test_a_good_group_has_none(self) -> None:
        """A standby with the same plan is fine."""
        assert list(report((member("a"), replace(member("b"), assigned=()))).warnings()) == []

    @pytest.mark.parametrize(
        ("found", "words"),
        [
            (report(shards=[shard()]), "shard 0 has no owner: no process has claimed it yet"),
            (report(shards=[shard(mark(CLAIM, "b", 1))]), "b has claimed it and has not begun"),
            (report(shards=[shard(mark(RELEASE, "a", 1))]), "a has released it"),
            (report(shards=[shard(mark(HOLD, "a", 1), lapsed=True)]), "a does not renew its lease"),
            (report((), [shard(mark(RELEASE, "a", 1))], "Empty"), "the group has no members"),
            (report(state="PreparingRebalance"), "PreparingRebalance"),
            (report([member("b")]), "a owns shard 0, but is no member of the group"),
            (report([member("a"), member("b", shards=2)]), "(a 1, b 2): 1 is in force"),
            (report([member("a"), member("b", fingerprint="x")]), "(fingerprints a f, b x)"),
            (report([member("a"), member("a")]), "2 members are called a"),
            (report([member("a"), member("b", fit=False)]), "b cannot reach Aries"),
            (
                report(shards=[shard(mark(HOLD, "a", 1)), replace(shard(mark(HOLD, "a", 1)), shard=2)]),
                "a still owns shard 2, of another number of shards",
            ),
        ],
    )
    def test_what_should_not_stay_as_it_is(self, found: GroupReport, words: str) -> None:
        """Each has its sentence, which is in the JSON, too."""
        assert words in " ".join(found.warnings())
        assert found.to_json()["warnings"] == list(found.warnings())

    def test_shards_without_owner(self) -> None:
        """Only those of the number in force should have one."""
        free = shard()
        assert report(shards=[free]).ownerless == (free,)
        assert report(shards=[shard(mark(HOLD, "a", 1)), replace(free, shard=1)]).ownerless == ()
