"""The server's limit of symbols: it is found with few requests, and not searched for again in the next session.

The limit may be one of all symbols or of those in one request, and a request beyond it may be rejected whole or in part
(protocol §8) [A].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.aries.protocol.dialect import MAX_SYMBOLS_PER_REQUEST

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Set as AbstractSet

    from bridge.aries.subscriptions import Plan, Subscription

#: Requests that may be rejected during a search; then all that is left is left out.
MAX_REJECTIONS: Final = 30

#: After this time the limit may be another, as after an upgrade of the account.
FORGET_AFTER_SECONDS: Final = 6 * 3600.0


class SymbolLimit:
    """The symbols of a plan that are beyond the server's limit, over all connections of a client."""

    def __init__(self) -> None:
        self._beyond: frozenset[str] = frozenset()
        self._plan: Plan | None = None
        self._learnt_at = 0.0

    def learn(self, beyond: AbstractSet[str], plan: Plan, now: float) -> None:
        """Note that the server does not serve these symbols of a plan."""
        self._beyond, self._plan, self._learnt_at = frozenset(beyond), plan, now

    def beyond(self, plan: Plan, now: float) -> frozenset[str]:
        """Return the symbols of this plan that need not be tried; none of another plan, or after a long time."""
        if self._plan != plan or now - self._learnt_at >= FORGET_AFTER_SECONDS:
            return frozenset()
        return self._beyond


class LimitSearch:
    """A search for the limit by requests that are sent alone: whole at first, and then in halves.

    The queue of these requests is passed in. At its head are those that were sent together, so that the server may have
    accepted some of them already: while these are sent again, a rejected one waits behind them.
    """

    def __init__(self) -> None:
        self.active = False
        self.sent_together = 0  # of them, how many are still at the head of the queue
        self._waiting = 0  # of them, how many wait behind these
        self._is_whole = False  # whether the newest request was one of them
        self._rejections = 0
        self._smallest_rejected = MAX_SYMBOLS_PER_REQUEST + 1
        self._max_symbols = MAX_SYMBOLS_PER_REQUEST

    def take(self, queue: deque[tuple[Subscription, ...]]) -> tuple[Subscription, ...]:
        """Take the next request from the queue, of no more symbols than one may have, as far as that is known."""
        subscriptions = queue.popleft()
        self._is_whole, self.sent_together = self.sent_together > 0, max(0, self.sent_together - 1)
        if len(subscriptions) > self._max_symbols:
            queue.appendleft(subscriptions[self._max_symbols :])
        return subscriptions[: self._max_symbols]

    def accepted(self, symbols: int) -> None:
        """Note the number of symbols in a request that was accepted: that of a half may be the most one can have."""
        if symbols < self._smallest_rejected <= 2 * symbols:
            self._max_symbols = min(self._max_symbols, symbols)

    def is_over(self, *, certain: bool) -> bool:
        """Return whether a rejected request ends the search; ``certain``: it had one symbol."""
        self._rejections += not self._is_whole
        return not self._is_whole and (certain or self._rejections >= MAX_REJECTIONS)

    def queue_again(self, queue: deque[tuple[Subscription, ...]], subscriptions: tuple[Subscription, ...]) -> None:
        """Queue a rejected request again: its halves first, or itself behind those that were sent with it."""
        if self._is_whole:
            queue.insert(self.sent_together + self._waiting, subscriptions)
            self._waiting += 1
        else:
            self._smallest_rejected = min(self._smallest_rejected, len(subscriptions))
            queue.extendleft(reversed(halves(subscriptions)))


def halves(subscriptions: tuple[Subscription, ...]) -> tuple[tuple[Subscription, ...], ...]:
    """Split a request in two; the first half of one symbol is empty."""
    middle = len(subscriptions) // 2
    return subscriptions[:middle], subscriptions[middle:]
