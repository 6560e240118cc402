"""The state that all sessions of one simulator share."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.simulator.change_notifier import ChangeNotifier
from bridge.simulator.line_counts import LineCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.accepted_tokens import AcceptedTokens
    from bridge.simulator.active_faults import ActiveFaults
    from bridge.simulator.feed_timestamps import Clock
    from bridge.simulator.market import Market
    from bridge.simulator.market_status import MarketState
    from bridge.simulator.requests import ReceivedRequest

#: How many requests are kept; older ones are only counted.
_MAX_RECEIVED: Final = 100_000


class ServerConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The rules and limits for every session."""

    #: The only symbols that exist; None: every symbol does.
    symbols: frozenset[str] | None
    #: The ``xAPIKey`` that the action dialect requires, if any.
    api_key: str | None
    expires_in_seconds: float
    warning_seconds: float
    lines_per_frame: int
    #: Market data is skipped for a client with this much data queued.
    queue_bytes: int


class ServerEvent(msgspec.Struct, frozen=True):
    """An event in the server, and the number of the session concerned (None: all of them)."""

    name: str
    session: int | None = None
    details: str = ""

    def __str__(self) -> str:
        source = "simulator" if self.session is None else f"connection {self.session}"
        return f"{source}: {self.name}{': ' if self.details else ''}{self.details}"


@dataclass(kw_only=True)
class SharedState:
    """What the sessions read and update together."""

    configuration: ServerConfiguration
    market: Market
    market_state: MarketState
    clock: Clock
    tokens: AcceptedTokens
    active_faults: ActiveFaults
    on_event: Callable[[ServerEvent], None]
    changes: ChangeNotifier = field(default_factory=ChangeNotifier)
    sent: LineCounts = field(default_factory=LineCounts)
    skipped: LineCounts = field(default_factory=LineCounts)
    received: deque[ReceivedRequest] = field(default_factory=lambda: deque(maxlen=_MAX_RECEIVED))
    received_counts: Counter[str] = field(default_factory=Counter)
    authentications: int = 0

    def record_request(self, received: ReceivedRequest) -> None:
        """Keep and count a request, and notify those who wait for it."""
        self.received.append(received)
        self.received_counts[type(received.request).__name__] += 1
        self.changes.notify()
