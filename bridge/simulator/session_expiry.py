"""The expiry of a session: a warning, then the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class SessionExpiry:
    """The timers of one session's expiry; ``on_expired`` is called with whether to close the connection."""

    def __init__(self, *, on_warning: Callable[[], None], on_expired: Callable[[bool], None]) -> None:
        self._on_warning = on_warning
        self._on_expired = on_expired
        self._timers: list[asyncio.TimerHandle] = []

    def restart(self, seconds: float, warning_seconds: float, *, close: bool) -> None:
        """Expire after ``seconds``, and warn ``warning_seconds`` before that: now, if both are equal."""
        self.cancel()
        loop = asyncio.get_running_loop()
        self._timers = [loop.call_later(seconds, self._on_expired, close)]
        if warning_seconds == seconds:
            self._on_warning()
        elif 0 < warning_seconds < seconds:
            self._timers.append(loop.call_later(seconds - warning_seconds, self._on_warning))

    def cancel(self) -> None:
        """Do not expire."""
        for timer in self._timers:
            timer.cancel()
