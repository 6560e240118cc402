"""Keep an access token valid by renewing it before it expires."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import structlog

from bridge import log_events
from bridge.errors import BridgeError, TokenUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.oauth.endpoint import Grant

log = structlog.get_logger(__name__)

#: The assumed lifetime of a grant without ``expires_in``.
ASSUMED_LIFETIME_SECONDS = 3600.0
#: A grant is renewed after this part of its lifetime, or when fewer than these seconds remain.
RENEW_AFTER = 0.8
MIN_REMAINING_SECONDS = 30.0
#: A younger grant is fresh: it is not replaced unless its token was rejected.
FRESH_SECONDS = 60.0
#: Minimum time before a grant is replaced that is not due; it doubles with each, up to the maximum, and starts again
#: after a grant that was kept for longer.
MIN_REPEAT_SECONDS = 30.0
MAX_REPEAT_SECONDS = 600.0


class RenewedTooOften(TokenUnavailable):
    """A renewal that is put off, as the last one was a moment ago."""

    def __init__(self, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"a new access token was rejected; the next is requested in {retry_after_seconds:.0f} s")


class CurrentGrant:
    """The newest grant, renewed before it expires; concurrent callers share one renewal.

    A renewal continues if its callers are cancelled: the server may have replaced the refresh token already, and only
    the response has the new one.
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
        self._grant: Grant | None = None
        self._obtained_at = self._obtained_at_steady = 0.0
        self._is_rejected = False
        self._repeat_seconds = MIN_REPEAT_SECONDS
        self._renewal: asyncio.Task[Grant] | None = None

    @property
    def expires_at(self) -> float | None:
        """Return when the current grant expires, in seconds since the epoch, None if unknown."""
        if self._grant is None or self._grant.lifetime_seconds is None:
            return None
        return self._obtained_at + self._grant.lifetime_seconds

    async def get(self, *, fresh: bool = False) -> Grant:
        """Return the current grant, renewed before if that is due, or if ``fresh`` and it was not renewed lately.

        If the renewal fails, return the current grant unless it was rejected or has expired; else raise the renewal's
        BridgeError. A rejected grant is returned until it may be replaced: a server that is in trouble rejects good
        tokens, too, and accepts them later. If it has expired, or a ``fresh`` one is needed, raise RenewedTooOften.
        """
        if self._is_rejected and self._age() < self._repeat_seconds:
            if fresh or self._grant is None or self._age() >= self._lifetime():
                raise RenewedTooOften(self._repeat_seconds - self._age())
            return self._grant
        keep_seconds = max(FRESH_SECONDS, self._repeat_seconds) if fresh else math.inf
        if self._grant is not None and not self._is_rejected and self._age() < min(self._renewal_age(), keep_seconds):
            return self._grant
        try:
            return await self._renewed()
        except BridgeError as error:
            if self._grant is None or self._is_rejected or self._age() >= self._lifetime():
                raise
            log.warning(log_events.TOKEN_REFRESH_FAILED, error=str(error))
            return self._grant

    def invalidate(self) -> None:
        """Replace the current grant as soon as that is allowed, because its token was rejected."""
        self._is_rejected = self._grant is not None

    async def _renewed(self) -> Grant:
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew_once(), name="token renewal")
            self._renewal.add_done_callback(self._on_renewal_done)
        return await asyncio.shield(self._renewal)

    async def _renew_once(self) -> Grant:
        # The lifetime is counted from before the request: it may end too early by the request's duration, never late.
        started_at, started_at_steady = self._clock(), self._steady_clock()
        is_renewal = self._grant is not None
        self._grant = await self._renew()
        is_repeat = is_renewal and self._age() < MAX_REPEAT_SECONDS + FRESH_SECONDS
        self._repeat_seconds = min(2 * self._repeat_seconds, MAX_REPEAT_SECONDS) if is_repeat else MIN_REPEAT_SECONDS
        self._is_rejected = False
        self._obtained_at, self._obtained_at_steady = started_at, started_at_steady
        return self._grant

    def _on_renewal_done(self, renewal: asyncio.Task[Grant]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # mark as retrieved, in case all callers were cancelled

    def _age(self) -> float:
        # The wall clock can be set back, and the monotonic one stops while the machine sleeps: take the greater age.
        return max(self._clock() - self._obtained_at, self._steady_clock() - self._obtained_at_steady)

    def _lifetime(self) -> float:
        if self._grant is None or self._grant.lifetime_seconds is None:
            return self._assumed_lifetime_seconds
        return self._grant.lifetime_seconds

    def _renewal_age(self) -> float:
        lifetime = self._lifetime()
        return min(RENEW_AFTER * lifetime, lifetime - MIN_REMAINING_SECONDS)
