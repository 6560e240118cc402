"""The latest disconnects from Aries and gaps in its data, with their times."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.errors import DisconnectCause

#: How many disconnects and how many gaps are kept.
MAX_ENTRIES: Final = 50


@dataclass(frozen=True, slots=True)
class Disconnect:
    """One or more consecutive disconnects, or failed attempts to connect, with the same reason (times in µs)."""

    first_us: int
    last_us: int
    times: int
    cause: DisconnectCause
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A period without data from Aries (µs since the epoch); ``to_us`` is None while it lasts."""

    from_us: int
    to_us: int | None
    cause: DisconnectCause

    def seconds(self, now_us: int) -> float:
        """Return the length so far; 0 if the clock was set back before its start."""
        return max(0, (self.to_us or now_us) - self.from_us) / 1e6


class ConnectionHistory:
    """The latest disconnects and gaps, and the length of all gaps together."""

    def __init__(self) -> None:
        self.disconnects: deque[Disconnect] = deque(maxlen=MAX_ENTRIES)
        self.gaps: deque[Gap] = deque(maxlen=MAX_ENTRIES)
        self.open_gap: Gap | None = None
        self._closed_seconds = 0.0
        self._is_repeat = False

    def lost(self, cause: DisconnectCause, reason: str, now_us: int) -> None:
        """Record a disconnect; if the last had the same reason and no session started since, count it with that one."""
        if self._is_repeat and (self.disconnects[-1].cause, self.disconnects[-1].reason) == (cause, reason):
            last = self.disconnects[-1]
            self.disconnects[-1] = replace(last, last_us=now_us, times=last.times + 1)
        else:
            self.disconnects.append(Disconnect(now_us, now_us, 1, cause, reason))
        self._is_repeat = True

    def session_started(self) -> None:
        """Record that the next disconnect is a new one."""
        self._is_repeat = False

    def begin_gap(self, from_us: int, cause: DisconnectCause) -> None:
        """Record that the last data came at ``from_us``."""
        self.open_gap = Gap(from_us, None, cause)
        self.gaps.append(self.open_gap)

    def end_gap(self, to_us: int) -> Gap | None:
        """Record that data came again; return the gap that this ends, if there was one."""
        if self.open_gap is None:
            return None
        gap = replace(self.open_gap, to_us=to_us)
        self.gaps[-1], self.open_gap = gap, None
        self._closed_seconds += gap.seconds(to_us)
        return gap

    def gap_seconds(self, now_us: int) -> float:
        """Return the length of all gaps so far, including an open one."""
        return self._closed_seconds + (self.open_gap.seconds(now_us) if self.open_gap is not None else 0.0)
