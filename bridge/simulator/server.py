"""The simulator: a WebSocket server that speaks as Aries does, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING, Final, Literal, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.protocol import State

from bridge.simulator import faults
from bridge.simulator.action import Action
from bridge.simulator.changes import Changes
from bridge.simulator.clocks import timestamp_writer, wall_clock_ms
from bridge.simulator.envelope import Envelope
from bridge.simulator.fields import Kind
from bridge.simulator.link import DeafConnection, Link
from bridge.simulator.market import Market, MarketEvent
from bridge.simulator.session import Session
from bridge.simulator.standing import Standing
from bridge.simulator.status import MarketState
from bridge.simulator.tokens import Tokens
from bridge.simulator.world import Happening, Received, Terms, World

if TYPE_CHECKING:
    import ssl as tls
    from collections import Counter, deque
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from websockets.http11 import Request as HandshakeRequest
    from websockets.http11 import Response

    from bridge.simulator.clocks import Clock, TimestampStyle
    from bridge.simulator.dialect import Dialect, PriceStyle
    from bridge.simulator.requests import Request
    from bridge.simulator.script import Step
    from bridge.simulator.tally import Tally

DialectName = Literal["auto", "action", "envelope"]

#: Where the real servers listen.
PATHS: Final = {"action": "/v1/marketdata/ws", "envelope": "/v1/market/ws"}
#: How often the events that are due are made.
_TICK_SECONDS: Final = 0.005
#: A simulator that could not keep up makes good at most this much.
_CATCH_UP_SECONDS: Final = 0.25
#: So many events are made before what they say is written.
_EVENTS_PER_TURN: Final = 200
_CLOSE_TIMEOUT_SECONDS: Final = 1


class Simulator:
    """Serve a made-up market to any number of clients while the context is open.

    ``symbols`` are the only ones that exist (default: all do); ``rate`` is in events per second over all that is
    followed, 0 for only what is sent by call; ``prices`` default to what the dialect does; ``tokens`` are the good
    ones (default: any); ``watch`` is told what happens. Read what was sent in ``sent`` and ``skipped``, what came in
    ``received``; wait with ``connected``, ``authenticated``, ``subscribed``, ``requested`` or ``wait_for``.
    """

    def __init__(
        self,
        *,
        dialect: DialectName = "auto",
        host: str = "127.0.0.1",
        port: int = 0,
        symbols: Iterable[str] | None = None,
        seed: int = 0,
        rate: float = 0,
        lines_per_frame: int = 1,
        prices: PriceStyle | None = None,
        timestamps: TimestampStyle = "iso",
        levels: int = 5,
        partial: bool = False,
        market: MarketState | str = MarketState.OPEN,
        tokens: Tokens | Iterable[str] = (),
        api_key: str | None = None,
        expires_in_seconds: float = 2700,
        warning_seconds: float = 300,
        close_on_expiry: bool = True,
        script: Sequence[Step] = (),
        envelope: Envelope | None = None,
        action: Action | None = None,
        queue_bytes: int = 16 * 2**20,
        clock: Clock = wall_clock_ms,
        ssl: tls.SSLContext | None = None,
        compression: str | None = None,
        watch: Callable[[Happening], None] | None = None,
    ) -> None:
        self.rate = rate
        self.connections: list[Session] = []
        self._dialect = dialect
        self._host = host
        self._port = port
        self._prices = prices
        self._script = script
        self._ssl = ssl
        self._compression = compression
        self._dialects: dict[str, Dialect] = {
            "envelope": envelope or Envelope(),
            "action": action or Action(),
        }
        self._world = World(
            market=Market(seed=seed, stamp=timestamp_writer(timestamps), levels=levels),
            clock=clock,
            terms=Terms(
                symbols=None if symbols is None else frozenset(symbols),
                api_key=api_key,
                expires_in_seconds=expires_in_seconds,
                warning_seconds=warning_seconds,
                close_on_expiry=close_on_expiry,
                partial=partial,
                lines_per_frame=lines_per_frame,
                queue_bytes=queue_bytes,
            ),
            tokens=tokens if isinstance(tokens, Tokens) else Tokens(*tokens),
            standing=Standing(lambda: asyncio.get_running_loop().time()),
            changes=Changes(),
            watch=watch or _nobody_watches,
            state=MarketState(market),
        )
        self._numbers = itertools.count(1)
        self._known: dict[int, Session] = {}
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._server: Server | None = None

    # Life

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._converse,
            self._host,
            self._port,
            process_request=self._answer_handshake,
            create_connection=DeafConnection,
            compression=self._compression,
            ssl=self._ssl,
            open_timeout=None,  # slowness is a fault of ours, not of the client's
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT_SECONDS,
            logger=_quiet_logger(),
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        self._tasks = [asyncio.create_task(self._run_market())]
        self._tasks += [asyncio.create_task(self._play(step)) for step in self._script]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server = self._server
        assert server is not None
        self._stopping.set()
        self.standing.clear()
        for task in self._tasks:
            task.cancel()
        for connection in server.all_connections:
            if connection.state is State.CONNECTING:
                connection.transport.abort()
        server.close()
        await server.wait_closed()
        await _ended(self._tasks)

    @property
    def port(self) -> int:
        """Return the port that is listened on."""
        return self._port

    @property
    def url(self) -> str:
        """Return where to connect; for ``auto`` in the envelope dialect."""
        return self.url_for("action" if self._dialect == "action" else "envelope")

    def url_for(self, dialect: str) -> str:
        """Return where to connect in one of the dialects."""
        host = "127.0.0.1" if self._host in ("", "0.0.0.0", "::") else self._host  # noqa: S104 - it is compared
        return f"{'wss' if self._ssl else 'ws'}://{host}:{self._port}{PATHS[dialect]}"

    # What can be looked at

    @property
    def sent(self) -> Tally:
        """Return exact counts of all that was written, to all clients together."""
        return self._world.sent

    @property
    def skipped(self) -> Tally:
        """Return exact counts of what was made for a client and not written: it was slow, gone, or met by silence."""
        return self._world.skipped

    @property
    def received(self) -> deque[Received]:
        """Return the requests as they came (the newest 100,000)."""
        return self._world.received

    @property
    def received_counts(self) -> Counter[str]:
        """Return how many requests there were by type, such as ``Ping``, and ``ping frame`` for WebSocket pings."""
        return self._world.received_counts

    @property
    def authentications(self) -> int:
        """Return how many times a token was accepted."""
        return self._world.authentications

    @property
    def tokens(self) -> Tokens:
        """Return the tokens that are taken."""
        return self._world.tokens

    @property
    def standing(self) -> Standing:
        """Return the lasting faults in force."""
        return self._world.standing

    # Waiting

    async def wait_for(
        self, holds: Callable[[], object], *, what: str = "a condition", timeout_seconds: float = 10
    ) -> None:
        """Wait until something holds of this simulator. Raise ``TimeoutError`` naming ``what``."""
        await self._world.changes.until(holds, timeout_seconds=timeout_seconds, what=what)

    async def connected(self, count: int = 1, *, timeout_seconds: float = 10) -> Session:
        """Wait for the n-th connection since the start and return it."""
        await self.wait_for(lambda: count in self._known, what=f"connection {count}", timeout_seconds=timeout_seconds)
        return self._known[count]

    async def authenticated(self, count: int = 1, *, timeout_seconds: float = 10) -> None:
        """Wait for the n-th accepted authentication since the start."""
        await self.wait_for(
            lambda: self.authentications >= count,
            what=f"authentication {count}",
            timeout_seconds=timeout_seconds,
        )

    async def subscribed(self, *symbols: str, kind: Kind | None = None, timeout_seconds: float = 10) -> None:
        """Wait until live connections are subscribed to all of these symbols (for a kind)."""
        await self.wait_for(
            lambda: all(self._is_subscribed(symbol, kind) for symbol in symbols),
            what=f"a subscription of {', '.join(symbols)}",
            timeout_seconds=timeout_seconds,
        )

    async def unsubscribed(self, *symbols: str, timeout_seconds: float = 10) -> None:
        """Wait until no live connection is subscribed to any of these symbols."""
        await self.wait_for(
            lambda: not any(self._is_subscribed(symbol, None) for symbol in symbols),
            what=f"no subscription of {', '.join(symbols)}",
            timeout_seconds=timeout_seconds,
        )

    async def disconnected(self, *, timeout_seconds: float = 10) -> None:
        """Wait until no connection is left."""
        await self.wait_for(
            lambda: not self.connections, what="the last connection's end", timeout_seconds=timeout_seconds
        )

    async def requested(self, kind: type[Request], count: int = 1, *, timeout_seconds: float = 10) -> list[Received]:
        """Wait for so many requests of a type since the start, and return all of that type."""
        await self.wait_for(
            lambda: self.received_counts[kind.__name__] >= count,
            what=f"{count} requests {kind.__name__}",
            timeout_seconds=timeout_seconds,
        )
        return [received for received in self.received if isinstance(received.request, kind)]

    async def drained(self, *, timeout_seconds: float = 30) -> None:
        """Wait until all that was to be sent is written (or its client is gone)."""
        await self.wait_for(
            lambda: all(session.link.idle for session in self.connections),
            what="the clients to take what was sent",
            timeout_seconds=timeout_seconds,
        )

    def _is_subscribed(self, symbol: str, kind: Kind | None) -> bool:
        kinds = [session.subscriptions.get(symbol, {}) for session in self.connections]
        return any(kind in has if kind else has for has in kinds)

    # Sending by call; each returns when the lines are written, and tells how many clients were sent to

    async def quote(self, symbol: str, **fields: object) -> int:
        """Send a quote with just these fields; prices given as text travel with just these digits."""
        return await self.update(Kind.QUOTE, symbol, **fields)

    async def trade(self, symbol: str, **fields: object) -> int:
        """Send a trade likewise."""
        return await self.update(Kind.TRADE, symbol, **fields)

    async def time_and_sale(self, symbol: str, **fields: object) -> int:
        """Send a time-and-sales entry likewise."""
        return await self.update(Kind.TIME_AND_SALES, symbol, **fields)

    async def level2(self, symbol: str, **fields: object) -> int:
        """Send ``orderBook`` and ``quotes`` rows likewise."""
        return await self.update(Kind.LEVEL2, symbol, **fields)

    async def greeks(self, symbol: str, **fields: object) -> int:
        """Send an option's greeks likewise."""
        return await self.update(Kind.GREEKS, symbol, **fields)

    async def update(self, kind: Kind, symbol: str, **fields: object) -> int:
        """Send an update of any kind to those who asked for it, and keep it as the current state."""
        self._world.market.instrument(symbol).keep(kind, fields)
        clients = self._offer(MarketEvent(kind, symbol, fields, {}, as_told=True))
        await self.drained()
        return clients

    async def send_line(self, line: bytes) -> int:
        """Send any bytes as a line to every client."""
        return await self._send_raw(lambda session: session.send_line(line))

    async def send_frame(self, data: bytes) -> int:
        """Send any bytes as a frame of their own to every client."""
        return await self._send_raw(lambda session: session.send_frame(data))

    async def _send_raw(self, send: Callable[[Session], bool]) -> int:
        clients = sum(send(session) for session in list(self.connections))
        await self.drained()
        return clients

    async def market_status(self, state: MarketState | str) -> None:
        """Open or close the market and tell everybody."""
        self.set_market(MarketState(state))
        await self.drained()

    async def emit(self, events: int) -> int:
        """Let so many market events happen now; return how many lines they made."""
        lines = 0
        for start in range(0, events, _EVENTS_PER_TURN):
            lines += self.burst(min(_EVENTS_PER_TURN, events - start))
            await self.drained()
        return lines

    async def inject(self, fault: faults.Fault, *sessions: Session) -> None:
        """Let a fault happen: to these sessions, else to all; return when what it sends is written."""
        self._inject(fault, sessions or tuple(self.connections))
        await self.drained()

    def burst(self, events: int) -> int:
        """Make so many market events at once, queueing what they say."""
        market, now = self._world.market, self._world.clock
        lines = 0
        for _ in range(events):
            event = market.next(now())
            if event is None:
                break
            lines += self._offer(event)
        return lines

    def set_market(self, state: MarketState) -> None:
        """Open or close the market; the authenticated clients are told."""
        self._world.state = state
        self._tell("market", state.value)
        for session in self.connections:
            if session.authenticated:
                session.tell_market_status()

    def _offer(self, event: MarketEvent) -> int:
        return sum([session.offer(event) for session in self.connections])

    def _inject(self, fault: faults.Fault, sessions: Sequence[Session]) -> None:
        self._tell("fault", faults.fault_name(fault))
        fault.befall(self, sessions)
        self._world.changes.happened()

    def _tell(self, what: str, details: str = "") -> None:
        self._world.watch(Happening(what, None, details))

    # Tasks

    async def _run_market(self) -> None:
        now_seconds = asyncio.get_running_loop().time
        before, due = now_seconds(), 0.0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = now_seconds()
            due = min(due + (now - before) * self.rate, max(1.0, self.rate * _CATCH_UP_SECONDS))
            before = now
            if self._world.state is not MarketState.CLOSED:
                for start in range(0, int(due), _EVENTS_PER_TURN):
                    self.burst(min(_EVENTS_PER_TURN, int(due) - start))
                    await asyncio.sleep(0)
            due %= 1

    async def _play(self, step: Step) -> None:
        await asyncio.sleep(step.at_seconds)
        self._inject(step.fault, tuple(self.connections))
        while step.every_seconds is not None:
            await asyncio.sleep(step.every_seconds)
            self._inject(step.fault, tuple(self.connections))

    # Connections

    async def _answer_handshake(self, connection: ServerConnection, request: HandshakeRequest) -> Response | None:
        slow = self.standing.take(faults.SlowAccept)
        if slow:
            await _wait_at_most(self._stopping, slow.by_seconds)
        path = request.path.partition("?")[0]
        refusal = self.standing.take(faults.Http, lambda fault: fault.path in (None, path))
        if refusal is None:
            return None
        self._tell("handshake refused", str(refusal.status))
        response = connection.respond(refusal.status, refusal.body)
        if refusal.retry_after is not None:
            response.headers["Retry-After"] = str(refusal.retry_after)
        if refusal.location is not None:
            response.headers["Location"] = refusal.location
        return response

    async def _converse(self, connection: ServerConnection) -> None:
        assert isinstance(connection, DeafConnection)
        assert connection.request is not None
        dialect = self._dialects[self._dialect_for(connection.request.path)]
        session = Session(
            next(self._numbers),
            Link(connection, self._world),
            dialect,
            self._world,
            prices=self._prices or dialect.prices,
            rights_changed=self._rights_changed,
        )
        self.connections.append(session)
        self._known[session.number] = session
        self._world.watch(Happening("connected", session.number, f"dialect {dialect.name}"))
        self._world.changes.happened()
        try:
            await session.run()
        finally:
            self.connections.remove(session)
            self._follow()
            self._world.changes.happened()

    def _dialect_for(self, path: str) -> str:
        if self._dialect != "auto":
            return self._dialect
        return "envelope" if path.partition("?")[0] == PATHS["envelope"] else "action"

    def _rights_changed(self, session: Session) -> None:
        only = self.standing.find(faults.OneSession)
        if only and session.authenticated:
            for older in self.connections:
                if older.number < session.number:
                    older.close(only.code, only.reason)
        self._follow()
        self._world.changes.happened()

    def _follow(self) -> None:
        followed: dict[str, frozenset[Kind]] = {}
        for session in self.connections:
            if session.authenticated:
                for symbol, kinds in session.subscriptions.items():
                    followed[symbol] = followed.get(symbol, frozenset()) | kinds.keys()
        self._world.market.follow(followed)


def _nobody_watches(_: Happening) -> None:
    """Take notice of nothing."""


def _quiet_logger() -> logging.Logger:
    """Return a logger that says only what should not happen: refused handshakes are our business."""
    logger = logging.getLogger("bridge.simulator")
    logger.setLevel(logging.CRITICAL)
    return logger


async def _wait_at_most(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for cancelled tasks; raise the first error that one ended with instead."""
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
