"""The simulator: a WebSocket server that behaves like Aries, and fails on demand."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Self

from websockets.asyncio.server import Server, serve
from websockets.protocol import State

from bridge.simulator.accepted_tokens import AcceptedTokens
from bridge.simulator.action_server_dialect import ActionServerDialect
from bridge.simulator.active_faults import ActiveFaults
from bridge.simulator.data_kinds import DataKind
from bridge.simulator.envelope_server_dialect import EnvelopeServerDialect
from bridge.simulator.fault_injection import FaultInjector
from bridge.simulator.feed_timestamps import wall_clock_ms
from bridge.simulator.market import Market, MarketEvent
from bridge.simulator.market_feed import EVENTS_PER_TURN, MarketFeed
from bridge.simulator.market_status import MarketState
from bridge.simulator.queued_connection import FaultInjectingConnection
from bridge.simulator.server_dialect import PATHS
from bridge.simulator.session_registry import SessionRegistry
from bridge.simulator.shared_state import ServerConfiguration, ServerEvent, SharedState

if TYPE_CHECKING:
    import ssl as tls
    from collections import Counter, deque
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from bridge.simulator.fault_script import Step
    from bridge.simulator.faults import Fault
    from bridge.simulator.feed_timestamps import Clock
    from bridge.simulator.line_counts import LineCounts
    from bridge.simulator.requests import ReceivedRequest, Request
    from bridge.simulator.server_dialect import DialectChoice, PriceStyle, ServerDialect
    from bridge.simulator.server_session import ServerSession

_CLOSE_TIMEOUT_SECONDS: Final = 1
_DRAIN_TIMEOUT_SECONDS: Final = 30


class Simulator:
    """A server that sends a simulated market to any number of clients while the context is open.

    ``symbols`` are the only ones that exist (default: every symbol does); ``rate`` is in events per second over
    all subscriptions, 0 for only what is sent by calls; ``prices`` default to the dialect's style; with
    ``level2_changes`` a level-2 message has only the rows that changed; ``tokens`` are
    the accepted ones (default: any); ``on_event`` is called with each event of the server. ``sent`` and ``skipped``
    count what was sent, ``received`` holds what was received; wait with ``connected``, ``authenticated``,
    ``subscribed``, ``requested`` or ``wait_for``.
    """

    def __init__(
        self,
        *,
        dialect: DialectChoice = "auto",
        host: str = "127.0.0.1",
        port: int = 0,
        symbols: Iterable[str] | None = None,
        seed: int = 0,
        rate: float = 0,
        lines_per_frame: int = 1,
        prices: PriceStyle | None = None,
        level2_changes: bool = False,
        market: MarketState = MarketState.OPEN,
        tokens: AcceptedTokens | Iterable[str] = (),
        api_key: str | None = None,
        expires_in_seconds: float = 2700,
        warning_seconds: float = 300,
        script: Sequence[Step] = (),
        envelope: EnvelopeServerDialect | None = None,
        action: ActionServerDialect | None = None,
        queue_bytes: int = 16 * 2**20,
        clock: Clock = wall_clock_ms,
        ssl: tls.SSLContext | None = None,
        on_event: Callable[[ServerEvent], None] | None = None,
    ) -> None:
        self._dialect = dialect
        self._host = host
        self._port = port
        self._ssl = ssl
        self._script = script
        self._state = SharedState(
            configuration=ServerConfiguration(
                symbols=None if symbols is None else frozenset(symbols),
                api_key=api_key,
                expires_in_seconds=expires_in_seconds,
                warning_seconds=warning_seconds,
                lines_per_frame=lines_per_frame,
                queue_bytes=queue_bytes,
            ),
            market=Market(seed=seed, level2_changes=level2_changes),
            market_state=market,
            clock=clock,
            tokens=tokens if isinstance(tokens, AcceptedTokens) else AcceptedTokens(*tokens),
            active_faults=ActiveFaults(lambda: asyncio.get_running_loop().time()),
            on_event=on_event or _ignore_event,
        )
        dialects: dict[str, ServerDialect] = {
            "envelope": envelope or EnvelopeServerDialect(),
            "action": action or ActionServerDialect(),
        }
        self._registry = SessionRegistry(self._state, dialects, dialect, prices)
        self._feed = MarketFeed(self._state, self._registry.live, rate)
        self._injector = FaultInjector(self._state, self._feed, self._registry.live)
        self._tasks: list[asyncio.Task[None]] = []
        self._server: Server | None = None

    # Life cycle

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._registry.serve,
            self._host,
            self._port,
            process_request=self._registry.answer_handshake,
            create_connection=FaultInjectingConnection,
            compression=None,
            ssl=self._ssl,
            open_timeout=None,  # a fault can delay the handshake
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT_SECONDS,
            logger=_quiet_logger(),
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        self._tasks = [asyncio.create_task(self._feed.run())]
        self._tasks += [asyncio.create_task(self._injector.run_step(step)) for step in self._script]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server = self._server
        assert server is not None
        self._registry.stop()
        self.active_faults.clear()
        for task in self._tasks:
            task.cancel()
        for connection in server.all_connections:
            if connection.state is State.CONNECTING:
                connection.transport.abort()
        server.close()
        await server.wait_closed()
        await _wait_for_cancelled(self._tasks)

    @property
    def port(self) -> int:
        """Return the port that the server listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Return the URL to connect to; for ``auto`` that of the envelope dialect."""
        return self.url_for("action" if self._dialect == "action" else "envelope")

    def url_for(self, dialect: str) -> str:
        """Return the URL to connect to for a dialect."""
        host = "127.0.0.1" if self._host in ("", "0.0.0.0", "::") else self._host  # noqa: S104 - it is compared
        bracketed = f"[{host}]" if ":" in host else host
        return f"{'wss' if self._ssl else 'ws'}://{bracketed}:{self._port}{PATHS[dialect]}"

    # Inspection

    @property
    def sessions(self) -> list[ServerSession]:
        """Return the live sessions in the order of their connections."""
        return self._registry.live

    @property
    def all_sessions(self) -> dict[int, ServerSession]:
        """Return all sessions since the start, by number."""
        return self._registry.by_number

    @property
    def sent(self) -> LineCounts:
        """Return exact counts of everything that was written, to all clients together."""
        return self._state.sent

    @property
    def skipped(self) -> LineCounts:
        """Return exact counts of what was not written, because a client was slow or gone, or of ``Silence``."""
        return self._state.skipped

    @property
    def received(self) -> deque[ReceivedRequest]:
        """Return the requests as received (the newest 100,000)."""
        return self._state.received

    @property
    def received_counts(self) -> Counter[str]:
        """Return the number of requests by type, such as ``Ping``, and of WebSocket pings as ``ping frame``."""
        return self._state.received_counts

    @property
    def tokens(self) -> AcceptedTokens:
        """Return the accepted tokens."""
        return self._state.tokens

    @property
    def active_faults(self) -> ActiveFaults:
        """Return the active lasting faults."""
        return self._state.active_faults

    @property
    def rate(self) -> float:
        """Return the rate of generated events per second; it can be set."""
        return self._feed.rate

    @rate.setter
    def rate(self, events_per_second: float) -> None:
        self._feed.rate = events_per_second

    # Waiting

    async def wait_for(
        self, predicate: Callable[[], object], *, what: str = "a condition", timeout_seconds: float = 10
    ) -> None:
        """Wait until a predicate of this simulator is true. Raise ``TimeoutError`` naming ``what``."""
        await self._state.changes.wait_for(predicate, timeout_seconds=timeout_seconds, what=what)

    async def connected(self, count: int = 1, *, timeout_seconds: float = 10) -> ServerSession:
        """Wait for the n-th connection since the start and return its session."""
        await self.wait_for(
            lambda: count in self.all_sessions, what=f"connection {count}", timeout_seconds=timeout_seconds
        )
        return self.all_sessions[count]

    async def authenticated(self, count: int = 1) -> None:
        """Wait for the n-th accepted authentication since the start."""
        await self.wait_for(lambda: self._state.authentications >= count, what=f"authentication {count}")

    async def subscribed(self, *symbols: str, timeout_seconds: float = 10) -> None:
        """Wait until live sessions are subscribed to all of these symbols."""
        await self.wait_for(
            lambda: all(self._registry.is_subscribed(symbol) for symbol in symbols),
            what=f"a subscription of {', '.join(symbols)}",
            timeout_seconds=timeout_seconds,
        )

    async def unsubscribed(self, *symbols: str) -> None:
        """Wait until no live session is subscribed to any of these symbols."""
        await self.wait_for(
            lambda: not any(self._registry.is_subscribed(symbol) for symbol in symbols),
            what=f"no subscription of {', '.join(symbols)}",
        )

    async def disconnected(self) -> None:
        """Wait until no session is live."""
        await self.wait_for(lambda: not self.sessions, what="the end of the last connection")

    async def requested(self, request_type: type[Request], count: int = 1) -> list[ReceivedRequest]:
        """Wait for the n-th request of a type since the start, and return all of that type."""
        name = request_type.__name__
        await self.wait_for(lambda: self.received_counts[name] >= count, what=f"{count} requests {name}")
        return [received for received in self.received if isinstance(received.request, request_type)]

    async def drained(self) -> None:
        """Wait until everything queued is written, or its client is gone."""
        await self.wait_for(
            lambda: all(session.connection.idle for session in self.sessions),
            what="the clients to read what was sent",
            timeout_seconds=_DRAIN_TIMEOUT_SECONDS,
        )

    # Sending by calls: each returns the number of clients once the lines are written

    async def quote(self, symbol: str, **fields: object) -> int:
        """Send a quote with only these fields; the digits of prices given as strings are sent unchanged."""
        return await self._send(DataKind.QUOTE, symbol, fields)

    async def trade(self, symbol: str, **fields: object) -> int:
        """Send a trade in the same way."""
        return await self._send(DataKind.TRADE, symbol, fields)

    async def time_and_sale(self, symbol: str, **fields: object) -> int:
        """Send a time-and-sales entry in the same way."""
        return await self._send(DataKind.TIME_AND_SALES, symbol, fields)

    async def level2(self, symbol: str, **fields: object) -> int:
        """Send ``orderBook`` and ``quotes`` rows in the same way."""
        return await self._send(DataKind.LEVEL2, symbol, fields)

    async def greeks(self, symbol: str, **fields: object) -> int:
        """Send an option's greeks in the same way."""
        return await self._send(DataKind.GREEKS, symbol, fields)

    async def _send(self, kind: DataKind, symbol: str, fields: dict[str, object]) -> int:
        self._state.market.instrument(symbol).merge_state(kind, fields)
        clients = self._feed.send(MarketEvent(kind, symbol, fields, {}, prices_as_given=True))
        await self.drained()
        return clients

    async def send_line(self, line: bytes) -> int:
        """Send any bytes as a line to every client."""
        clients = sum([session.stream.send_line(line) for session in self.sessions])
        await self.drained()
        return clients

    async def send_frame(self, data: bytes) -> int:
        """Send any bytes as a frame to every client."""
        clients = sum([session.stream.send_frame(data) for session in self.sessions])
        await self.drained()
        return clients

    async def emit(self, events: int) -> int:
        """Generate a number of market events, and return the number of lines sent."""
        lines = 0
        for start in range(0, events, EVENTS_PER_TURN):
            lines += self.burst(min(EVENTS_PER_TURN, events - start))
            await self.drained()
        return lines

    def burst(self, events: int) -> int:
        """Generate a number of market events at once, and return the number of lines queued."""
        return self._feed.generate(events)

    async def inject(self, fault: Fault, *sessions: ServerSession) -> None:
        """Inject a fault into these sessions, or else all; return when what it sends is written."""
        self.inject_nowait(fault, *sessions)
        await self.drained()

    def inject_nowait(self, fault: Fault, *sessions: ServerSession) -> None:
        """Inject a fault without waiting until what it sends is written."""
        self._injector.inject(fault, sessions)


def _ignore_event(_: ServerEvent) -> None:
    """Do nothing."""


def _quiet_logger() -> logging.Logger:
    """Return a logger for unexpected errors only: failed handshakes are expected here."""
    logger = logging.getLogger("bridge.simulator")
    logger.setLevel(logging.CRITICAL)
    return logger


async def _wait_for_cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for cancelled tasks. Raise the first error of a task that had failed before."""
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
