"""The market data for all sessions: events at a rate or on demand, offered to every session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bridge.simulator.market_status import MarketState
from bridge.simulator.shared_state import ServerEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.simulator.market import MarketEvent
    from bridge.simulator.server_session import ServerSession
    from bridge.simulator.shared_state import SharedState

#: The number of events generated before the event loop gets to write them.
EVENTS_PER_TURN: Final = 200
_TICK_SECONDS: Final = 0.005
#: The most that is made up for after the process was too slow.
_MAX_CATCH_UP_SECONDS: Final = 0.25


class MarketFeed:
    """A source of market events at ``rate`` events per second for a changing list of sessions."""

    def __init__(self, state: SharedState, sessions: Sequence[ServerSession], rate: float) -> None:
        self.rate = rate
        self._state = state
        self._sessions = sessions

    async def run(self) -> None:
        """Generate events at the rate, none while the market is closed."""
        now_seconds = asyncio.get_running_loop().time
        before, due = now_seconds(), 0.0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = now_seconds()
            due = min(due + (now - before) * self.rate, max(1.0, self.rate * _MAX_CATCH_UP_SECONDS))
            before = now
            if self._state.market_state is not MarketState.CLOSED:
                for start in range(0, int(due), EVENTS_PER_TURN):
                    self.generate(min(EVENTS_PER_TURN, int(due) - start))
                    await asyncio.sleep(0)
            due %= 1

    def generate(self, events: int) -> int:
        """Generate a number of events, and return the number of lines queued."""
        market, now = self._state.market, self._state.clock
        lines = 0
        for _ in range(events):
            event = market.next_event(now())
            if event is None:
                break
            lines += self.send(event)
        return lines

    def send(self, event: MarketEvent) -> int:
        """Send an event to every session that subscribed to it, and return their number."""
        return sum([session.stream.send_event(event) for session in self._sessions])

    def set_market(self, state: MarketState) -> None:
        """Open or close the market, and send the market status to the authenticated clients."""
        self._state.market_state = state
        self._state.on_event(ServerEvent("market", None, state.value))
        for session in self._sessions:
            if session.authenticated:
                session.send_market_status()
