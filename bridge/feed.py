"""The socket's shell: dial, keep alive, read without pause, and dial again.

Kafka never pauses this loop: what is read goes into the byte budget or into an account (see ``bridge.intake``).
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import CloseCode

import bridge
from bridge.aries import ending
from bridge.aries.session import Authenticated, Complaint, Flowing, Session, Subscribed, SubscriptionRefused
from bridge.chronicle import Chronicle
from bridge.clock import SessionIds, wall_us
from bridge.control import ControlKind
from bridge.errors import Cause, ConnectionLost, TokenUnavailable
from bridge.settings.secret import SecretUnreadable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bridge.aries.dialect import Dialect
    from bridge.aries.liveness import Timing
    from bridge.aries.session import Notice
    from bridge.control import Control
    from bridge.intake import Intake
    from bridge.ladder import Ladder
    from bridge.subscriptions import Plan
    from bridge.tokens import TokenSource

log = structlog.get_logger("bridge.feed")

T = TypeVar("T")

OPEN_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 2.0
SEND_TIMEOUT_SECONDS = 10.0
TICK_SECONDS = 0.1
#: A larger frame ends the connection with code 1009; the vendor names no limit.
MAX_FRAME_BYTES = 16 * 1024 * 1024
#: Frames handled before the loop gets to turn, where they come faster than we read.
FRAMES_PER_TURN = 32


class Feed:
    """Keep a session with Aries until cancelled."""

    def __init__(
        self,
        *,
        url: str,
        dialect: Dialect,
        timing: Timing,
        tokens: TokenSource,
        learn_secret: Callable[[str], None],
        ladder: Ladder,
        plan: Plan,
        intake: Intake,
        control: Control,
    ) -> None:
        self.state = "starting"
        self.reconnects: dict[Cause, int] = {}
        self.last_loss: ConnectionLost | None = None
        #: When the next connection is tried (µs since the epoch), while that is waited for.
        self.next_attempt_us: int | None = None
        self.chronicle = Chronicle()
        self.session: Session | None = None
        self.plan = plan
        self._url = url
        self._dialect = dialect
        self._timing = timing
        self._tokens = tokens
        self._learn_secret = learn_secret
        self._ladder = ladder
        self._intake = intake
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
        async with self._connection() as socket:
            session = self.session = Session(self._dialect, self.plan, self._timing, _now())
            self.state = "authenticating"
            self._authenticate(session, token)
            try:
                await self._converse(socket, session)
            finally:
                self._end(session)

    async def _converse(self, socket: ClientConnection, session: Session) -> None:
        """Run reader and timekeeper until one of them finds the connection lost."""
        wake = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep(socket, session, wake, tasks), name="aries timekeeper")
                tasks.create_task(self._read(socket, session, wake), name="aries reader")
        except BaseExceptionGroup as group:
            raise _loss(group) from None

    async def _read(self, socket: ClientConnection, session: Session, wake: asyncio.Event) -> None:
        intake = self._intake
        frames = 0
        while True:
            frame = await socket.recv(decode=False)
            self._heard_us = ingest_us = wall_us()
            lines = session.receive(frame, _now())
            if session.eventful:
                self._note_all(session)  # before the lines: their session may have begun in this very frame
                wake.set()
            for line in lines:
                intake.take(line, ingest_us)
            if session.lost is not None:
                raise session.lost
            frames += 1
            if frames % FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _keep(
        self, socket: ClientConnection, session: Session, wake: asyncio.Event, tasks: asyncio.TaskGroup
    ) -> None:
        """Do what is due by the clock, and send what the session wants sent: the reader never waits for that."""
        renewal: asyncio.Task[None] | None = None
        while True:
            session.tick(_now())
            self._note_all(session)
            if session.lost is not None:
                raise session.lost
            for frame in session.take_outgoing():
                await _taken(socket.send(frame, text=True))
            if session.liveness.take_ping():
                pong = await _taken(socket.ping())
                pong.add_done_callback(lambda done: _pong(session, done))  # type: ignore[attr-defined]  # a future
            if session.token_wanted and (renewal is None or renewal.done()):
                renewal = tasks.create_task(self._authenticate_again(session), name="aries token renewal")
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await wake.wait()
            wake.clear()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[ClientConnection]:
        """Open the socket, and close it within a deadline whatever happens."""
        try:
            socket = await connect(
                self._url,
                compression=None,  # about 4 µs a frame for little: frames are small
                max_size=MAX_FRAME_BYTES,
                max_queue=FRAMES_PER_TURN * 2,
                open_timeout=OPEN_TIMEOUT_SECONDS,
                close_timeout=CLOSE_TIMEOUT_SECONDS,
                ping_interval=None,  # keep-alive is the session's business
                user_agent_header=f"aries-bridge/{bridge.__version__}",
            )
        except (InvalidHandshake, InvalidURI, OSError, EOFError, TimeoutError) as error:
            raise _not_connected(error, self._url) from error
        try:
            yield socket
        finally:
            await _close(socket)

    # -- tokens -------------------------------------------------------------------------------------------------

    async def _token(self, *, fresh: bool) -> str:
        try:
            token = await self._tokens.token(fresh=fresh)
        except TokenUnavailable as error:
            cause = Cause.TOKEN_REFUSED if error.permanent else Cause.TOKEN
            raise ConnectionLost(cause, str(error), retry_after_seconds=error.retry_after_seconds) from error
        self._learn_secret(token)
        return token

    def _authenticate(self, session: Session, token: str) -> None:
        try:
            session.authenticate(token, _now())
        except SecretUnreadable as error:
            raise ConnectionLost(Cause.TOKEN, str(error)) from error

    async def _authenticate_again(self, session: Session) -> None:
        try:
            self._authenticate(session, await self._token(fresh=True))
        except ConnectionLost as error:
            log.warning("no new access token; the session goes on with the old one", reason=str(error))
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
                log.info("subscribed", symbols=symbols, refused=list(refused))
                self._control.announce(ControlKind.SUBSCRIBED, reason=f"{symbols} symbols, {len(refused)} refused")
                self._resume()
            case Flowing():
                self._resume()
            case SubscriptionRefused(symbol=symbol, error=error):
                log.error("Aries refused a symbol: remove it from the subscriptions", symbol=symbol, answer=error)
            case Complaint(error=error):
                log.warning("Aries reported an error", answer=error)

    def _note_authenticated(self, notice: Authenticated) -> None:
        if not notice.implied:
            self._ladder.accepted()
        if notice.again:
            log.info("authenticated again on the open socket", expires_in_seconds=notice.expires_in_seconds)
        else:
            self._start_session(notice)

    def _start_session(self, notice: Authenticated) -> None:
        session_id = self._session_ids.next()
        self._intake.start_session(session_id)
        self._control.session_id = session_id
        self.chronicle.session_started()
        self.state = "subscribing"
        log.info(
            "session started",
            session_id=session_id,
            dialect=self._dialect.name,
            symbols=len(self.plan),
            expires_in_seconds=notice.expires_in_seconds,
            answered=not notice.implied,
        )
        self._control.announce(ControlKind.SESSION_STARTED)

    def _resume(self) -> None:
        self.state = "streaming"
        now_us = wall_us()
        gap = self.chronicle.end_gap(now_us)
        if gap is not None:
            log.info("resumed after a gap", gap_seconds=round(gap.seconds(now_us), 3))
            self._control.announce(ControlKind.RESUMED, gap_from_us=gap.from_us, gap_to_us=gap.to_us)

    def _end(self, session: Session) -> None:
        self.session = None
        flowing = session.liveness
        if flowing.first_data is not None and flowing.last_data is not None:
            self._ladder.flowed(flowing.last_data - flowing.first_data)

    async def _wait_before_reconnect(self, lost: ConnectionLost) -> None:
        self.state = "waiting"
        self.last_loss = lost
        self.reconnects[lost.cause] = self.reconnects.get(lost.cause, 0) + 1
        self.chronicle.lost(lost.cause, lost.reason, wall_us())
        if lost.cause is Cause.AUTH_REFUSED:
            self._tokens.refused()
        if self._control.session_id is not None and self.chronicle.open_gap is None:
            self.chronicle.begin_gap(self._heard_us, lost.cause)
            self._control.announce(ControlKind.GAP, gap_from_us=self._heard_us, reason=f"{lost.cause}: {lost}")
        delay = self._ladder.delay_seconds(lost)
        log.warning("Aries connection lost", cause=lost.cause, reason=str(lost), retry_seconds=round(delay, 2))
        self.next_attempt_us = wall_us() + round(delay * 1e6)
        await asyncio.sleep(delay)
        self.next_attempt_us = None


def _not_connected(error: Exception, url: str) -> ConnectionLost:
    """Return why a connection did not come about, and what to do where we know."""
    host = urlsplit(url).netloc
    match error:
        case InvalidStatus(response=answer):
            retry_after = answer.headers.get("Retry-After")
            date = answer.headers.get("Date")
            return ending.refused_handshake(answer.status_code, urlsplit(url).path, retry_after, date)
        case ssl.SSLCertVerificationError(verify_message=reason):
            return ConnectionLost(
                Cause.NETWORK,
                f"the certificate of {host} was not accepted: {reason}. If an authority of your own signed it, "
                "name its certificate in SSL_CERT_FILE",
            )
        case TimeoutError():
            return ConnectionLost(Cause.NETWORK, f"{host} did not answer within {OPEN_TIMEOUT_SECONDS:g} s")
        case InvalidHandshake() | InvalidURI():
            return ConnectionLost(Cause.HANDSHAKE, f"{host} does not speak WebSocket: {error}")
    return ConnectionLost(Cause.NETWORK, f"{host} cannot be reached: {str(error) or type(error).__name__}")


def _loss(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what ended a conversation: anything unexpected first, as it must not pass for a lost connection."""
    losses = [_closed(error) if isinstance(error, ConnectionClosed) else error for error in group.exceptions]
    unexpected = [error for error in losses if not isinstance(error, ConnectionLost)]
    return (unexpected or losses)[0]


def _closed(error: ConnectionClosed) -> ConnectionLost:
    if error.sent is not None and not error.rcvd_then_sent:
        if error.sent.code == CloseCode.MESSAGE_TOO_BIG:
            return ConnectionLost(Cause.TOO_BIG, f"Aries sent a frame of more than {MAX_FRAME_BYTES} bytes")
        return ConnectionLost(Cause.NETWORK, f"Aries broke the WebSocket protocol: {error.sent.reason}")
    return ending.closed(error.rcvd.code, error.rcvd.reason) if error.rcvd else ending.closed(None, "")


async def _taken(sending: Awaitable[T]) -> T:
    """Wait until the socket has taken what is sent, but not for ever."""
    try:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            return await sending
    except TimeoutError:
        raise ConnectionLost(Cause.NETWORK, f"Aries took no data for {SEND_TIMEOUT_SECONDS:g} s") from None


async def _close(socket: ClientConnection) -> None:
    """Close the socket; where the closing handshake takes too long, break it off."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS + 1):
            await socket.close()
    except TimeoutError:
        socket.transport.abort()


def _pong(session: Session, done: asyncio.Future[float]) -> None:
    if not done.cancelled() and done.exception() is None:
        session.liveness.protocol_pong(_now())


def _now() -> float:
    return asyncio.get_running_loop().time()
