"""What the last two minutes looked like: totals once a second, and how late the event loop was.

Timers of the loop itself, no task: what only watches must not be able to end what it watches.
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

#: How far back the history goes, and what a rate is the mean of.
HISTORY_SECONDS: Final = 120
RATE_SECONDS: Final = 10
#: How often the loop's lateness is looked at, and how long the worst is remembered.
TICK_SECONDS: Final = 0.25
LAG_SECONDS: Final = 15
LINES: Final = "lines"


class History:
    """Sample the accounts between :meth:`start` and :meth:`stop`."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._samples: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=HISTORY_SECONDS + 1)
        self._lags: deque[float] = deque(maxlen=round(LAG_SECONDS / TICK_SECONDS))
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take the first sample now."""
        loop = asyncio.get_running_loop()
        self._sample(loop.time())
        self._schedule(loop)

    def stop(self) -> None:
        """Take no more samples."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def lag_seconds(self) -> float:
        """Return by how much a timer of the loop was late at worst lately."""
        return max(self._lags, default=0.0)

    def rate(self, what: str) -> float:
        """Return how many of a topic's records, or lines, there were per second lately."""
        if len(self._samples) <= 1:
            return 0.0
        first = self._samples[max(0, len(self._samples) - 1 - RATE_SECONDS)]
        return _rate(what, first, self._samples[-1])

    def rates(self, what: str) -> list[float]:
        """Return the same for each second of the history, oldest first."""
        return [round(_rate(what, one, next_), 1) for one, next_ in pairwise(self._samples)]

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + TICK_SECONDS
        self._timer = loop.call_at(due, self._tick, loop, due)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._schedule(loop)
        now = loop.time()
        self._lags.append(max(0.0, now - due))
        # Half a tick early is near enough; a second late would make a hole.
        if now - self._samples[-1][0] >= 1 - TICK_SECONDS / 2:
            self._sample(now)

    def _sample(self, now: float) -> None:
        self._samples.append((now, {**settled(self._accounts), LINES: self._accounts.lines_received}))


def settled(accounts: Accounts) -> dict[str, int]:
    """Return how many records of each topic Kafka has acknowledged."""
    return {
        **{topic: accounts.published[topic] for topic in MARKET_DATA},
        Topic.CONTROL: accounts.announced,
        Topic.DLQ: accounts.dead_lettered.total(),
    }


def _rate(what: str, first: tuple[float, Mapping[str, int]], last: tuple[float, Mapping[str, int]]) -> float:
    return (last[1][what] - first[1][what]) / (last[0] - first[0])
