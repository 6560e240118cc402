"""One client's session with the simulator: its requests, its authentication, its end."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
from websockets.exceptions import ConnectionClosed

from bridge.simulator import faults
from bridge.simulator.data_kinds import SymbolClass, symbol_class
from bridge.simulator.line_counts import LineCounts, LineLabel
from bridge.simulator.market_data_stream import MarketDataStream
from bridge.simulator.market_status import market_status_fields
from bridge.simulator.requests import (
    Authenticate,
    InvalidRequest,
    Json,
    Ping,
    Pong,
    ReceivedRequest,
    Request,
    Subscribe,
    SymbolRequest,
    Unsubscribe,
)
from bridge.simulator.send_queue import Outgoing
from bridge.simulator.server_dialect import AuthNotice
from bridge.simulator.session_expiry import SessionExpiry
from bridge.simulator.shared_state import ServerEvent, SharedState

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.queued_connection import QueuedConnection
    from bridge.simulator.server_dialect import PriceStyle, ServerDialect

_POLICY_VIOLATION: Final = 1008  # RFC 6455, section 7.4.1


class ServerSession:
    """A session: answers the client's requests, and owns the stream of market data for it.

    ``on_access_changed`` is called after every change of what the client may get or subscribed to.
    """

    def __init__(
        self,
        number: int,
        connection: QueuedConnection,
        dialect: ServerDialect,
        state: SharedState,
        *,
        prices: PriceStyle,
        on_access_changed: Callable[[ServerSession], None],
    ) -> None:
        self.number = number
        self.connection = connection
        self.dialect = dialect
        self.stream = MarketDataStream(connection, dialect, state, prices)
        self._state = state
        self._faults = state.active_faults
        self._on_access_changed = on_access_changed
        self._received_at: deque[float] = deque()  # the frames of the last second
        self._delayed_responses: list[asyncio.TimerHandle] = []
        self._expiry = SessionExpiry(
            on_warning=lambda: self._send_auth_notice(AuthNotice.REFRESH), on_expired=self._end_expired
        )

    def __repr__(self) -> str:
        return f"ServerSession(number={self.number}, dialect={self.dialect.name!r}, authenticated={self.authenticated})"

    @property
    def authenticated(self) -> bool:
        """Return whether the client is authenticated, and so gets market data."""
        return self.stream.enabled

    @property
    def sent(self) -> LineCounts:
        """Return the exact counts of what was written to this client."""
        return self.connection.sent

    async def run(self) -> None:
        """Serve the client until the connection ends."""
        self._close_if_cut_short("connected")
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self.connection.write_queue())
                await self._receive_messages()
                writer.cancel()
        finally:
            self._expiry.cancel()
            for timer in self._delayed_responses:
                timer.cancel()
            self.connection.skip_queue()

    def close(self, code: int, reason: str) -> None:
        """Close the connection after the data that is already queued."""
        self._report("closing", f"{code} {reason}".rstrip())
        self.connection.close(code, reason)

    def send_market_status(self) -> None:
        """Send the state of the market."""
        now = self._state.clock()
        status = market_status_fields(self._state.market_state, now)
        self._respond(self.dialect.market_status(status, now), "marketStatus")

    def send_ping(self, request_id: object) -> None:
        """Send an application ping, which the client is to answer."""
        self._respond(self.dialect.ping(request_id), "ping")

    # Requests

    async def _receive_messages(self) -> None:
        try:
            while True:
                message = await self.connection.receive()
                self._limit_frames()
                for line in message.split(b"\n"):
                    if line.strip():
                        self._receive_line(line)
        except ConnectionClosed as closed:
            self._report("connection ended", str(closed))

    def _limit_frames(self) -> None:
        limit = self._faults.find(faults.FrameLimit)
        now = asyncio.get_running_loop().time()
        self._received_at.append(now)
        while self._received_at[0] <= now - 1:
            self._received_at.popleft()
        if limit and len(self._received_at) > limit.frames:
            self.close(limit.code, limit.reason)

    def _receive_line(self, line: bytes) -> None:
        document: object = None
        try:
            document = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request: Request = InvalidRequest("message", "message is not JSON", None)
        else:
            request = self.dialect.parse_request(document)
        self._handle(request)
        self._state.record_request(ReceivedRequest(self.number, request, document))

    def _handle(self, request: Request) -> None:
        match request:
            case Ping():
                self._answer_ping(request)
            case Pong():
                pass  # it is recorded
            case Authenticate():
                self._authenticate(request)
            case InvalidRequest():
                self._reject(request)
            case _ if not self.authenticated:
                self._send_auth_notice(AuthNotice.REQUIRED)
            case Subscribe():
                self._subscribe(request)
            case Unsubscribe():
                self._unsubscribe(request)

    def _answer_ping(self, ping: Ping) -> None:
        no_pongs = self._faults.find(faults.NoPongs)
        if not (no_pongs and no_pongs.application):
            self._respond(self.dialect.pong(ping.request_id), "pong")

    def _reject(self, request: InvalidRequest) -> None:
        self._report("request rejected", request.problem)
        if request.action == "auth":
            self._reject_auth(request.request_id, request.problem)
        else:
            self._send_error(request.action, request.problem, request.request_id)

    # Authentication

    def _authenticate(self, request: Authenticate) -> None:
        if self._faults.take(faults.IgnoreAuth):
            self._report("authentication ignored")
            return
        late = self._faults.take(faults.LateAuth)
        if late:
            loop = asyncio.get_running_loop()
            self._delayed_responses.append(loop.call_later(late.delay_seconds, self._answer_auth, request))
        else:
            self._answer_auth(request)

    def _answer_auth(self, request: Authenticate) -> None:
        fault = self._faults.take(faults.RefuseAuth)
        problem = fault.error if fault else self._auth_problem(request)
        if problem is None:
            self._accept_auth(request)
            return
        self._report("authentication rejected", problem)
        self._reject_auth(request.request_id, problem)
        if fault and fault.close:
            self.close(_POLICY_VIOLATION, problem)

    def _auth_problem(self, request: Authenticate) -> str | None:
        api_key = self._state.configuration.api_key
        if api_key is not None and self.dialect.name == "action" and request.api_key != api_key:
            return "xAPIKey is required"
        return None if self._state.tokens.is_valid(request.token, self._state.clock()) else "authentication failed"

    def _accept_auth(self, request: Authenticate) -> None:
        configuration, now = self._state.configuration, self._state.clock()
        self._report("re-authenticated" if self.authenticated else "authenticated")
        self.stream.enabled = True
        self._state.authentications += 1
        for _ in range(2 if self._faults.take(faults.RepeatAuth) else 1):
            self._respond(self.dialect.auth_accepted(request.request_id, configuration.expires_in_seconds, now), "auth")
        self._expiry.restart(configuration.expires_in_seconds, configuration.warning_seconds, close=True)
        self.send_market_status()
        self._on_access_changed(self)
        self._close_if_cut_short("authenticated")

    def _reject_auth(self, request_id: str | None, error: str) -> None:
        self._respond(self.dialect.auth_rejected(request_id, error, self._state.clock()), "auth")

    def expire(self, warning_seconds: float, *, close: bool) -> None:
        """Warn now, and expire after ``warning_seconds`` unless the client authenticates again."""
        self._expiry.restart(warning_seconds, warning_seconds, close=close)

    def revoke_auth(self, notice: AuthNotice = AuthNotice.REQUIRED) -> None:
        """End the client's authentication, and send that it has ended."""
        self.stream.enabled = False
        self._send_auth_notice(notice)
        self._on_access_changed(self)

    def _end_expired(self, close: bool) -> None:  # noqa: FBT001 - a timer's callback
        self.revoke_auth(AuthNotice.EXPIRED)
        if close:
            self.close(_POLICY_VIOLATION, "session expired")

    def _send_auth_notice(self, notice: AuthNotice) -> None:
        self._report("sent", notice.value)
        self._respond(self.dialect.auth_notice(notice, self._state.clock()), "auth")

    # Subscriptions

    def _subscribe(self, request: Subscribe) -> None:
        problems = [self._subscription_problem(item) for item in request.items]
        problems = self._with_symbol_limit(request, problems)
        accepted = [item for item, problem in zip(request.items, problems, strict=True) if not problem]
        for item in accepted:
            self.stream.subscribe(item)
        self._report("subscribed", f"{len(accepted)} of {len(request.items)} symbols")
        for problem in dict.fromkeys(filter(None, problems)):
            self._send_error("subscribe", problem, request.request_id)
        if not any(problems):
            self._acknowledge("subscribe", request.request_id)
        self._on_access_changed(self)
        for item in accepted:
            self.stream.send_current_state(item)
        self._close_if_cut_short("subscribed")

    def _unsubscribe(self, request: Unsubscribe) -> None:
        for symbol, kinds in request.items:
            self.stream.unsubscribe(symbol, kinds)
        self._report("unsubscribed", f"{len(request.items)} symbols")
        self._acknowledge("unsubscribe", request.request_id)
        self._on_access_changed(self)

    def _with_symbol_limit(self, request: Subscribe, problems: list[str | None]) -> list[str | None]:
        """Return the problem of each symbol, if the symbols of the request exceed the limit."""
        limit = self._faults.find(faults.SymbolLimit)
        if limit is None:
            return problems
        subscribed = set(self.stream.subscriptions)
        beyond: list[bool] = []
        for item in request.items:
            beyond.append(item.symbol not in subscribed and len(subscribed) >= limit.symbols)
            subscribed |= set() if beyond[-1] else {item.symbol}
        if limit.whole and any(beyond):
            return [limit.error] * len(problems)
        return [limit.error if is_beyond else problem for is_beyond, problem in zip(beyond, problems, strict=True)]

    def _subscription_problem(self, item: SymbolRequest) -> str | None:
        fault = self._faults.take(faults.RefuseSymbol, lambda fault: fault.symbol == item.symbol)
        if fault:
            return f"{fault.error}: {item.symbol}"
        symbols = self._state.configuration.symbols
        if symbols is not None and item.symbol not in symbols:
            return f"unknown symbol: {item.symbol}"
        is_option = symbol_class(item.symbol) is SymbolClass.OPTION
        if item.symbol_class is not None and is_option != (item.symbol_class is SymbolClass.OPTION):
            return f"no such {item.symbol_class}: {item.symbol}"
        return None

    def _acknowledge(self, action: str, request_id: str | None) -> None:
        if not self._faults.take(faults.NoAcks):
            self._respond(self.dialect.ack(action, request_id), "ack")

    # Responses

    def _send_error(self, action: str, error: str, request_id: str | None) -> None:
        self._respond(self.dialect.error(action, error, request_id, self._state.clock()), "error")

    def _respond(self, document: Json, line_type: str) -> None:
        line = Outgoing(msgspec.json.encode(document), (LineLabel(line_type),))
        self.connection.send_response(line, is_pong=line_type == "pong")

    def _close_if_cut_short(self, stage: str) -> None:
        cut = self._faults.take(faults.CutShort, lambda fault: fault.stage == stage)
        if cut:
            self.close(cut.code, cut.reason)

    def _report(self, event: str, details: str = "") -> None:
        self._state.on_event(ServerEvent(event, self.number, details))
