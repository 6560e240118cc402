"""The reconnect policy: how long to wait before the next connection attempt, by the cause of the last loss.

The iterator of ``websockets.connect`` resets its delay once the *handshake* succeeds, so that a rejected token would
be sent again without a pause. This policy is reset only after data was received for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.backoff import Backoff
from bridge.errors import ConnectionLost, CredentialsRefused, DisconnectCause

if TYPE_CHECKING:
    import random

#: Causes that a short wait does not fix: their delays are longer by ``SLOW_FACTOR``.
SLOW = frozenset(
    {
        DisconnectCause.AUTH_REFUSED,
        DisconnectCause.TOKEN_REFUSED,
        DisconnectCause.EVICTED,
        DisconnectCause.CONNECTION_LIMIT,
        DisconnectCause.MAINTENANCE,
        DisconnectCause.THROTTLED,
        DisconnectCause.TOO_BIG,
    }
)
SLOW_FACTOR = 4.0
#: A fixed token that was rejected this often in a row is given up.
MAX_FIXED_TOKEN_REJECTIONS = 3
#: Maximum wait that a server can ask for.
MAX_RETRY_AFTER_SECONDS = 3600.0


class ReconnectPolicy:
    """The delay before each reconnect: two backoffs, one of them slow, and how often the token was rejected."""

    def __init__(
        self,
        min_seconds: float,
        max_seconds: float,
        *,
        token_can_change: bool,
        rng: random.Random | None = None,
    ) -> None:
        self.token_rejections = 0
        self._token_can_change = token_can_change
        self._retry_token_immediately = token_can_change
        self._fast = Backoff(min_seconds, max_seconds, rng)
        self._slow = Backoff(min_seconds * SLOW_FACTOR, max_seconds * SLOW_FACTOR, rng)

    def delay_seconds(self, lost: ConnectionLost) -> float:
        """Return how long to wait after this loss; raise ``CredentialsRefused`` if no wait can help."""
        if lost.blames_token:
            self._count_rejection(lost)
            if self._retry_token_immediately:
                self._retry_token_immediately = False
                return 0.0  # with a fresh token; only a second rejection shows that this does not help
        if lost.cause is DisconnectCause.STALE:
            self._fast.reset()  # the server answered all the time, and the patience with its silence grows by itself
        delay = (self._slow if lost.cause in SLOW else self._fast).next_seconds()
        return delay + min(lost.retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS)

    def data_received_for(self, seconds: float) -> None:
        """Start over after a session that received data for longer than the longest delay."""
        if seconds >= self._fast.max_seconds:
            self._fast.reset()
            self._retry_token_immediately = self._token_can_change
        if seconds >= self._slow.max_seconds:
            self._slow.reset()

    def token_accepted(self) -> None:
        """Reset the count of rejections; this alone makes no delay shorter."""
        self.token_rejections = 0

    def _count_rejection(self, lost: ConnectionLost) -> None:
        self.token_rejections += 1
        if not self._token_can_change and self.token_rejections >= MAX_FIXED_TOKEN_REJECTIONS:
            raise CredentialsRefused(self.token_rejections, lost.reason)
