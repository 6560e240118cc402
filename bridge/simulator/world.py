"""What all sessions of one simulator share."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.simulator.status import MarketState
from bridge.simulator.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.changes import Changes
    from bridge.simulator.clocks import Clock
    from bridge.simulator.market import Market
    from bridge.simulator.requests import Request
    from bridge.simulator.standing import Standing
    from bridge.simulator.tokens import Tokens

#: How many requests are remembered; older ones are only counted.
_REMEMBERED: Final = 100_000


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """State how the server treats every session."""

    #: Only these symbols exist; None: every symbol does.
    symbols: frozenset[str] | None = None
    #: The action dialect's ``xAPIKey``, where one is asked for.
    api_key: str | None = None
    expires_in_seconds: float = 2700
    warning_seconds: float = 300
    close_on_expiry: bool = True
    partial: bool = False
    lines_per_frame: int = 1
    queue_bytes: int = 16 * 2**20


class Happening(msgspec.Struct, frozen=True):
    """Tell an onlooker what happened, to which session (None: to all)."""

    what: str
    session: int | None = None
    details: str = ""

    def __str__(self) -> str:
        who = "simulator" if self.session is None else f"connection {self.session}"
        return f"{who}: {self.what}{': ' if self.details else ''}{self.details}"


class Received(msgspec.Struct, frozen=True):
    """Hold one request as it was understood and as it came; the latter can hold a token and is not shown."""

    session: int
    request: Request
    document: object

    def __repr__(self) -> str:
        return f"Received(session={self.session}, request={self.request!r})"


@dataclass(kw_only=True)
class World:
    """Hold what the sessions look at and add to."""

    market: Market
    clock: Clock
    terms: Terms
    tokens: Tokens
    standing: Standing
    changes: Changes
    watch: Callable[[Happening], None]
    state: MarketState = MarketState.OPEN
    sent: Tally = field(default_factory=Tally)
    skipped: Tally = field(default_factory=Tally)
    received: deque[Received] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    authentications: int = 0
    received_counts: Counter[str] = field(default_factory=Counter)

    def note(self, received: Received) -> None:
        """Remember a request and wake those who wait for it."""
        self.received.append(received)
        self.received_counts[type(received.request).__name__] += 1
        self.changes.happened()
