"""What is known of the server's limit of symbols: it is found once, and not tried again in the next session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from bridge.aries.subscriptions import Plan

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
