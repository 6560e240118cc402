"""Rates of the last two minutes, sampled once a second, and the lag of the event loop.

Sampled by timers of the loop instead of a task: a failure of what only observes must not stop the bridge.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from bridge.topics import MARKET_DATA, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.pipeline.accounts import Accounts

#: The length of the history, and of the period over which a current rate is the mean.
HISTORY_SECONDS: Final = 120
RATE_SECONDS: Final = 10
#: How often the loop's lag is measured, how often while no line is read, and for how long the largest is remembered.
TICK_SECONDS: Final = 0.25
QUIET_TICK_SECONDS: Final = 1.0
LAG_WINDOW_SECONDS: Final = 15
#: The name of the series of lines read; the other series are named by their topics.
LINES: Final = "lines"


class RateHistory:
    """Samples of the accounts, taken between :meth:`start` and :meth:`stop`."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._samples: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=HISTORY_SECONDS + 1)
        #: When each lag was measured, and the lag.
        self._lags: deque[tuple[float, float]] = deque(maxlen=round(LAG_WINDOW_SECONDS / TICK_SECONDS))
        self._lines = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take the first sample, and schedule the next."""
        loop = asyncio.get_running_loop()
        self._sample(loop.time())
        self._schedule(loop)

    def stop(self) -> None:
        """Take no more samples."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def lag_seconds(self) -> float:
        """Return the largest recent delay of a timer."""
        return max((lag for _, lag in self._lags), default=0.0)

    def rate(self, series: str) -> float:
        """Return the current rate of a topic's records, or of lines, per second."""
        if len(self._samples) <= 1:
            return 0.0
        first = self._samples[max(0, len(self._samples) - 1 - RATE_SECONDS)]
        return _rate(series, first, self._samples[-1])

    def rates(self, series: str) -> list[float]:
        """Return the rate in each second of the history, oldest first."""
        return [round(_rate(series, one, next_), 1) for one, next_ in pairwise(self._samples)]

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again soon if lines were read since the last time: else there is little that could delay the loop."""
        before, self._lines = self._lines, self._accounts.lines_received
        due = loop.time() + (QUIET_TICK_SECONDS if self._lines == before else TICK_SECONDS)
        self._timer = loop.call_at(due, self._tick, loop, due)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._schedule(loop)
        now = loop.time()
        while self._lags and now - self._lags[0][0] >= LAG_WINDOW_SECONDS:
            self._lags.popleft()
        self._lags.append((now, max(0.0, now - due)))
        # Half a tick early is close enough; waiting for another tick would leave a gap.
        if now - self._samples[-1][0] >= 1 - TICK_SECONDS / 2:
            self._sample(now)

    def _sample(self, now: float) -> None:
        self._samples.append((now, {**acknowledged(self._accounts), LINES: self._accounts.lines_received}))


def acknowledged(accounts: Accounts) -> dict[str, int]:
    """Return the number of records that Kafka has acknowledged, by topic."""
    return {
        **{topic: accounts.published[topic] for topic in MARKET_DATA},
        Topic.CONTROL: accounts.announced,
        Topic.DLQ: accounts.dead_lettered.total(),
    }


def _rate(series: str, first: tuple[float, Mapping[str, int]], last: tuple[float, Mapping[str, int]]) -> float:
    return (last[1][series] - first[1][series]) / (last[0] - first[0])
