"""What a process of a group makes of its members, and of releases that do not end in time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from bridge import log_events
from bridge.clock import boot_seconds
from bridge.errors import SecretUnreadable
from bridge.group.fitness import UNFIT_SECONDS, UNREACHABLE_SECONDS
from bridge.group.marks import LEASE_SECONDS
from bridge.group.marks_topic import MarkWriter
from bridge.group.member_data import Member
from bridge.group.membership import Assignment
from bridge.group.ownership import PLANS_DIFFER_SECONDS
from bridge.group.shard_locks import WRITE_AGAIN_SECONDS, Cause, Lost, ReleaseRequested
from tests.observability.test_group import join, own
from tests.support.background import in_background
from tests.support.service import eventually
from tests.test_group_member import OF, Begun, claimed

if TYPE_CHECKING:
    from bridge.group.ownership import Ownership


@pytest.fixture
def begun() -> Begun:
    """Return a bridge that owns a shard and has a session."""
    begun = Begun()
    begun.member.claim(claimed(0))
    begun.start_session(100)
    return begun


def set_plans(ownership: Ownership, **fingerprints: str) -> None:
    """Let the other members have these plans."""
    others = [Member(instance=name, process=name, shards=2, fingerprint=plan) for name, plan in fingerprints.items()]
    join(ownership, *others, assigned=(0,))


async def plans_announced(begun: Begun) -> list[str]:
    return [one["reason"] for one in await begun.announced() if one["kind"] == "PLAN_CHANGED"]


async def test_plans_that_differ_are_announced_once_for_each_set(begun: Begun) -> None:
    """Only after a while, as each change is known to some first; a rebalance in between changes nothing."""
    ownership = begun.member.ownership
    own(ownership, 0, 1000.0)
    plan = begun.member.plan_fingerprint
    set_plans(ownership, b=plan, c="other")
    ownership._check_plans(1000.0)
    ownership.membership._set_assignment(None)  # a rebalance
    ownership._check_plans(1000.0 + PLANS_DIFFER_SECONDS)
    assert await plans_announced(begun) == []
    for seconds in (1, 2, 3):
        ownership._check_plans(1000.0 + PLANS_DIFFER_SECONDS + seconds)
    assert await plans_announced(begun) == [f"plans differ: a {plan}, c other"]
    set_plans(ownership, b="third", c="other")
    ownership._check_plans(1100.0)
    assert await plans_announced(begun) == [
        f"plans differ: a {plan}, c other",
        f"plans differ: a {plan}, b third, c other",
    ]
    set_plans(ownership, b=plan, c=plan)
    ownership._check_plans(1200.0)
    assert len(await plans_announced(begun)) == 2
    assert ownership.different_plans == ()


def test_an_owner_without_a_session_lets_others_be_preferred(begun: Begun) -> None:
    """After a while it says that it is unfit, and asks for a rebalance; later it may be chosen again."""
    ownership = begun.member.ownership
    membership = ownership.membership
    own(ownership, 0, 1000.0)
    ownership._check_fitness(1000.0)
    ownership._check_fitness(1000.0 + UNREACHABLE_SECONDS)
    assert ownership.is_fit
    assert not membership._must_join.is_set()
    with capture_logs() as logs:
        ownership._check_fitness(1001.0 + UNREACHABLE_SECONDS)
    assert [line["event"] for line in logs] == [log_events.ARIES_UNREACHABLE]
    assert (ownership.is_fit, ownership._about().fit, membership._must_join.is_set()) == (False, False, True)
    ownership.locks.give_back([0], Cause.UNREACHABLE)
    ownership.locks.released(0)
    ownership._check_fitness(1002.0 + UNREACHABLE_SECONDS)
    assert not ownership.is_fit
    ownership._check_fitness(1002.0 + UNREACHABLE_SECONDS + UNFIT_SECONDS)
    assert ownership.is_fit


def test_an_owner_that_reaches_aries_again_lets_the_others_reconnect_first(begun: Begun) -> None:
    """Whoever joins for another reason says so at once; by itself it asks for no rebalance that would take theirs."""
    ownership = begun.member.ownership
    own(ownership, 0, 1000.0)
    ownership._check_fitness(1000.0)
    ownership._check_fitness(1001.0 + UNREACHABLE_SECONDS)
    ownership.membership._must_join.clear()
    begun.bridge.client.session = SimpleNamespace(authenticated=True)  # type: ignore[assignment] # as far as it is asked
    ownership._check_fitness(1100.0)
    assert (ownership.is_fit, ownership._about().fit, ownership.membership._must_join.is_set()) == (
        True,
        True,
        False,
    )
    ownership._check_fitness(1100.0 + UNREACHABLE_SECONDS)
    assert not ownership.membership._must_join.is_set()
    ownership._check_fitness(1101.0 + UNREACHABLE_SECONDS)
    assert ownership.membership._must_join.is_set()
    begun.bridge.client.session = None
    assert ownership.is_fit


async def test_a_shard_that_is_lost_ends_its_release(begun: Begun) -> None:
    """The rest is dropped at once, and what the release waits for never touches the shard if it is claimed again."""
    ownership = begun.member.ownership
    begun.ingest(OF[0])
    ownership._handle(ReleaseRequested(0, Cause.CLAIMED, "b"))
    [release] = ownership._releasing.values()
    await asyncio.sleep(0)
    ownership._handle(Lost(0, "b"))
    await asyncio.wait([release])
    assert release.cancelled()
    await eventually(lambda: not ownership._releasing, "nothing is released any more")
    assert {reason for _, reason in begun.accounts.dropped} == {"lease_lost"}
    assert [one["reason"] for one in await begun.announced() if one["kind"] == "SHARD_RELEASED"] == ["lease expired"]
    begun.member.claim(claimed(0))
    begun.start_session(200)
    begun.ingest(OF[0])
    dropped = begun.accounts.dropped.total()
    begun.acknowledge()
    assert begun.accounts.dropped.total() == dropped


async def test_a_stop_waits_until_its_releases_are_written(begun: Begun) -> None:
    """A release that is only due is waited for: whoever reads it need not wait for the lease."""
    ownership = begun.member.ownership
    own(ownership, 0, 1000.0)
    ownership.locks.give_back([0], Cause.STOPPED)
    ownership.locks.step(1000.0)
    ownership.locks.released(0)
    assert (ownership.locks.owned(), ownership._has_work) == ([], True)
    ownership.locks.due(1000.0)
    assert not ownership._has_work


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no clock that counts suspensions")
def test_a_lease_ends_while_the_machine_is_suspended(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The monotonic clock stands still then; another process may have begun when the machine wakes."""
    ownership = begun.member.ownership
    own(ownership, 0, boot_seconds())
    assert ownership.may_publish()
    later = time.clock_gettime(time.CLOCK_BOOTTIME) + LEASE_SECONDS
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: later}.__getitem__)
    assert not ownership.may_publish()


async def test_a_secret_that_cannot_be_read_for_a_moment_is_read_again(begun: Begun) -> None:
    """As when a certificate is replaced while a connection is opened: a mark is written soon, and the group joined."""

    def options() -> dict[str, object]:
        raise SecretUnreadable("KAFKA_SASL_PASSWORD_FILE", Path("password"), "no such file")

    ownership = begun.member.ownership
    own(ownership, 0, boot_seconds() - 2)
    ownership.exchange._writer = MarkWriter("aries.shards", options)
    [hold] = ownership.locks.due(boot_seconds())
    await ownership.exchange._write_and_note(hold, boot_seconds())
    assert "password" in ownership.exchange.problem
    assert ownership.locks.due(boot_seconds() + WRITE_AGAIN_SECONDS) != []
    membership = ownership.membership
    membership._options = options
    async with in_background(membership.run()):
        await eventually(lambda: "password" in membership.problem, "the problem is known")


def test_an_assignment_tells_the_generation(begun: Begun) -> None:
    """As long as the process is a member, also during a rebalance."""
    ownership = begun.member.ownership
    ownership.membership._set_assignment(Assignment(7, (0,), ()))
    ownership.membership._set_assignment(None)
    assert ownership.membership.assignment is None
    assert ownership.generation == 7
