"""What happened to the connection with Aries lately, for people who look later: losses and gaps, with their times."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.errors import DisconnectCause

#: How many of each are kept.
MOST: Final = 50


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Note that connections were lost or did not come about, one after the other for the same reason (times in µs)."""

    first_us: int
    last_us: int
    times: int
    cause: DisconnectCause
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Note a time in which the feed was not heard (µs since the epoch; ``to_us`` None: it lasts)."""

    from_us: int
    to_us: int | None
    cause: DisconnectCause

    def seconds(self, now_us: int) -> float:
        """Return how long it was, or is by now; never below 0, whatever was done to the clock."""
        return max(0, (self.to_us or now_us) - self.from_us) / 1e6


class ConnectionHistory:
    """Keep the latest losses and gaps."""

    def __init__(self) -> None:
        self.disconnects: deque[Disconnect] = deque(maxlen=MOST)
        self.gaps: deque[Gap] = deque(maxlen=MOST)
        self.open_gap: Gap | None = None
        self._closed_seconds = 0.0
        self._goes_on = False

    def lost(self, cause: DisconnectCause, reason: str, now_us: int) -> None:
        """Note a loss; one like the last, without a session between, is told with that one."""
        if self._goes_on and (self.disconnects[-1].cause, self.disconnects[-1].reason) == (cause, reason):
            last = self.disconnects[-1]
            self.disconnects[-1] = replace(last, last_us=now_us, times=last.times + 1)
        else:
            self.disconnects.append(Disconnect(now_us, now_us, 1, cause, reason))
        self._goes_on = True

    def session_started(self) -> None:
        """Note that the next loss is a new one."""
        self._goes_on = False

    def begin_gap(self, from_us: int, cause: DisconnectCause) -> None:
        """Note that the feed was last heard then."""
        self.open_gap = Gap(from_us, None, cause)
        self.gaps.append(self.open_gap)

    def end_gap(self, to_us: int) -> Gap | None:
        """Note that the feed is heard again; return the gap that this ends, if there was one."""
        if self.open_gap is None:
            return None
        gap = replace(self.open_gap, to_us=to_us)
        self.gaps[-1], self.open_gap = gap, None
        self._closed_seconds += gap.seconds(to_us)
        return gap

    def gap_seconds(self, now_us: int) -> float:
        """Return how long the feed was not heard in all, the gap that lasts included."""
        return self._closed_seconds + (self.open_gap.seconds(now_us) if self.open_gap is not None else 0.0)
