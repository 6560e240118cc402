"""The reconnect policy: how long to wait before dialling again, by what went wrong.

websockets' own iterator resets its delay once the *handshake* works, so a refused token would loop without pause;
this reconnect policy is reset only by data that has flowed for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.backoff import Backoff
from bridge.errors import ConnectionLost, CredentialsRefused, DisconnectCause

if TYPE_CHECKING:
    import random

#: What waiting a little does not mend waits this much longer, at its shortest and at its longest.
SLOW = frozenset(
    {
        DisconnectCause.AUTH_REFUSED,
        DisconnectCause.TOKEN_REFUSED,
        DisconnectCause.EVICTED,
        DisconnectCause.THROTTLED,
        DisconnectCause.TOO_BIG,
    }
)
SLOWER = 4.0
#: A fixed token that is refused this often in a row will not be accepted.
FIXED_TOKEN_CHANCES = 3
#: The longest wait a server can ask for: beyond that its header is more likely wrong than meant.
MAX_RETRY_AFTER_SECONDS = 3600.0


class ReconnectPolicy:
    """Draw the delay before each reconnect."""

    def __init__(
        self,
        min_seconds: float,
        max_seconds: float,
        *,
        token_can_change: bool,
        rng: random.Random | None = None,
    ) -> None:
        self.refusals = 0
        self._token_can_change = token_can_change
        self._token_has_a_chance = token_can_change
        self._quick = Backoff(min_seconds, max_seconds, rng)
        self._slow = Backoff(min_seconds * SLOWER, max_seconds * SLOWER, rng)

    def delay_seconds(self, lost: ConnectionLost) -> float:
        """Return how long to wait after this loss; raise ``CredentialsRefused`` where waiting is in vain."""
        if lost.blames_token:
            self._note_refusal(lost)
            if self._token_has_a_chance:
                self._token_has_a_chance = False
                return 0.0  # a newer token may do; only a second refusal says that it does not
        delay = (self._slow if lost.cause in SLOW else self._quick).next_seconds()
        return delay + min(lost.retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS)

    def flowed(self, seconds: float) -> None:
        """Start over if data flowed for longer than the longest delay: then the last cause is history."""
        if seconds >= self._quick.max_seconds:
            self._quick.reset()
            self._token_has_a_chance = self._token_can_change
        if seconds >= self._slow.max_seconds:
            self._slow.reset()

    def accepted(self) -> None:
        """Note that the token was accepted; that alone makes no delay shorter."""
        self.refusals = 0

    def _note_refusal(self, lost: ConnectionLost) -> None:
        self.refusals += 1
        if not self._token_can_change and self.refusals >= FIXED_TOKEN_CHANCES:
            raise CredentialsRefused(self.refusals, lost.reason)
