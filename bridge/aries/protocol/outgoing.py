"""The frames that a connection has to send: never more than so many in any second, the urgent ones first.

Which rate the server takes is not known (protocol §8) [A]. A plan of thousands of symbols, or symbols that are rejected
one by one, would send hundreds of requests at once.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from math import inf
from typing import Final

#: More than a second, as frames that were sent within it may be received within less.
WINDOW_SECONDS: Final = 1.1
#: The server's pings that are answered are at most one in so many frames, so that a flood delays no request.
PONG_SHARE: Final = 4


class Priority(IntEnum):
    """Which frames go first."""

    TOKEN = 0
    KEEP_ALIVE = 1
    REQUEST = 2


class Outgoing:
    """The queue of frames of one connection, which hands them out by the clock."""

    def __init__(self, max_frames_per_second: int) -> None:
        #: Whether frames were added since the last were taken.
        self.has_new = False
        self._queues: tuple[deque[bytes], ...] = tuple(deque() for _ in Priority)
        self._sent = deque[float](maxlen=max_frames_per_second)  # when each of the newest frames was taken
        self._pongs = deque[float](maxlen=max(1, max_frames_per_second // PONG_SHARE))

    @property
    def requests_wait(self) -> bool:
        """Return whether requests were added that are not taken yet."""
        return bool(self._queues[Priority.REQUEST])

    def add(self, frame: bytes, priority: Priority = Priority.REQUEST) -> None:
        """Queue a frame behind those of its priority."""
        self._queues[priority].append(frame)
        self.has_new = True

    def add_pong(self, frame: bytes, now: float) -> None:
        """Queue the answer to a ping, unless so many were answered in the last second that this is a flood."""
        if _has_room(self._pongs, now):
            self._pongs.append(now)
            self.add(frame, Priority.KEEP_ALIVE)

    def withdraw(self, frame: bytes) -> bool:
        """Return whether a request was not taken yet, and so will not be."""
        try:
            self._queues[Priority.REQUEST].remove(frame)
        except ValueError:
            return False
        return True

    def take(self, now: float) -> list[bytes]:
        """Return the frames to send now, once."""
        self.has_new = False
        frames = []
        while (queue := next(filter(None, self._queues), None)) and self.take_place(now):
            frames.append(queue.popleft())
        return frames

    @property
    def next_place_at(self) -> float:
        """Return when a frame that waits may be sent: infinity if none waits, minus infinity if at once."""
        if not any(self._queues):
            return inf
        return -inf if len(self._sent) != self._sent.maxlen else self._sent[0] + WINDOW_SECONDS

    def take_place(self, now: float) -> bool:
        """Return whether a frame may be sent now, and count it as sent if so."""
        if not _has_room(self._sent, now):
            return False
        self._sent.append(now)
        return True


def _has_room(times: deque[float], now: float) -> bool:
    """Return whether another event may happen, as fewer than its maximum length happened in the last second."""
    return len(times) != times.maxlen or now - times[0] >= WINDOW_SECONDS
