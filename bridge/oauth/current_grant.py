"""Hold an access token and renew it in good time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from bridge.errors import BridgeError
from bridge.observability import log_events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.oauth.endpoint import Grant

log = structlog.get_logger(__name__)

#: What a grant without ``expires_in`` is taken to last, where its user knows no better.
ASSUMED_LIFETIME_SECONDS = 3600.0
#: A grant is renewed when this part of its life is over, or when no more than these seconds are left.
RENEW_AFTER = 0.8
LAPSES_SOON_SECONDS = 30.0


class CurrentGrant:
    """Hold the newest grant and renew it in good time; callers who come during a renewal share it.

    A renewal goes on when its callers are cancelled: the server may have replaced the refresh token already,
    and the answer is then the only place where the new one stands.
    """

    def __init__(
        self,
        renew: Callable[[], Awaitable[Grant]],
        *,
        clock: Callable[[], float] = time.time,
        steady_clock: Callable[[], float] = time.monotonic,
        assumed_lifetime_seconds: float = ASSUMED_LIFETIME_SECONDS,
    ) -> None:
        self._renew = renew
        self._clock = clock
        self._steady_clock = steady_clock
        self._assumed_lifetime_seconds = assumed_lifetime_seconds
        self._held: Grant | None = None
        self._obtained_at = self._obtained_at_steady = 0.0
        self._renewal: asyncio.Task[Grant] | None = None

    @property
    def expires_at(self) -> float | None:
        """Return when the held grant lapses, in seconds since the epoch, where the server told."""
        if self._held is None or self._held.lifetime_seconds is None:
            return None
        return self._obtained_at + self._held.lifetime_seconds

    async def get(self, *, fresh: bool = False) -> Grant:
        """Return the held grant, renewed first if it is due or if a ``fresh`` one is asked for.

        Where a renewal fails, a grant that has not lapsed serves on. Raises the BridgeError of the renewal.
        """
        if not fresh and self._held is not None and self._age() < self._renew_age():
            return self._held
        try:
            return await self._renewed()
        except BridgeError as error:
            if self._held is None or self._age() >= self._lifetime():
                raise
            log.warning(log_events.TOKEN_REFRESH_FAILED, error=str(error))
            return self._held

    def drop(self) -> None:
        """Forget the held grant: whoever it was shown to refuses it."""
        self._held = None

    async def _renewed(self) -> Grant:
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew_once(), name="token renewal")
            self._renewal.add_done_callback(self._renewal_ended)
        return await asyncio.shield(self._renewal)

    async def _renew_once(self) -> Grant:
        # The life counts from before the request: too early by its length, never too late.
        started_at, started_at_steady = self._clock(), self._steady_clock()
        self._held = await self._renew()
        self._obtained_at, self._obtained_at_steady = started_at, started_at_steady
        return self._held

    def _renewal_ended(self, renewal: asyncio.Task[Grant]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # seen, even when every caller is gone

    def _age(self) -> float:
        # The wall clock can be set back, the steady one stands while the machine sleeps: the later of them is right.
        return max(self._clock() - self._obtained_at, self._steady_clock() - self._obtained_at_steady)

    def _lifetime(self) -> float:
        if self._held is None or self._held.lifetime_seconds is None:
            return self._assumed_lifetime_seconds
        return self._held.lifetime_seconds

    def _renew_age(self) -> float:
        lifetime = self._lifetime()
        return min(RENEW_AFTER * lifetime, lifetime - LAPSES_SOON_SECONDS)
