"""Rates and the loop's lag are sampled by timers of the loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from bridge.observability.rate_history import LINES, QUIET_TICK_SECONDS, TICK_SECONDS, RateHistory, acknowledged
from bridge.pipeline.accounts import Accounts
from bridge.topics import Topic
from tests.support.service import eventually


async def test_rates_follow_the_accounts() -> None:
    """A rate is the growth of a topic's total per second; the history has one for each second."""
    accounts = Accounts()
    history = RateHistory(accounts)
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


async def test_the_lag_of_a_blocked_loop_is_measured() -> None:
    """The largest lag is remembered until a scrape finds it."""
    history = RateHistory(Accounts(lines_received=1))
    history.start()
    try:
        time.sleep(TICK_SECONDS * 3)  # noqa: ASYNC251 - this is the fault
        await eventually(lambda: history.lag_seconds, "the late tick")
        assert history.lag_seconds >= TICK_SECONDS
    finally:
        history.stop()


@pytest.mark.parametrize(("lines", "seconds"), [(0, QUIET_TICK_SECONDS), (1, TICK_SECONDS)], ids=["quiet", "reading"])
async def test_a_quiet_loop_is_woken_less_often(lines: int, seconds: float) -> None:
    """Nothing delays a loop that has nothing to do, and each look wakes an idle process."""
    history = RateHistory(Accounts(lines_received=lines))
    history.start()
    try:
        assert history._timer is not None
        assert history._timer.when() - asyncio.get_running_loop().time() == pytest.approx(seconds, abs=0.3)
    finally:
        history.stop()


def test_each_topic_is_counted_by_its_account() -> None:
    """Market data by topic, dead letters by reason, control records as announced."""
    accounts = Accounts(announced=3)
    accounts.published[Topic.L2] = 5
    accounts.dead_lettered.update({"not_json": 1, "encode": 1})
    totals = acknowledged(accounts)
    assert set(totals) == set(Topic)
    assert (totals[Topic.L2], totals[Topic.CONTROL], totals[Topic.DLQ], totals[Topic.QUOTES]) == (5, 3, 2, 0)
