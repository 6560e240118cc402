"""What the control topic says of bridges that hand shards to each other."""

from __future__ import annotations

import itertools

import pytest

from bridge.aries.subscriptions.shards import shard_of
from bridge.consumer import (
    BridgeSilent,
    BridgeStopped,
    Event,
    FeedLost,
    FeedResumed,
    MarketView,
    Restarted,
    ShardClaimed,
    ShardReleased,
)
from bridge.consumer.bridges import SILENT_AFTER_US
from bridge.market_data import MARKET
from bridge.topics import Topic
from tests.consumer.records import control, notable, record

#: A symbol of each of two shards.
ZERO, ONE = (next(name for name in ("AAPL", "MSFT", "IBM", "F", "T") if shard_of(name, 2) == shard) for shard in (0, 1))


class Control:
    """The control records of a group with two shards, each later than those before."""

    def __init__(self) -> None:
        self.view = MarketView()
        self.now_us = 0
        self._times = itertools.count(1)

    def take(self, instance: str, kind: str, shard: int, session: int | None, **more: object) -> list[Event]:
        fields = {"group": "g", "shard": shard, "shards": 2, "time_us": next(self._times), **more}
        return self.view.take("control", control(kind, instance=instance, session=session, **fields), self.now_us)

    def start(self, instance: str, shard: int, session: int, **more: object) -> list[Event]:
        events = self.take(instance, "SHARD_CLAIMED", shard, None, **more)
        return events + self.take(instance, "SESSION_STARTED", shard, session, **more)

    def quote(self, symbol: str, session: int, seq: int = 0) -> list[Event]:
        quote = record(Topic.QUOTES, {"bidSize": 1}, session=session, seq=seq, symbol=symbol)
        return notable(self.view.take("quotes", quote, self.now_us))

    def stale(self) -> set[str]:
        states = [*self.view.states("quotes"), *self.view.states(Topic.MARKET_STATUS)]
        return {state.symbol for state in states if self.view.is_stale(state)}


@pytest.fixture
def group() -> Control:
    """Return the records of bridge a, which owns both shards with one session, and of a standby."""
    begun = Control()
    begun.start("a", 0, 7)
    begun.start("a", 1, 7)
    begun.quote(ZERO, 7)
    begun.quote(ONE, 7)
    return begun


def test_a_released_shard_is_stale_and_the_others_of_its_session_are_not(group: Control) -> None:
    """A session may have several shards: it goes on with those that its bridge keeps."""
    assert group.stale() == set()
    assert group.take("a", "SHARD_RELEASED", 1, 7, reason="claimed by b") == [
        ShardReleased("a", 1, 2, 7, "claimed by b")
    ]
    assert group.stale() == {ONE}
    assert group.take("a", "SHARD_RELEASED", 1, 7, reason="claimed by b") == []

    assert group.start("b", 1, 9, gap_from_us=5, reason="released by a") == [
        ShardClaimed("b", 1, 2, (), 5, "released by a")
    ]
    assert group.take("b", "RESUMED", 1, 9, gap_from_us=5, gap_to_us=6) == [FeedResumed("b", 9, 5, 6)]
    assert group.stale() == {ONE}
    assert group.quote(ONE, 9) == [Restarted(Topic.QUOTES, ONE, 9, 0, None)]
    assert group.stale() == set()


def test_a_claim_ends_the_sessions_of_a_bridge_that_was_killed(group: Control) -> None:
    """It said nothing; what it wrote of the claimed shard is stale at once."""
    assert group.take("b", "SHARD_CLAIMED", 1, None, gap_from_us=5, reason="lease of a expired") == [
        ShardClaimed("b", 1, 2, ("a",), 5, "lease of a expired")
    ]
    assert group.stale() == {ONE}
    group.take("b", "SHARD_CLAIMED", 0, None, reason="lease of a expired")
    assert group.stale() == {ZERO, ONE}


def test_a_bridge_that_claims_its_own_shard_again_was_killed(group: Control) -> None:
    """Its new process has new sessions."""
    [claimed] = group.take("a", "SHARD_CLAIMED", 0, None, reason="lease of a expired")

    assert claimed == ShardClaimed("a", 0, 2, ("a",), None, "lease of a expired")
    assert group.stale() == {ZERO}


def test_a_claim_that_comes_again_changes_nothing(group: Control) -> None:
    """A new producer may send control records again, also after another bridge has the shard."""
    group.take("a", "SHARD_RELEASED", 1, 7)
    group.start("b", 1, 9)
    group.quote(ONE, 9)

    assert group.take("a", "SHARD_CLAIMED", 1, None, time_us=3) == []
    assert group.stale() == set()


def test_late_announcements_of_a_former_owner_do_not_bring_it_back(group: Control) -> None:
    """Its heartbeat may be on another partition of control, and be read after the claim."""
    group.start("b", 1, 9, reason="lease of a expired")
    group.quote(ONE, 9)
    group.take("a", "HEARTBEAT", 1, 7)

    assert group.stale() == set()
    [claimed] = group.take("c", "SHARD_CLAIMED", 1, None)
    assert isinstance(claimed, ShardClaimed)
    assert claimed.former == ("b",)


def test_the_last_records_of_a_former_owner_are_ignored(group: Control) -> None:
    """They have a smaller session, after one of the new owner; they are counted."""
    group.start("b", 1, 9, reason="lease of a expired")
    group.quote(ONE, 9)

    assert group.quote(ONE, 7, seq=1) == []
    assert group.view.outdated == 1
    assert group.quote(ZERO, 7, seq=1) == []
    assert group.view.outdated == 1
    state = group.view.state("quotes", ONE)
    assert state is not None
    assert state.session_id == 9


def test_a_lost_connection_is_told_once_for_all_shards(group: Control) -> None:
    """GAP and RESUMED come for each shard, of one socket."""
    assert group.take("a", "GAP", 0, 7, gap_from_us=5, reason="network") == [FeedLost("a", 7, 5, "network")]
    assert group.take("a", "GAP", 1, 7, gap_from_us=5, reason="network") == []
    assert group.stale() == {ZERO, ONE}
    for shard in (0, 1):
        group.take("a", "SESSION_STARTED", shard, 8)
    resumed = [group.take("a", "RESUMED", shard, 8, gap_from_us=5, gap_to_us=9) for shard in (0, 1)]
    assert resumed == [[FeedResumed("a", 8, 5, 9)], []]
    group.quote(ZERO, 8)
    assert group.stale() == {ONE}


def test_a_bridge_without_a_shard_is_not_silent(group: Control) -> None:
    """A standby announces nothing; an owner that says nothing any more is silent."""
    for shard in (0, 1):
        group.take("a", "SHARD_RELEASED", shard, 7)
        group.start("b", shard, 9)
    group.now_us = SILENT_AFTER_US
    assert group.view.tick(group.now_us) == [BridgeSilent("b", 9, SILENT_AFTER_US)]

    for shard in (0, 1):
        group.start("a", shard, 11)
    assert group.view.tick(group.now_us + SILENT_AFTER_US) == [BridgeSilent("a", 11, SILENT_AFTER_US)]


def test_all_sessions_of_a_bridge_end_with_it(group: Control) -> None:
    """A shard that was gained on the open socket has a session of its own; after a stop a new claim begins again."""
    group.take("a", "SHARD_RELEASED", 1, 7)
    group.start("a", 1, 8)
    group.quote(ONE, 8)
    assert group.stale() == set()

    assert group.take("a", "SESSION_COMPLETED", 0, 8) == [BridgeStopped("a", 8)]
    assert group.stale() == {ZERO, ONE}
    assert group.take("a", "HEARTBEAT", 0, 7) == []
    assert group.view.tick(SILENT_AFTER_US) == []
    group.start("a", 0, 10)
    group.quote(ZERO, 10)
    assert group.stale() == {ONE}


def test_another_number_of_shards_ends_all_that_was_before(group: Control) -> None:
    """Symbols go to other shards: no bridge begins before those of the earlier number have ended."""
    [claimed] = group.take("b", "SHARD_CLAIMED", 2, None, shards=3)

    assert claimed == ShardClaimed("b", 2, 3, ("a",), None, None)
    assert group.stale() == {ZERO, ONE}


def test_the_market_status_is_of_the_first_shard() -> None:
    """Its symbol is in no subscription, and has no hash that counts; shard 0 publishes it."""
    assert shard_of(MARKET, 3) != 0
    group = Control()
    group.view.take(Topic.MARKET_STATUS, record(Topic.MARKET_STATUS, {"market": "open"}, session=7), 0)
    for shard in (0, 1, 2):
        group.start("a", shard, 7, shards=3)
    group.take("a", "SHARD_RELEASED", shard_of(MARKET, 3), 7, shards=3)
    assert group.stale() == set()
    group.take("a", "SHARD_RELEASED", 0, 7, shards=3)

    assert group.stale() == {MARKET}


def test_a_release_is_understood_by_who_comes_late() -> None:
    """If nothing was read before it, the other shards of the session are known to go on."""
    group = Control()
    group.quote(ZERO, 7)
    group.quote(ONE, 7)
    group.take("a", "SHARD_RELEASED", 1, 7)
    group.take("a", "HEARTBEAT", 0, 7)

    assert group.stale() == {ONE}
