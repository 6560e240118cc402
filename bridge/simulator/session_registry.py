"""The sessions of one simulator: the handshake that begins each of them, and which of them are live."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.simulator import faults
from bridge.simulator.chain_endpoint import ChainEndpoint
from bridge.simulator.queued_connection import FaultInjectingConnection, QueuedConnection
from bridge.simulator.server_dialect import PATHS
from bridge.simulator.server_session import ServerSession
from bridge.simulator.shared_state import ServerEvent
from bridge.tasks import wait_until_set

if TYPE_CHECKING:
    from collections.abc import Mapping

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from bridge.simulator.data_kinds import DataKind
    from bridge.simulator.feed_timestamps import Clock
    from bridge.simulator.server_dialect import DialectChoice, PriceStyle, ServerDialect
    from bridge.simulator.shared_state import SharedState


class SessionRegistry:
    """The live sessions in the order of their connections, and all sessions since the start by number."""

    def __init__(
        self,
        state: SharedState,
        dialects: Mapping[str, ServerDialect],
        dialect: DialectChoice,
        prices: PriceStyle | None,
        chain_clock: Clock | None = None,
    ) -> None:
        self.live: list[ServerSession] = []
        self.by_number: dict[int, ServerSession] = {}
        self._state = state
        self._dialects = dialects
        self._dialect = dialect
        self._prices = prices
        self._stopping = asyncio.Event()
        self.chain_endpoint = ChainEndpoint(state, self._stopping, chain_clock)

    def stop(self) -> None:
        """End the delays of handshakes."""
        self._stopping.set()

    async def answer_handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the answer to a request for a chain, the response of a fault, or None to accept the connection."""
        if (answer := await self.chain_endpoint.answer(request)) is not None:
            return answer
        slow = self._state.active_faults.take(faults.SlowAccept)
        if slow:
            await wait_until_set(self._stopping, slow.delay_seconds)
        path = _path(request)
        fault = self._state.active_faults.take(faults.Http, lambda fault: fault.path in (None, path))
        if fault is None:
            return None
        self._state.on_event(ServerEvent("handshake rejected", None, str(fault.status)))
        response = connection.respond(fault.status, fault.body)
        if fault.retry_after is not None:
            response.headers["Retry-After"] = str(fault.retry_after)
        if fault.location is not None:
            response.headers["Location"] = fault.location
        return response

    async def serve(self, connection: ServerConnection) -> None:
        """Run a session on a new connection."""
        assert isinstance(connection, FaultInjectingConnection)
        assert connection.request is not None
        dialect = self._dialects[self._dialect_name(connection.request)]
        session = ServerSession(
            len(self.by_number) + 1,
            QueuedConnection(connection, self._state),
            dialect,
            self._state,
            prices=self._prices or dialect.prices,
            on_access_changed=self._access_changed,
        )
        self.live.append(session)
        self.by_number[session.number] = session
        self._state.on_event(ServerEvent("connected", session.number, f"dialect {dialect.name}"))
        self._state.changes.notify()
        try:
            await session.run()
        finally:
            self.live.remove(session)
            self._update_market()
            self._state.changes.notify()

    def is_subscribed(self, symbol: str) -> bool:
        """Return whether a live session is subscribed to a symbol."""
        return any(session.stream.subscriptions.get(symbol) for session in self.live)

    def _dialect_name(self, request: Request) -> str:
        if self._dialect != "auto":
            return self._dialect
        return "envelope" if _path(request) == PATHS["envelope"] else "action"

    def _access_changed(self, session: ServerSession) -> None:
        limit = self._state.active_faults.find(faults.OneSession)
        if limit and session.authenticated:
            for other in self.live:
                if other.number < session.number:
                    other.close(limit.code, limit.reason)
        self._update_market()
        self._state.changes.notify()

    def _update_market(self) -> None:
        """Let the market generate what the authenticated clients subscribed to."""
        subscribed: dict[str, frozenset[DataKind]] = {}
        for session in self.live:
            if session.authenticated:
                for symbol, kinds in session.stream.subscriptions.items():
                    subscribed[symbol] = subscribed.get(symbol, frozenset()) | kinds.keys()
        self._state.market.set_subscriptions(subscribed)


def _path(request: Request) -> str:
    return request.path.partition("?")[0]
