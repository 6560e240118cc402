"""What a process shows of its group: readiness, status and metrics, as owner, standby and while it joins."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from bridge import settings
from bridge.app import Bridge
from bridge.clock import boot_seconds
from bridge.errors import ConnectionLost, DisconnectCause
from bridge.group.fitness import UNREACHABLE_SECONDS
from bridge.group.marks import Mark, MarkKind, Progress
from bridge.group.member_data import Member
from bridge.group.membership import Assignment
from bridge.group.shard_locks import Cause
from bridge.observability.health import liveness, readiness
from bridge.observability.metrics import CLAIM_CAUSES, RELEASE_CAUSES, BridgeCollector, exposition, registry
from bridge.observability.rate_history import RateHistory
from bridge.observability.status import check_results, status
from bridge.simulator.server import Simulator
from bridge.topics import SHARDS_TOPIC, Topic
from tests.helm.test_monitoring import OF_A_GROUP
from tests.observability.http_client import Answer, client
from tests.observability.test_metrics import LEAST, parsed, values
from tests.support.service import environment, eventually, serving

if TYPE_CHECKING:
    from bridge.app import Service
    from bridge.group.ownership import Ownership
    from tests.support.brokers import RealKafka

SHARDS = 2
OTHER = Mark(kind=MarkKind.HOLD, shard=1, shards=SHARDS, epoch=4, owner="b", process="pb", session_id=7)


def unstarted(**more: str) -> tuple[Bridge, Ownership]:
    """Return a bridge of a group that was not started, as if it were running."""
    bridge = Bridge(
        settings.load(
            {
                **LEAST,
                "BRIDGE_SHARD": "group",
                "BRIDGE_SHARDS": str(SHARDS),
                "BRIDGE_INSTANCE": "a",
                **more,
            }
        )
    )
    bridge.phase = "running"
    assert bridge.group is not None
    return bridge, bridge.group.ownership


def join(ownership: Ownership, *others: Member, assigned: tuple[int, ...] = ()) -> None:
    """Let the process be a member, as after a rebalance."""
    own = ownership._about()
    members = (Member(instance=own.instance, process=own.process, shards=SHARDS, fingerprint=own.fingerprint), *others)
    ownership.membership.last_assignment = Assignment(3, assigned, members)
    ownership.membership.problem = ""
    now = boot_seconds()
    ownership.locks.marks.caught_up(now - 60, now - 60)


def own(ownership: Ownership, shard: int, since: float) -> None:
    """Let the process own a shard, by the marks that it would write and read."""
    locks = ownership.locks
    locks.marks.caught_up(since - 60, since - 60)
    locks.want([shard])
    for _ in range(2):  # claim, hold
        for mark in locks.due(since):
            locks.note(mark, since)
            locks.written(mark, since, since)
    locks.marks.caught_up(since + 0.001, since + 0.001)
    locks.step(since + 0.001)
    assert locks.owned() == [shard]


def ready(bridge: Bridge) -> dict[str, Any]:
    return check_results(readiness(bridge, time.monotonic()))


def grouped(bridge: Bridge) -> dict[str, Any]:
    document = status(bridge, RateHistory(bridge.accounts), time.monotonic(), 0)
    assert document["shard"] is None
    found: dict[str, Any] = document["group"]
    return found


def metrics(bridge: Bridge) -> dict[str, dict[tuple[str, ...], float]]:
    collector = BridgeCollector(bridge, RateHistory(bridge.accounts), str)
    return {name: values(family) for name, family in parsed(exposition(registry(collector))[0].decode()).items()}


def member(instance: str, fingerprint: str, assigned: tuple[int, ...] = ()) -> Member:
    return Member(
        instance=instance, process=f"p{instance}", shards=SHARDS, fingerprint=fingerprint, assigned=assigned, fit=False
    )


async def test_a_process_that_joins_says_what_it_waits_for() -> None:
    """It is not ready: first the topic of the shards must be read, then the coordinator must take the member."""
    bridge, ownership = unstarted()
    checks = ready(bridge)
    assert checks.keys() == {"group", "kafka"}
    assert checks["group"] == {"ok": False, "detail": "joining aries.shards: aries.shards is being read"}
    ownership.exchange.problem = "no such topic"
    assert ready(bridge)["group"]["detail"] == "joining aries.shards: no such topic"
    ownership.locks.marks.caught_up(0.0, 0.0)
    ownership.membership.problem = "GroupAuthorizationFailedError: grant Read"
    assert ready(bridge)["group"]["detail"] == "joining aries.shards: GroupAuthorizationFailedError: grant Read"
    found = grouped(bridge)
    assert (found["role"], found["members"], found["generation"]) == ("joining", [], None)
    shown = metrics(bridge)
    assert shown["group_members"] == shown["shards_without_owner"] == {}
    assert shown["group_standby"] == {(): 0}


async def test_a_standby_is_ready_without_a_session() -> None:
    """A standby is ready once Kafka is connected, although nothing was ever acknowledged; it names the owners."""
    bridge, ownership = unstarted()
    join(ownership, member("b", "other", (0, 1)))
    ownership.locks.note(OTHER, boot_seconds())
    assert not ready(bridge)["kafka"]["ok"]
    bridge.publisher.state.connected = True
    assert ready(bridge) == {
        "standby": {"ok": True, "detail": "standby; owners: b"},
        "kafka": {"ok": True, "detail": "connected"},
    }
    bridge.publisher.state.missing_topics = ("aries.quotes",)
    assert "aries.quotes" in ready(bridge)["kafka"]["detail"]
    bridge.publisher.state.missing_topics = ()
    ownership.waiting_for = ["old"]
    assert ready(bridge)["standby"] == {"ok": True, "detail": "standby; owners: b; waits for the end of old"}
    assert status(bridge, RateHistory(bridge.accounts), time.monotonic(), 0)["waiting_for"] == ["old"]
    ownership.exchange.problem = "aries.shards cannot be written"
    standby = ready(bridge)["standby"]
    assert (standby["ok"], standby["detail"]) == (
        False,
        "standby that cannot take over: aries.shards cannot be written",
    )
    shown = metrics(bridge)
    assert shown["group_standby"] == {(): 1}
    assert shown["group_members"] == {(): 2}
    assert shown["plan_mismatch_members"] == {(): 1}
    assert shown["shard_owned"] == {("0",): 0, ("1",): 0}
    assert shown["shard_lease_seconds"] == {}
    assert shown["shards_without_owner"] == {(): 1}


async def test_a_standby_that_could_not_reach_aries_is_not_ready() -> None:
    """It had a shard and no session: a rolling upgrade must not go on to end those that can serve."""
    bridge, ownership = unstarted()
    join(ownership, member("b", "other", (0, 1)))
    bridge.publisher.state.connected = True
    ownership._fitness.check(1000.0, has_session=False, is_owner=True)
    ownership._fitness.check(1000.1 + UNREACHABLE_SECONDS, has_session=False, is_owner=True)
    bridge.client.last_loss = ConnectionLost(DisconnectCause.NETWORK, "no route")
    assert ready(bridge)["standby"] == {"ok": False, "detail": "standby that could not reach Aries: network: no route"}


async def test_a_rebalance_changes_no_role() -> None:
    """While members join again a standby stays ready, and the members and plans are those of before."""
    bridge, ownership = unstarted()
    join(ownership, member("b", "other"))
    bridge.publisher.state.connected = True
    ownership.membership._set_assignment(None)
    assert ready(bridge)["standby"]["ok"]
    found = grouped(bridge)
    assert (found["role"], len(found["members"]), found["plans_differ"]) == ("standby", 2, True)


async def test_an_owner_is_ready_by_its_session_and_its_leases() -> None:
    """An owner has the checks of any bridge, and one of its leases; the status has the shards of the others, too."""
    bridge, ownership = unstarted()
    join(ownership, member("b", "other", (1,)), assigned=(0,))
    now = boot_seconds()
    ownership.locks.note(OTHER, now)
    own(ownership, 0, now)
    ownership.locks.progress[0] = Progress(9)
    checks = ready(bridge)
    assert [*checks] == ["group", "authenticated", "subscribed", "kafka"]
    assert checks["group"] == {"ok": True, "detail": "owner of shards 0"}
    assert not checks["authenticated"]["ok"]
    found = grouped(bridge)
    assert (found["name"], found["id"], found["topic"], found["role"]) == (
        *("aries", "aries.shards", "aries.shards"),
        "owner",
    )
    own_shard, other_shard = found["shards"]
    assert 0 < own_shard.pop("lease_seconds") <= 4
    assert 0 < other_shard.pop("lease_seconds") <= 5
    assert own_shard == {"shard": 0, "owner": "a", "epoch": 1, "session_id": 9, "owned": True, "state": "owned"}
    assert other_shard == {"shard": 1, "owner": "b", "epoch": 4, "session_id": 7, "owned": False, "state": "other"}
    assert found["members"][1] == {
        "instance": "b",
        "fingerprint": "other",
        "shards": SHARDS,
        "assigned": [1],
        "fit": False,
    }
    shown = metrics(bridge)
    assert shown["shard_owned"] == {("0",): 1, ("1",): 0}
    assert 0 < shown["shard_lease_seconds"]["0",] <= 4
    assert shown["shards_without_owner"] == {(): 0}
    assert shown["group_standby"] == {(): 0}


async def test_a_suspended_owner_is_not_ready_and_not_stuck() -> None:
    """With its leases ended an owner publishes nothing: that is no reason to restart it."""
    bridge, ownership = unstarted()
    join(ownership, assigned=(0,))
    own(ownership, 0, boot_seconds() - 4.5)
    ownership.locks.step(boot_seconds())
    ownership.exchange.problem = "aries.shards cannot be written"
    assert ready(bridge)["group"] == {
        "ok": False,
        "detail": "leases ended, publishing is suspended: aries.shards cannot be written",
    }
    bridge.buffer.open({Topic.QUOTES: 1})
    bridge.buffer.add(bridge.buffer.queue_for(Topic.QUOTES, b"A"), (0, b"A", b"x", None))
    alive = check_results(liveness(bridge, 1e9))
    assert alive["publisher"] == {"ok": True, "detail": "suspended: leases ended"}
    shown = metrics(bridge)
    assert shown["shard_owned"]["0",] == 1
    assert shown["shard_lease_seconds"]["0",] < 0
    assert shown["shards_without_owner"] == {(): 2}
    assert grouped(bridge)["shards"][0]["lease_seconds"] < 0


async def test_an_owner_that_goes_on_is_not_stuck() -> None:
    """However long it was suspended: what waits is sent from now on."""
    bridge, _ = unstarted()
    bridge.buffer.open({Topic.QUOTES: 1})
    bridge.buffer.add(bridge.buffer.queue_for(Topic.QUOTES, b"A"), (0, b"A", b"x", None))
    bridge.publisher.state.active_at = time.monotonic() - 1e6
    assert not check_results(liveness(bridge, time.monotonic()))["publisher"]["ok"]
    assert bridge.group is not None
    bridge.group.resume()
    assert check_results(liveness(bridge, time.monotonic()))["publisher"]["ok"]


async def test_the_metrics_are_those_of_dashboard_and_alerts() -> None:
    """Names and labels are what the chart uses; without a group there is none of them."""
    bridge, ownership = unstarted()
    join(ownership)
    own(ownership, 0, boot_seconds())
    collector = BridgeCollector(bridge, RateHistory(bridge.accounts), str)
    plain = Bridge(settings.load(LEAST))
    of_plain = parsed(exposition(registry(BridgeCollector(plain, RateHistory(plain.accounts), str)))[0].decode())
    found = {
        f"aries_bridge_{name}": {label for sample in family.samples for label in sample.labels}
        for name, family in parsed(exposition(registry(collector))[0].decode()).items()
        if name not in of_plain
    }
    assert found == OF_A_GROUP


async def test_hand_overs_are_listed_and_counted() -> None:
    """The newest is first; causes without any start at 0."""
    bridge, ownership = unstarted()
    ownership._note_handover(0, "claimed", Cause.EXPIRED, "b", 6.5)
    ownership._note_handover(0, "released", Cause.STOPPED, "")
    released, claimed = grouped(bridge)["handovers"]
    assert {**claimed, "at": ""} == {
        "at": "",
        "shard": 0,
        "event": "claimed",
        "cause": "expired",
        "other": "b",
        "gap_seconds": 6.5,
    }
    assert (released["event"], released["other"], released["gap_seconds"]) == ("released", None, None)
    shown = metrics(bridge)
    assert shown["shard_claims_total"] == {("first",): 0, ("released",): 0, ("expired",): 1}
    assert shown["shard_releases_total"]["stopped",] == 1
    assert {*CLAIM_CAUSES, *RELEASE_CAUSES} == {*Cause}
    assert ("lease_lost", f"aries.{Topic.QUOTES}") in shown["records_dropped_total"]


@pytest.mark.parametrize("phase", ["starting", "draining"])
async def test_a_process_that_starts_or_drains_is_not_ready(phase: str) -> None:
    """Whatever it owns: it is no standby before it has started, and owns nothing for long when it drains."""
    bridge, ownership = unstarted()
    join(ownership)
    bridge.phase = phase  # type: ignore[assignment]  # a parameter
    assert ready(bridge)["group"] == {"ok": False, "detail": phase}


def is_joined(answer: Answer) -> bool:
    group = answer.document["group"]
    return len(group["members"]) == 2 and group["shards"][0]["owner"] is not None


def roles_of(*services: Service) -> dict[str, str]:
    bridges = [service.bridge for service in services]
    return {bridge.settings.bridge_instance: bridge.group.ownership.role for bridge in bridges if bridge.group}


async def test_owner_and_standby_on_apache_kafka(kafka: RealKafka, topic_prefix: str) -> None:
    """Two processes of a group show the same members and owners, and a hand-over after the first has ended."""
    for topic in (*Topic, SHARDS_TOPIC):
        kafka.create_topic(f"{topic_prefix}.{topic}", partitions=1)
    async with Simulator(rate=200) as simulator:
        environ = environment(simulator, kafka.bootstrap_servers, topic_prefix, BRIDGE_SHARD="group")
        async with serving({**environ, "BRIDGE_INSTANCE": "second"}) as second, client(second) as of_second:
            async with serving({**environ, "BRIDGE_INSTANCE": "first"}) as first, client(first) as of_first:
                services = {"first": (first, of_first), "second": (second, of_second)}
                for _, http in services.values():
                    await http.comes("/status", is_joined, "both are members, and the shard has an owner")
                await eventually(lambda: sorted(roles_of(first, second).values()) == ["owner", "standby"], "an owner")
                roles = roles_of(first, second)
                for _, http in services.values():
                    await http.becomes(200)
                    document = (await http.get("/status")).document["group"]
                    assert roles[document["shards"][0]["owner"]] == "owner"
                    assert not document["plans_differ"]
                [standby] = [name for name, role in roles.items() if role == "standby"]
                service, http = services[standby]
                assert service.bridge.client.session is None
                assert (await http.get("/status")).document["state"] == "standby"
                checks = await http.becomes(200)
                assert checks.keys() == {"standby", "kafka"}
            await eventually(lambda: second.bridge.group and second.bridge.group.shards, "the second owns the shard")
            checks = await of_second.becomes(200)
            assert checks.keys() == {"group", "authenticated", "subscribed", "kafka"}
