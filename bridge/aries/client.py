"""The Aries client: connect, authenticate, keep alive, receive without pause, and reconnect.

Kafka never pauses this loop: what is received goes into the byte budget or an account (``bridge.pipeline.ingest``).
"""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from functools import partial
from math import inf
from typing import TYPE_CHECKING, TypeVar

import structlog
from websockets.exceptions import ConnectionClosed

from bridge import log_events
from bridge.aries import connect
from bridge.aries.connection import Connection
from bridge.aries.protocol.session import Session
from bridge.aries.protocol.session_events import (
    Authenticated,
    DataMissing,
    DataStarted,
    PongMissing,
    ServerError,
    Subscribed,
    SymbolLimitReached,
    SymbolRejected,
)
from bridge.aries.protocol.silence import SilencePolicy
from bridge.aries.protocol.symbol_limit import SymbolLimit
from bridge.aries.receiving import receiver
from bridge.capture.recorder import NoRecorder
from bridge.clock import SessionIds, wall_us
from bridge.errors import ConnectionLost, DisconnectCause, SecretUnreadable, TokenUnavailable
from bridge.observability.connection_history import ConnectionHistory
from bridge.pipeline.control_events import ControlKind
from bridge.tasks import wait_until_set

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from bridge.aries.access_token import TokenSource
    from bridge.aries.protocol.dialect import Dialect
    from bridge.aries.protocol.keep_alive import Timing
    from bridge.aries.protocol.session_events import SessionEvent
    from bridge.aries.receiving import Receiver
    from bridge.aries.reconnect import ReconnectPolicy
    from bridge.aries.subscriptions import Plan
    from bridge.capture.recorder import Recorder
    from bridge.pipeline.control_events import ControlEvents
    from bridge.pipeline.ingest import Ingest

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Shorter waits are not worth a timer, as uvloop counts whole milliseconds.
MIN_TICK_SECONDS = 0.001
#: Symbols that a log line names; all of them are counted.
MAX_LISTED_SYMBOLS = 10


class ClientState(StrEnum):
    """What the client is doing."""

    STARTING = "starting"
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    SUBSCRIBING = "subscribing"
    STREAMING = "streaming"
    WAITING = "waiting"  # for the next connection attempt
    STANDBY = "standby"  # without a shard, and so without a connection


class AriesClient:
    """The client that keeps a session with Aries until it is cancelled."""

    def __init__(
        self,
        *,
        url: str,
        cafile: Path | None = None,
        dialect: Dialect,
        timing: Timing,
        tokens: TokenSource,
        learn_secret: Callable[[str], None],
        reconnect_policy: ReconnectPolicy,
        plan: Plan,
        ingest: Ingest,
        control: ControlEvents,
        connection: type[Connection] = Connection,
        recorder: Recorder | None = None,
    ) -> None:
        self.state = ClientState.STARTING
        self.reconnects: dict[DisconnectCause, int] = {}
        self.last_loss: ConnectionLost | None = None
        #: Time of the next connection attempt (µs since the epoch), during the wait for it.
        self.next_attempt_us: int | None = None
        self.connection_history = ConnectionHistory()
        self.session: Session | None = None
        self.plan = plan
        self._url = url
        self._cafile = cafile
        self._dialect = dialect
        self._timing = timing
        self._silence = SilencePolicy(timing.stale_after_seconds)
        self._symbol_limit = SymbolLimit()
        #: Set when the session is to do something before its next tick is due.
        self._wake = asyncio.Event()
        self._tokens = tokens
        self._learn_secret = learn_secret
        self._reconnect_policy = reconnect_policy
        self._ingest = ingest
        self._control = control
        self._connection = connection
        self._recorder = recorder or NoRecorder()
        self._session_ids = SessionIds()
        self._ignored_life_logged = False
        #: When market data was last received, or what was missing before has ended (µs since the epoch).
        self._last_data_us = 0
        #: The time of reading of the messages that are handled at the moment (µs since the epoch): a gap that ends with
        #: one of them ends then, as their data has that time, too.
        self._reading_us: int | None = None
        #: The next session must be larger: those of the former owners of our shards.
        self.session_floor = 0
        #: Shards of which a gap was announced, and since when their data is missing (µs since the epoch).
        self._missing_since: dict[int, int] = {}

    def data_until_us(self, shard: int) -> int | None:
        """Return until when a shard's data was received, by its former owner if none was since; None if never."""
        return self._missing_since.get(shard, self._last_data_us) or None

    async def run(self) -> None:
        """Connect and reconnect until cancelled; raise ``CredentialsRefused`` if that cannot succeed."""
        while True:
            try:
                await self._connect()
            except ConnectionLost as lost:
                await self._wait_before_reconnect(lost)

    def replan(self, plan: Plan) -> None:
        """Change the subscriptions: on the open connection by the difference, or from the next one on."""
        self.plan = plan
        if self.session is not None:
            self.session.replan(plan, _now())
            self._wake.set()

    def claim(self, shard: int, gap_from_us: int | None, includes: Callable[[str], bool]) -> None:
        """Have another shard: on the open connection with a session of its own, or from the next one on.

        ``gap_from_us`` is since when its data is missing, ``includes`` returns whether a symbol belongs to it.
        """
        if gap_from_us is not None:
            self._missing_since[shard] = gap_from_us
        if self.session is not None and self.session.authenticated and self._control.has_session:
            session_id = self._session_ids.next(self.session_floor)
            self._ingest.start_session(session_id, includes)
            self._control.start_session(session_id, [shard])
            log.info(log_events.SESSION_STARTED, session_id=session_id, dialect=self._dialect.name, shard=shard)
            self._control.announce(ControlKind.SESSION_STARTED, shard=shard)

    def resume_claimed(self) -> None:
        """Announce that claimed shards have data again, where nothing had to be subscribed."""
        if self.state is ClientState.STREAMING:
            self._end_gap()

    def forget(self, shard: int) -> None:
        """Have a shard no more."""
        self._missing_since.pop(shard, None)

    def stand_by(self) -> None:
        """Note that there is no connection, as no shard is ours."""
        self.state = ClientState.STANDBY
        self.next_attempt_us = None
        self.connection_history.end_gap(wall_us())

    # -- one connection -----------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        self.state = ClientState.CONNECTING
        token = await self._token(fresh=False)
        socket = await connect.connect(self._url, self._connection, connect.OPEN_TIMEOUT_SECONDS, self._cafile)
        self._recorder.mark("connected")
        session = self.session = Session(
            self._dialect, self.plan, self._timing, _now(), silence=self._silence, limit=self._symbol_limit
        )
        self.state = ClientState.AUTHENTICATING
        try:
            self._authenticate(session, token)
            await self._run_connection(socket, session)
        finally:
            self._end_session(session)
            await connect.close(socket)

    async def _run_connection(self, socket: Connection, session: Session) -> None:
        """Receive and keep alive until one of the two finds that the connection is lost.

        Not in a TaskGroup: before Python 3.13 it forgets that it was cancelled if one of its tasks fails at the same
        time (CPython gh-116720), and a bridge that is being stopped would reconnect.
        """
        tasks = [
            asyncio.create_task(self._keep_alive(socket, session), name="aries keep-alive"),
            asyncio.create_task(self._receive(socket, session), name="aries receiver"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            errors = await _cancel_and_wait(*tasks)
        error = _primary_error(errors)
        raise session.explain(error, _now()) if isinstance(error, ConnectionLost) else error

    async def _receive(self, socket: Connection, session: Session) -> None:
        """Handle messages in the socket's own callback until the socket is closed or the session is lost."""
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        through = receiver(session, self._ingest, partial(self._handle_events, session))

        def on_messages(messages: deque[bytes]) -> None:
            try:
                self._on_messages(messages, session, through)
            except BaseException as error:  # noqa: BLE001 - raised again below, as it ends this task
                socket.discard()
                failed.set_exception(error)

        socket.listen(on_messages)
        closed = asyncio.create_task(socket.wait_closed())
        try:
            await asyncio.wait((failed, closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            socket.discard()
            closed.cancel()
        if failed.done():
            failed.result()
        raise socket.protocol.close_exc

    def _on_messages(self, messages: deque[bytes], session: Session, through: Receiver) -> None:
        ingest_us, before_us = wall_us(), self._last_data_us
        self._reading_us = ingest_us
        try:
            through.receive(messages, ingest_us, _now())
        finally:
            self._reading_us = None
        if session.keep_alive.data_in_frames:  # after the events: one may announce a gap since the data before
            is_same = self._last_data_us == before_us  # else one has ended a gap, before which the next must not begin
            self._last_data_us = ingest_us if is_same else max(ingest_us, self._last_data_us)
        if session.lost is not None:
            raise session.lost
        if session.wants_tick:
            self._wake.set()

    async def _keep_alive(self, socket: Connection, session: Session) -> None:
        """Do what is due and send the session's output, so that receiving never waits for sending."""
        renewal: asyncio.Task[None] | None = None
        try:
            while True:
                session.tick(_now())
                self._handle_events(session)
                if session.lost is not None:
                    raise session.lost
                await self._send(socket, session)
                if renewal is not None and renewal.done():
                    renewal.result()
                    renewal = None
                if session.token_required and renewal is None:
                    renewal = asyncio.create_task(self._reauthenticate(session), name="aries reauthentication")
                    renewal.add_done_callback(self._on_renewal)
                await self._wait_for_tick(session)
        finally:
            if renewal is not None:
                await _cancel_and_wait(renewal)

    def _on_renewal(self, _: asyncio.Task[None]) -> None:
        self._wake.set()

    async def _wait_for_tick(self, session: Session) -> None:
        """Wait until the session has something to do; a clock that ticks meanwhile would cost most of a quiet core."""
        seconds = max(session.next_tick - _now(), MIN_TICK_SECONDS)
        await wait_until_set(self._wake, seconds if seconds < inf else None)
        self._wake.clear()

    async def _send(self, socket: Connection, session: Session) -> None:
        if session.take_protocol_ping(_now()):
            pong = await self._send_with_timeout(socket.ping())
            pong.add_done_callback(lambda done: _on_protocol_pong(session, done))  # type: ignore[attr-defined]  # a future
        for frame in session.take_outgoing(_now()):
            await self._send_with_timeout(socket.send(frame, text=True))

    async def _send_with_timeout(self, sending: Awaitable[T]) -> T:
        """Wait until the socket has accepted the data, but not longer than for a pong."""
        timeout_seconds = self._timing.pong_timeout_seconds
        try:
            async with asyncio.timeout(timeout_seconds):
                return await sending
        except TimeoutError:
            raise ConnectionLost(
                DisconnectCause.NETWORK, f"Aries did not read from the connection for {timeout_seconds:g} s"
            ) from None

    # -- tokens -------------------------------------------------------------------------------------------------

    async def _token(self, *, fresh: bool) -> str:
        try:
            token = await self._tokens.token(fresh=fresh)
        except TokenUnavailable as error:
            cause = DisconnectCause.TOKEN_REFUSED if error.permanent else DisconnectCause.TOKEN
            raise ConnectionLost(cause, str(error), retry_after_seconds=error.retry_after_seconds) from error
        self._learn_secret(token)
        return token

    def _authenticate(self, session: Session, token: str) -> None:
        try:
            session.authenticate(token, _now(), self._token_life_seconds())
        except SecretUnreadable as error:
            raise ConnectionLost(DisconnectCause.TOKEN, str(error)) from error

    def _token_life_seconds(self) -> float | None:
        expires_at = self._tokens.expires_at
        return None if expires_at is None else max(0.0, expires_at - wall_us() / 1e6)

    async def _reauthenticate(self, session: Session) -> None:
        try:
            self._authenticate(session, await self._token(fresh=True))
        except ConnectionLost as error:
            log.warning(log_events.REAUTHENTICATION_FAILED, reason=str(error))
            session.token_unavailable(_now())

    # -- session events -----------------------------------------------------------------------------------------

    def _handle_events(self, session: Session) -> None:
        for event in session.take_events():
            self._handle_event(event)

    def _handle_event(self, event: SessionEvent) -> None:
        match event:
            case Authenticated():
                self._on_authenticated(event)
            case Subscribed(symbols=symbols, rejected=rejected):
                log.info(
                    log_events.SUBSCRIBED,
                    symbols=symbols,
                    refused=list(rejected[:MAX_LISTED_SYMBOLS]),
                    refused_symbols=len(rejected),
                )
                reason = f"{symbols} symbols, {len(rejected)} refused"
                self._control.announce_each(ControlKind.SUBSCRIBED, reason=reason)
                self._end_gap()
            case DataStarted():
                self._end_gap()
            case SymbolRejected(symbol=symbol, error=error):
                log.error(log_events.SYMBOL_REJECTED, symbol=symbol, answer=error)
            case SymbolLimitReached(served=served, left_out=left_out, error=error):
                log.error(
                    log_events.SYMBOL_LIMIT_REACHED,
                    answer=error,
                    served=served,
                    left_out=len(left_out),
                    symbols=list(left_out[:MAX_LISTED_SYMBOLS]),
                )
            case ServerError(error=error):
                log.warning(log_events.SERVER_ERROR, answer=error)
            case PongMissing(timeout_seconds=seconds):
                log.warning(log_events.PONG_MISSING, timeout_seconds=seconds)
            case DataMissing(quiet_seconds=seconds):
                log.warning(log_events.DATA_MISSING, quiet_seconds=round(seconds, 1))

    def _on_authenticated(self, event: Authenticated) -> None:
        if not event.implied:
            self._reconnect_policy.token_accepted()
        if event.ignored_life_seconds is not None and not self._ignored_life_logged:
            self._ignored_life_logged = True
            log.warning(log_events.LIFETIME_IGNORED, of="session", seconds=event.ignored_life_seconds)
        if event.expired:
            self._begin_gap(DisconnectCause.CLOSED, "the session expired on the open connection")
        if event.again and not event.expired:
            log.info(log_events.REAUTHENTICATED, expires_in_seconds=event.expires_in_seconds)
        else:
            self._start_session(event)

    def _start_session(self, event: Authenticated) -> None:
        if not self._control.has_session:
            self._last_data_us = wall_us()  # nothing was missed before the first session
        session_id = self._session_ids.next(self.session_floor)
        self._ingest.start_session(session_id)
        self._control.start_session(session_id)
        self._recorder.mark("session started", session_id=session_id)
        self.connection_history.session_started()
        self.state = ClientState.SUBSCRIBING
        log.info(
            log_events.SESSION_STARTED,
            session_id=session_id,
            dialect=self._dialect.name,
            symbols=len(self.plan),
            expires_in_seconds=event.expires_in_seconds,
            answered=not event.implied,
        )
        self._control.announce_each(ControlKind.SESSION_STARTED)

    def _end_session(self, session: Session) -> None:
        self.session = None
        self._recorder.mark("session ended")
        first_data, last_data = session.keep_alive.first_data, session.keep_alive.last_data
        if first_data is not None and last_data is not None:
            self._reconnect_policy.data_received_for(last_data - first_data)

    # -- gaps ---------------------------------------------------------------------------------------------------

    def _begin_gap(self, cause: DisconnectCause, reason: str) -> None:
        """Announce that data is missing since the last that was received, whenever and however that was noticed."""
        if self._control.has_session and self.connection_history.open_gap is None:
            self.connection_history.begin_gap(self._last_data_us, cause)
            self._control.announce_each(ControlKind.GAP, gap_from_us=self._last_data_us, reason=f"{cause}: {reason}")
            for shard, session_id in self._control.sessions.items():
                if session_id is not None:  # of one that was just claimed data is missing for longer
                    self._missing_since.setdefault(shard, self._last_data_us)
            self._recorder.incident("gap", f"{cause}: {reason}")

    def _end_gap(self) -> None:
        self.state = ClientState.STREAMING
        # The next gap must not begin before this one ends, even if the clock was set back.
        now_us = max(self._reading_us or wall_us(), self._last_data_us)
        gap = self.connection_history.end_gap(now_us)
        if gap is not None:
            self._last_data_us = now_us
            log.info(log_events.GAP_ENDED, gap_seconds=round(gap.seconds(now_us), 3))
        for shard, from_us in sorted(self._missing_since.items()):
            gap_to_us = max(now_us, from_us)  # the clock of the former owner may be ahead
            self._control.announce(ControlKind.RESUMED, shard=shard, gap_from_us=from_us, gap_to_us=gap_to_us)
        self._missing_since.clear()

    async def _wait_before_reconnect(self, lost: ConnectionLost) -> None:
        self.state = ClientState.WAITING
        self.last_loss = lost
        self.reconnects[lost.cause] = self.reconnects.get(lost.cause, 0) + 1
        self.connection_history.lost(lost.cause, str(lost), wall_us())
        self._recorder.mark("connection lost", cause=lost.cause, reason=str(lost))
        if lost.blames_token:
            self._tokens.invalidate()
        self._begin_gap(lost.cause, str(lost))
        delay_seconds = self._reconnect_policy.delay_seconds(lost)
        log.warning(
            log_events.CONNECTION_LOST, cause=lost.cause, reason=str(lost), retry_seconds=round(delay_seconds, 3)
        )
        self.next_attempt_us = wall_us() + round(delay_seconds * 1e6)
        await asyncio.sleep(delay_seconds)
        self.next_attempt_us = None


def _primary_error(errors: list[BaseException]) -> BaseException:
    """Return why a connection ended: an unexpected error first, as it must not be taken for a lost connection."""
    losses = [connect.closed(error) if isinstance(error, ConnectionClosed) else error for error in errors]
    unexpected = [error for error in losses if not isinstance(error, ConnectionLost)]
    return (unexpected or losses)[0]


async def _cancel_and_wait(*tasks: asyncio.Task[None]) -> list[BaseException]:
    """Cancel tasks and wait until they have ended; return the errors that they raised."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]


def _on_protocol_pong(session: Session, done: asyncio.Future[float]) -> None:
    if not done.cancelled() and done.exception() is None:
        session.keep_alive.protocol_pong_received(_now())


#: The clock of sessions: the loop's own, but not rounded to the milliseconds of its last iteration.
_now = time.monotonic
