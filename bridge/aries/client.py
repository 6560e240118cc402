"""The socket's shell: dial, keep alive, read without pause, and dial again.

Kafka never pauses this loop: what is read goes into the byte budget or into an account (``bridge.pipeline.ingest``).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import structlog
from websockets.exceptions import ConnectionClosed

from bridge import log_events
from bridge.aries import connect as dial
from bridge.aries.connection import Connection
from bridge.aries.protocol.session import Authenticated, Complaint, Flowing, Session, Subscribed, SubscriptionRefused
from bridge.clock import SessionIds, wall_us
from bridge.errors import ConnectionLost, DisconnectCause, SecretUnreadable, TokenUnavailable
from bridge.observability.connection_history import ConnectionHistory
from bridge.pipeline.control_events import ControlKind

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable

    from bridge.aries.access_token import TokenSource
    from bridge.aries.protocol.dialect import Dialect
    from bridge.aries.protocol.keep_alive import Timing
    from bridge.aries.protocol.session import Notice
    from bridge.aries.reconnect import ReconnectPolicy
    from bridge.aries.subscriptions import Plan
    from bridge.pipeline.control_events import ControlEvents
    from bridge.pipeline.ingest import Ingest

log = structlog.get_logger(__name__)

T = TypeVar("T")

TICK_SECONDS = 0.1


class AriesClient:
    """Keep a session with Aries until cancelled."""

    def __init__(
        self,
        *,
        url: str,
        dialect: Dialect,
        timing: Timing,
        tokens: TokenSource,
        learn_secret: Callable[[str], None],
        reconnect_policy: ReconnectPolicy,
        plan: Plan,
        ingest: Ingest,
        control: ControlEvents,
    ) -> None:
        self.state = "starting"
        self.reconnects: dict[DisconnectCause, int] = {}
        self.last_loss: ConnectionLost | None = None
        #: When the next connection is tried (µs since the epoch), while that is waited for.
        self.next_attempt_us: int | None = None
        self.connection_history = ConnectionHistory()
        self.session: Session | None = None
        self.plan = plan
        self._url = url
        self._dialect = dialect
        self._timing = timing
        self._tokens = tokens
        self._learn_secret = learn_secret
        self._reconnect_policy = reconnect_policy
        self._ingest = ingest
        self._control = control
        self._session_ids = SessionIds()
        self._heard_us = 0

    async def run(self) -> None:
        """Connect, stream, and connect again, for ever; raise ``CredentialsRefused`` where that is in vain."""
        while True:
            try:
                await self._connect_and_stream()
            except ConnectionLost as lost:
                await self._wait_before_reconnect(lost)

    def replan(self, plan: Plan) -> None:
        """Change what is subscribed to: on the live socket by the difference, or from the next one on."""
        self.plan = plan
        if self.session is not None:
            self.session.replan(plan, _now())

    # -- one connection -----------------------------------------------------------------------------------------

    async def _connect_and_stream(self) -> None:
        self.state = "connecting"
        token = await self._token(fresh=False)
        socket = await dial.dial(self._url, Connection)
        session = self.session = Session(self._dialect, self.plan, self._timing, _now())
        self.state = "authenticating"
        try:
            self._authenticate(session, token)
            await self._converse(socket, session)
        finally:
            self._end(session)
            await dial.hang_up(socket)

    async def _converse(self, socket: Connection, session: Session) -> None:
        """Run reader and timekeeper until one of them finds the connection lost.

        Not in a TaskGroup: before Python 3.13 it forgets that it was cancelled just when one of its tasks failed
        (CPython gh-116720), and a bridge that is told to stop would dial again.
        """
        wake = asyncio.Event()
        tasks = [
            asyncio.create_task(self._keep(socket, session, wake), name="aries timekeeper"),
            asyncio.create_task(self._read(socket, session, wake), name="aries reader"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            errors = await _ended(*tasks)
        raise _loss(errors)

    async def _read(self, socket: Connection, session: Session, wake: asyncio.Event) -> None:
        """Hear what comes, from the socket's own callback, until the socket ends or something comes of it."""
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def hear(messages: deque[bytes]) -> None:
            try:
                self._hear(messages, session, wake)
            except BaseException as error:  # noqa: BLE001 - raised again below: what goes wrong here ends the reader
                socket.listen(_ignore)
                failed.set_exception(error)

        socket.listen(hear)
        closed = asyncio.create_task(socket.wait_closed())
        try:
            await asyncio.wait((failed, closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            socket.listen(_ignore)
            closed.cancel()
        if failed.done():
            failed.result()
        raise socket.protocol.close_exc

    def _hear(self, messages: deque[bytes], session: Session, wake: asyncio.Event) -> None:
        self._heard_us = ingest_us = wall_us()
        lines, calm = session.receive_some(messages, _now())
        self._ingest.ingest(lines[:calm], ingest_us)
        if calm < len(lines):
            self._note_all(session)  # before the frame's own lines: their session may have begun in it
            wake.set()
            self._ingest.ingest(lines[calm:], ingest_us)
        if session.lost is not None:
            raise session.lost

    async def _keep(self, socket: Connection, session: Session, wake: asyncio.Event) -> None:
        """Do what is due by the clock, and send what the session wants sent: the reader never waits for that."""
        renewal: asyncio.Task[None] | None = None
        try:
            while True:
                session.tick(_now())
                self._note_all(session)
                if session.lost is not None:
                    raise session.lost
                await self._send(socket, session)
                if renewal is not None and renewal.done():
                    renewal.result()
                    renewal = None
                if session.token_wanted and renewal is None:
                    renewal = asyncio.create_task(self._authenticate_again(session), name="aries token renewal")
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK_SECONDS):
                        await wake.wait()
                wake.clear()
        finally:
            if renewal is not None:
                await _ended(renewal)

    async def _send(self, socket: Connection, session: Session) -> None:
        for frame in session.take_outgoing():
            await self._taken(socket.send(frame, text=True))
        if session.keep_alive.take_ping():
            pong = await self._taken(socket.ping())
            pong.add_done_callback(lambda done: _pong(session, done))  # type: ignore[attr-defined]  # a future

    async def _taken(self, sending: Awaitable[T]) -> T:
        """Wait until the socket has taken what is sent, but no longer than for a pong."""
        patience_seconds = self._timing.pong_timeout
        try:
            async with asyncio.timeout(patience_seconds):
                return await sending
        except TimeoutError:
            raise ConnectionLost(DisconnectCause.NETWORK, f"Aries took no data for {patience_seconds:g} s") from None

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

    async def _authenticate_again(self, session: Session) -> None:
        try:
            self._authenticate(session, await self._token(fresh=True))
        except ConnectionLost as error:
            log.warning(log_events.REAUTHENTICATION_FAILED, reason=str(error))
            session.postpone_authentication(_now())

    # -- what happened ------------------------------------------------------------------------------------------

    def _note_all(self, session: Session) -> None:
        for notice in session.take_notices():
            self._note(notice)

    def _note(self, notice: Notice) -> None:
        match notice:
            case Authenticated():
                self._note_authenticated(notice)
            case Subscribed(symbols=symbols, refused=refused):
                log.info(log_events.SUBSCRIBED, symbols=symbols, refused=list(refused))
                self._control.announce(ControlKind.SUBSCRIBED, reason=f"{symbols} symbols, {len(refused)} refused")
                self._resume()
            case Flowing():
                self._resume()
            case SubscriptionRefused(symbol=symbol, error=error):
                log.error(log_events.SYMBOL_REJECTED, symbol=symbol, answer=error)
            case Complaint(error=error):
                log.warning(log_events.SERVER_ERROR, answer=error)

    def _note_authenticated(self, notice: Authenticated) -> None:
        if not notice.implied:
            self._reconnect_policy.accepted()
        if notice.lapsed:
            self._begin_gap(self._last_data_us(), DisconnectCause.CLOSED, "the session had lapsed on the open socket")
        if notice.again and not notice.lapsed:
            log.info(log_events.REAUTHENTICATED, expires_in_seconds=notice.expires_in_seconds)
        else:
            self._start_session(notice)

    def _start_session(self, notice: Authenticated) -> None:
        session_id = self._session_ids.next()
        self._ingest.start_session(session_id)
        self._control.session_id = session_id
        self.connection_history.session_started()
        self.state = "subscribing"
        log.info(
            log_events.SESSION_STARTED,
            session_id=session_id,
            dialect=self._dialect.name,
            symbols=len(self.plan),
            expires_in_seconds=notice.expires_in_seconds,
            answered=not notice.implied,
        )
        self._control.announce(ControlKind.SESSION_STARTED)

    def _begin_gap(self, from_us: int, cause: DisconnectCause, reason: str) -> None:
        if self._control.session_id is not None and self.connection_history.open_gap is None:
            self.connection_history.begin_gap(from_us, cause)
            self._control.announce(ControlKind.GAP, gap_from_us=from_us, reason=f"{cause}: {reason}")

    def _last_data_us(self) -> int:
        """Return when market data came in last, if any did in this session."""
        last_data = self.session.keep_alive.last_data if self.session is not None else None
        return self._heard_us if last_data is None else wall_us() - round((_now() - last_data) * 1e6)

    def _resume(self) -> None:
        self.state = "streaming"
        now_us = self._heard_us = max(wall_us(), self._heard_us)  # the next gap begins no sooner than this one ends
        gap = self.connection_history.end_gap(now_us)
        if gap is not None:
            log.info(log_events.GAP_ENDED, gap_seconds=round(gap.seconds(now_us), 3))
            self._control.announce(ControlKind.RESUMED, gap_from_us=gap.from_us, gap_to_us=gap.to_us)

    def _end(self, session: Session) -> None:
        self.session = None
        flowing = session.keep_alive
        if flowing.first_data is not None and flowing.last_data is not None:
            self._reconnect_policy.flowed(flowing.last_data - flowing.first_data)

    async def _wait_before_reconnect(self, lost: ConnectionLost) -> None:
        self.state = "waiting"
        self.last_loss = lost
        self.reconnects[lost.cause] = self.reconnects.get(lost.cause, 0) + 1
        self.connection_history.lost(lost.cause, str(lost), wall_us())
        if lost.blames_token:
            self._tokens.invalidate()
        self._begin_gap(self._heard_us, lost.cause, str(lost))
        delay = self._reconnect_policy.delay_seconds(lost)
        log.warning(log_events.CONNECTION_LOST, cause=lost.cause, reason=str(lost), retry_seconds=round(delay, 3))
        self.next_attempt_us = wall_us() + round(delay * 1e6)
        await asyncio.sleep(delay)
        self.next_attempt_us = None


def _loss(errors: list[BaseException]) -> BaseException:
    """Return what ended a conversation: anything unexpected first, as it must not pass for a lost connection."""
    losses = [dial.closed(error) if isinstance(error, ConnectionClosed) else error for error in errors]
    unexpected = [error for error in losses if not isinstance(error, ConnectionLost)]
    return (unexpected or losses)[0]


async def _ended(*tasks: asyncio.Task[None]) -> list[BaseException]:
    """Cancel tasks and wait for their end; return the errors of those that had one."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]


def _ignore(messages: deque[bytes]) -> None:
    """Let go unread what comes while the connection ends."""
    messages.clear()


def _pong(session: Session, done: asyncio.Future[float]) -> None:
    if not done.cancelled() and done.exception() is None:
        session.keep_alive.protocol_pong(_now())


def _now() -> float:
    return asyncio.get_running_loop().time()
