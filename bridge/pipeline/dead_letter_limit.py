"""The rate limit of dead letters: what a vendor's change of format may cost.

Dead letters are for people to look at: some hundred of a kind tell as much as a million. A line becomes one in about
ten times the time of a good one, and fills ``aries.dlq`` and its brokers with what nobody reads.
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

#: Dead letters a second for as long as it takes: at 60 µs of CPU each, 3 % of a core.
LETTERS_PER_SECOND: Final = 500
#: Dead letters at once, as of a frame of bad lines, or one bad line of every symbol after a reconnect.
MAX_BURST: Final = 1_000
#: A longer line counts as several: 2 MB a second at most, as redacting a line and sending it cost by its length.
BYTES_PER_LETTER: Final = 4_096
#: The bucket is refilled so often, and not with each line: what is written of a flood is then one batch a second and
#: not some hundred, each of which costs as much as a dozen letters. Beyond the limit one line of each reason is written
#: in this time, so that a new kind of damage is seen in a flood.
INTERVAL_SECONDS: Final = 1.0
#: A flood has ended when nothing was beyond the limit for so long: it is logged as one, not with every wave.
CALM_SECONDS: Final = 10.0


class DeadLetterLimit:
    """A token bucket for dead letters; it logs when a flood starts and ends. ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens = float(MAX_BURST)
        self._refilled_at = -math.inf
        #: The reasons of which a line was written beyond the limit, in this interval.
        self._sampled: set[str] = set()
        #: The lines of the present flood that were not written, by reason; when it started, and was last beyond.
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
            self._tokens -= 1 + size // BYTES_PER_LETTER  # what is too much is paid back before the next one
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
