"""The last two minutes are sampled by the loop's own timers."""

from __future__ import annotations

import time

from bridge.observability.rate_history import LINES, TICK_SECONDS, History, settled
from bridge.pipeline.accounts import Accounts
from bridge.topics import Topic
from tests.support.service import eventually


async def test_rates_follow_what_was_settled() -> None:
    """A rate is what a topic's total grew by per second, and the history has one a second."""
    accounts = Accounts()
    history = History(accounts)
    history.start()
    try:
        assert (history.rate(LINES), history.rates(LINES)) == (0.0, [])
        accounts.lines_received += 1000
        accounts.published[Topic.QUOTES] += 500
        await eventually(lambda: history.rates(LINES), "a second sample")
        assert history.rate(LINES) == 2 * history.rate(Topic.QUOTES) > 0
        assert history.rate(Topic.TRADES) == 0
        (rate,) = history.rates(Topic.QUOTES)
        assert rate == round(history.rate(Topic.QUOTES), 1)
    finally:
        history.stop()


async def test_a_loop_that_was_held_up_is_seen() -> None:
    """The worst lateness is remembered for a while, so that a scrape finds it."""
    history = History(Accounts())
    history.start()
    try:
        time.sleep(TICK_SECONDS * 3)  # noqa: ASYNC251 - this is the fault
        await eventually(lambda: history.lag_seconds, "the late tick")
        assert history.lag_seconds >= TICK_SECONDS
    finally:
        history.stop()


def test_each_topic_settles_in_its_own_account() -> None:
    """Data is published, dead letters are counted by reason, and our own records are announced."""
    accounts = Accounts(announced=3)
    accounts.published[Topic.L2] = 5
    accounts.dead_lettered.update({"not_json": 1, "encode": 1})
    totals = settled(accounts)
    assert set(totals) == set(Topic)
    assert (totals[Topic.L2], totals[Topic.CONTROL], totals[Topic.DLQ], totals[Topic.QUOTES]) == (5, 3, 2, 0)
