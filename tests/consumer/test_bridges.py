"""What the control topic says of the bridges."""

from __future__ import annotations

from bridge.consumer import BridgeHeard, BridgeSilent, BridgeStopped, FeedLost, FeedResumed, MarketView
from bridge.consumer.bridges import SILENT_AFTER_US
from bridge.topics import Topic
from tests.consumer.records import control, record

SECOND = 1_000_000


def view_of(session: int = 7) -> MarketView:
    """Return a view that knows a quote of a session, whose bridge was heard at 0 s."""
    view = MarketView()
    view.take("control", control("SESSION_STARTED", session=session), 0)
    view.take("quotes", record(Topic.QUOTES, {"bidSize": 1}, session=session), 0)
    return view


def is_stale(view: MarketView) -> bool:
    state = view.state("quotes", "AAPL")
    assert state is not None
    return view.is_stale(state)


def test_a_gap_makes_the_records_of_its_session_stale() -> None:
    """GAP and RESUMED are told once; a record of the new session is not stale."""
    view = view_of()
    gap = control("GAP", gap_from_us=5, reason="network: reset")
    resumed = control("RESUMED", session=8, gap_from_us=5, gap_to_us=9)

    assert not is_stale(view)
    assert view.take("control", gap, 0) == [FeedLost("bridge-0", 7, 5, "network: reset")]
    assert is_stale(view)
    assert view.take("control", gap, 0) == []
    assert view.take("control", resumed, 0) == [FeedResumed("bridge-0", 8, 5, 9)]
    assert view.take("control", resumed, 0) == []
    assert is_stale(view)
    view.take("quotes", record(Topic.QUOTES, {"bidSize": 1}, session=8), 0)
    assert not is_stale(view)


def test_another_bridge_is_not_affected() -> None:
    """A gap of one shard says nothing about the symbols of the others."""
    view = view_of()
    view.take("control", control("GAP", instance="bridge-1", session=9), 0)

    assert not is_stale(view)


def test_a_bridge_that_says_nothing_for_30_seconds_is_silent() -> None:
    """It is told once; what it wrote is stale until it is heard again."""
    view = view_of()
    assert view.tick(SILENT_AFTER_US - 1) == []
    assert view.tick(SILENT_AFTER_US + SECOND) == [BridgeSilent("bridge-0", 7, SILENT_AFTER_US + SECOND)]
    assert view.tick(SILENT_AFTER_US + 2 * SECOND) == []
    assert is_stale(view)

    assert view.take("control", control("HEARTBEAT"), 70 * SECOND) == [BridgeHeard("bridge-0", 7)]
    assert not is_stale(view)
    assert view.tick(99 * SECOND) == []
    assert len(view.tick(100 * SECOND)) == 1


def test_heartbeats_keep_it_from_being_silent() -> None:
    """Each control record counts, also one of a kind that this version does not know."""
    view = view_of()
    for second in range(10, 100, 10):
        kind = "HEARTBEAT" if second % 20 else "SOMETHING_NEW"
        assert view.take("control", control(kind), second * SECOND) == []
        assert view.tick(second * SECOND) == []


def test_a_bridge_that_has_stopped_is_not_silent() -> None:
    """Its records are stale at once; late repeats of its announcements change nothing, a new session does."""
    view = view_of()
    stop = control("SESSION_COMPLETED", reason="stopped")
    assert view.take("control", stop, 0) == [BridgeStopped("bridge-0", 7)]
    assert is_stale(view)
    assert view.take("control", control("HEARTBEAT"), 1) == view.take("control", stop, 1) == []
    assert view.tick(100 * SECOND) == []

    view.take("control", control("SESSION_STARTED", session=8), 100 * SECOND)
    assert view.tick(131 * SECOND) == [BridgeSilent("bridge-0", 8, 31 * SECOND)]


def test_a_bridge_that_was_killed_and_started_again() -> None:
    """Its new session makes the records of the old one stale; what the old one had announced late is ignored."""
    view = view_of()
    view.take("control", control("SESSION_STARTED", session=8), 5)

    assert is_stale(view)
    assert view.take("control", control("GAP", session=7), 6) == []
