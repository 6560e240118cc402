"""The rate limit of dead letters, for example when the vendor changes the format.

A few hundred dead letters of a kind show as much as a million, but each takes about ten times the CPU time of a valid
line, and space on the brokers.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from bridge import log_events

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

#: Dead letters per second in the long run: at 60 µs of CPU time each, 3 % of a core.
LETTERS_PER_SECOND: Final = 500
#: Dead letters at once, for example of a frame of bad lines, or one of every symbol after a reconnect.
MAX_BURST: Final = 1_000
#: A longer line counts as several: at most 2 MB per second, as redacting and sending take time by length.
BYTES_PER_LETTER: Final = 4_096
#: Interval at which the bucket is refilled, and not with each line: then a flood is written in one batch per second and
#: not in hundreds, each of which costs as much as a dozen letters. Beyond the limit one line of each reason is written
#: per interval, so that a new kind of error is visible in a flood.
INTERVAL_SECONDS: Final = 1.0
#: A flood has ended when nothing was beyond the limit for this time: it is logged once, not for every wave.
CALM_SECONDS: Final = 10.0


class DeadLetterLimit:
    """A token bucket for dead letters; it logs when a flood starts and ends. ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens = float(MAX_BURST)
        self._refilled_at = -math.inf
        #: The reasons of which a line was written beyond the limit in this interval.
        self._sampled: set[str] = set()
        #: The dropped lines of the current flood by reason; when it started, and when a line was last beyond the limit.
        self._dropped: Counter[str] = Counter()
        self._started_at: float | None = None
        self._beyond_at = 0.0

    def admits(self, reason: str, size: int) -> bool:
        """Return whether a line of ``size`` bytes may be written to the dead-letter topic."""
        now = self._clock()
        elapsed = now - self._refilled_at
        if elapsed >= INTERVAL_SECONDS:
            self._tokens = min(MAX_BURST, self._tokens + elapsed * LETTERS_PER_SECOND)
            self._refilled_at = now
            self._sampled.clear()
        if self._tokens >= 1:
            self._tokens -= 1 + size // BYTES_PER_LETTER  # an overdraft is paid back before the next one
            return True
        self._beyond_at = now
        if self._started_at is None:
            self._started_at = now
            log.warning(log_events.DEAD_LETTERS_LIMITED, reason=reason, limit_per_second=LETTERS_PER_SECOND)
        if reason not in self._sampled:
            self._sampled.add(reason)
            return True
        self._dropped[reason] += 1
        return False

    def check(self) -> None:
        """Log the end of a flood if it has ended."""
        if self._started_at is not None and self._clock() - self._beyond_at >= CALM_SECONDS:
            self.end()

    def end(self) -> None:
        """Log the end of a flood, if there is one: the process ends."""
        if self._started_at is None:
            return
        log.warning(
            log_events.DEAD_LETTERS_UNLIMITED,
            dropped=self._dropped.total(),
            dropped_by_reason=dict(self._dropped),
            seconds=round(self._beyond_at - self._started_at, 1),
        )
        self._started_at = None
        self._dropped.clear()
