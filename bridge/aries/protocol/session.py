"""One connection to Aries, sans-I/O: frames, tokens and the time go in, frames to send and session events come out.

It never awaits and never reads a clock. The client passes frames (``receive_some``), the time (``tick``, at the latest
when ``next_tick`` says) and tokens (``authenticate``, first of all once), sends what ``take_outgoing`` returns, and
closes the connection once ``lost`` is set. The session routes messages to the state machines of authentication,
subscribing and keep-alive.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from bridge.aries.protocol import refusals
from bridge.aries.protocol.authentication import Authentication
from bridge.aries.protocol.close_codes import HINTS
from bridge.aries.protocol.dialect import RequestIds, heartbeat_of
from bridge.aries.protocol.keep_alive import KeepAlive
from bridge.aries.protocol.messages import (
    Ack,
    AuthAccepted,
    AuthRejected,
    AuthRequired,
    Heartbeat,
    Message,
    Ping,
    Pong,
    RequestRejected,
)
from bridge.aries.protocol.ndjson import content, is_array, is_heartbeat, parse, split_array, split_lines
from bridge.aries.protocol.outgoing import Outgoing, Priority
from bridge.aries.protocol.session_events import Authenticated, DataMissing, DataStarted
from bridge.aries.protocol.subscribing import Subscribing
from bridge.errors import BadLine, ConnectionLost, DisconnectCause
from bridge.market_data import MARKET_STATUS, JsonObject, Line, Update

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.aries.protocol.authentication import Outcome
    from bridge.aries.protocol.dialect import Dialect
    from bridge.aries.protocol.keep_alive import Timing
    from bridge.aries.protocol.session_events import PongMissing, SessionEvent
    from bridge.aries.protocol.silence import SilencePolicy
    from bridge.aries.protocol.symbol_limit import SymbolLimit
    from bridge.aries.subscriptions import Plan

    #: Takes usual lines from the left of frames, given the offset of the first, and how many lines and bytes at most;
    #: returns how many lines it has taken, how many of them had data, and the offset in what is the first frame then.
    TakeLines = Callable[[deque[bytes], int, int, int], tuple[int, int, int]]

#: Lines (blank ones included) and bytes after which other tasks get their turn: some milliseconds of work, whatever a
#: read or a frame holds.
BATCH_LINES = 64
BATCH_BYTES = 512 * 1024
#: A connection that ends so soon after an error of the server ends because of it [A].
EXPLAINED_WITHIN_SECONDS = 10.0
#: Causes of a loss that say less than an error before it.
_UNEXPLAINED = (DisconnectCause.CLOSED, DisconnectCause.NETWORK)


class Session:
    """The state of one connection, from authentication to its end."""

    def __init__(
        self,
        dialect: Dialect,
        plan: Plan,
        timing: Timing,
        now: float,
        *,
        silence: SilencePolicy | None = None,
        limit: SymbolLimit | None = None,
    ) -> None:
        """Start a connection; ``silence`` and ``limit`` are what the connections before it have learnt of these."""
        self.lost: ConnectionLost | None = None
        self.keep_alive = KeepAlive(timing, pong_expected=dialect.pong_is_documented, now=now, silence=silence)
        self._dialect = dialect
        self._read_message = dialect.read
        self._decode_update = dialect.decode_update
        self._outgoing = Outgoing(timing.max_frames_per_second)
        self._events: list[SessionEvent] = []
        #: Whether something has happened since the last ``tick`` that changes what is due, and when.
        self.wants_tick = True
        #: The frame whose lines were handled only up to an offset, and that offset; the same of an array in a line.
        self._unfinished: bytes | None = None
        self._offset = 0
        self._array: bytes | None = None
        self._array_offset = 0
        self._request_ids = RequestIds()
        self._authentication = Authentication(now)
        self._subscribing = Subscribing(
            dialect, plan, self._request_ids, outgoing=self._outgoing, events=self._events, limit=limit
        )
        self.keep_alive.subscribed(self._subscribing.symbol_types(), now)
        self._rejected_count = 0
        #: When the server last sent an error that says more than the end of the connection would, its cause and text.
        self._refused: tuple[float, DisconnectCause, str] | None = None

    @property
    def authenticated(self) -> bool:
        """Return whether the server has accepted a token on this connection."""
        return self._authentication.authenticated

    @property
    def token_required(self) -> bool:
        """Return whether the client is to send a fresh token."""
        return self._authentication.token_required

    @property
    def subscribed_symbols(self) -> int:
        """Return how many symbols are requested and not rejected."""
        return self._subscribing.subscribed_symbols

    @property
    def rejected_symbols(self) -> set[str]:
        """Return the symbols whose subscription the server rejected."""
        return self._subscribing.rejected_symbols

    @property
    def has_pending_work(self) -> bool:
        """Return whether there are events or new frames to take, a token is required or the connection is lost."""
        return bool(self._events or self._outgoing.has_new or self.token_required or self.lost)

    def take_protocol_ping(self, now: float) -> bool:
        """Return whether to send a WebSocket ping, once for each; to be asked before frames are taken."""
        if self.keep_alive.protocol_ping_due and self._outgoing.take_place(now):
            return self.keep_alive.take_protocol_ping()
        return False

    def take_outgoing(self, now: float) -> list[bytes]:
        """Return the frames to send now, once; those beyond the rate wait for a later call."""
        return self._outgoing.take(now)

    def take_events(self) -> list[SessionEvent]:
        """Return the session events since the last call, oldest first, once."""
        events = self._events.copy()
        self._events.clear()
        return events

    # -- what the client does -----------------------------------------------------------------------------------

    def authenticate(self, token: str, now: float, token_life_seconds: float | None = None) -> None:
        """Send a token: at the start, and whenever ``token_required``.

        ``token_life_seconds``, if known, counts if the server does not say how long the session lasts. Raises
        ``SecretUnreadable``, and changes nothing, if the dialect sends another secret along that cannot be read.
        """
        self.wants_tick = True
        request_id = self._request_ids.next("auth")
        self._outgoing.add(self._dialect.auth(request_id, token), Priority.TOKEN)
        self._authentication.token_sent(request_id, now, token_life_seconds)

    def token_unavailable(self, now: float) -> None:
        """Require a token again later, as none is available now."""
        self.wants_tick = True
        self._authentication.token_unavailable(now)

    def replan(self, plan: Plan, now: float) -> None:
        """Change the subscriptions on the open connection, by the difference."""
        self.wants_tick = True
        self._subscribing.replan(plan, now)
        self.keep_alive.subscribed(self._subscribing.symbol_types(), now)

    def explain(self, lost: ConnectionLost, now: float) -> ConnectionLost:
        """Return the loss with the cause that the server named in an error shortly before, if it named one."""
        if self._refused is None or lost.cause not in _UNEXPLAINED:
            return lost
        refused_at, cause, error = self._refused
        if now - refused_at > EXPLAINED_WITHIN_SECONDS:
            return lost
        return ConnectionLost(cause, f"{lost.reason}, after the error: {error}", hint=HINTS[cause])

    @property
    def next_tick(self) -> float:
        """Return when ``tick`` and ``take_outgoing`` are to be called, unless ``wants_tick`` becomes true before."""
        if self.wants_tick:
            return -inf
        due = min(self._authentication.next_tick, self._subscribing.next_tick, self._outgoing.next_place_at)
        return min(due, self.keep_alive.next_tick) if self.authenticated else due

    def tick(self, now: float) -> None:
        """Do what is due at this time."""
        self.wants_tick = False
        if self.lost is not None:
            return
        self._handle(self._authentication.tick(now, self.keep_alive.last_data), now)
        self._subscribing.tick(now)
        if not self.authenticated:
            return
        if self._rejected_count != len(self.rejected_symbols):
            self._rejected_count = len(self.rejected_symbols)
            self.keep_alive.subscribed(self._subscribing.symbol_types(), now)
        if self.keep_alive.ping_due(now):
            self._outgoing.add(self._dialect.ping(self._request_ids.next("ping")), Priority.KEEP_ALIVE)
            self.keep_alive.ping_sent(now)
        found = self.keep_alive.check(now)
        self._handle(found, now)
        if isinstance(found, DataMissing):
            self._subscribing.subscribe_again(now)

    # -- what the server sends ----------------------------------------------------------------------------------

    def receive(self, frame: bytes, now: float) -> list[Line]:
        """Handle one frame; return its lines, each with its message."""
        frames, lines = deque((frame,)), []
        while frames:
            lines += self.receive_some(frames, now)[0]
        return lines

    def take_lines(self, frames: deque[bytes], take: TakeLines, max_lines: int, now: float) -> int:
        """Let the next lines be taken that only market data may be in; return how many were.

        Before the first data, and around an array, none is: ``receive_some`` is to handle the lines.
        """
        first, unfinished = frames[0], self._unfinished
        if self.keep_alive.first_data is None or first is self._array or (unfinished and unfinished is not first):
            return 0
        start = self._offset if unfinished else 0
        taken, data_lines, end = take(frames, start, max_lines, BATCH_BYTES)
        self._unfinished, self._offset = (frames[0], end) if end else (None, 0)
        if taken:
            self.keep_alive.frame_received(now)
        if data_lines:
            self.keep_alive.data_received(now)
        return taken

    def receive_some(  # noqa: C901 - a call for each frame is too expensive
        self, frames: deque[bytes], now: float, max_lines: int = BATCH_LINES
    ) -> tuple[list[Line], int]:
        """Handle a batch of lines; return them with their messages, and how many precede the first session event.

        The frames that were handled are taken from ``frames``. A batch ends with the line that has an event, with the
        frame that reaches ``max_lines`` or ``BATCH_BYTES``, or makes ``has_pending_work`` true; what is left of a frame
        stays there until all of its lines were handled. An array counts as one line.
        """
        self.keep_alive.frame_received(now)
        decode_update = _none if self.keep_alive.first_data is None else self._decode_update
        lines: list[Line] = []
        before_event, data_received = 0, False
        lines_left, bytes_left = max_lines, BATCH_BYTES
        while frames and lines_left > 0 and bytes_left > 0:
            frame, only_updates = frames.popleft(), True
            in_array = frame is self._array
            if in_array or frame is self._unfinished or b"\n" in frame:
                framed, size = self._split(frame, frames, max_lines)
                lines_left -= len(framed)
                bytes_left -= size
            else:
                lines_left -= 1  # its bytes are not counted: all such frames together are one read, or one long frame
                if (update := decode_update(frame)) is not None:  # as of nearly all
                    lines.append((frame, update))
                    data_received = True
                    before_event += 1
                    continue
                framed = [frame]
            for line in framed:
                message: Message | BadLine | None = decode_update(line)
                if message is not None:
                    data_received = True
                elif not (text := content(line)):
                    continue
                elif is_array(text) and not in_array and not is_heartbeat(text):
                    _leave_behind(line, framed, frames)
                    frames.appendleft(text)
                    self._array, self._array_offset = text, 0
                    break
                else:
                    message, only_updates = self._handle_line(text, now), False
                    if self._events and not in_array:  # the lines behind may belong to another session
                        before_event = len(lines)
                        _leave_behind(line, framed, frames)
                        lines.append((line, message))
                        break
                lines.append((line, message))
            if not only_updates and self.has_pending_work:
                break
            before_event = len(lines)
        if data_received:
            self.keep_alive.data_received(now)
        return lines, before_event

    def _split(self, frame: bytes, frames: deque[bytes], max_lines: int) -> tuple[list[bytes], int]:
        """Return the next lines of a frame, or of an array, and their size; if more are left, so is the frame."""
        if frame is self._array:
            start = self._array_offset
            framed, end = split_array(frame, start, BATCH_LINES, BATCH_BYTES)
            self._array, self._array_offset = (frame, end) if end < len(frame) else (None, 0)
        else:
            start = self._offset if frame is self._unfinished else 0
            framed, end = split_lines(frame, start, max_lines, BATCH_BYTES)
            self._unfinished, self._offset = (frame, end) if end < len(frame) else (None, 0)
        if end < len(frame):
            frames.appendleft(frame)
        return framed, end - start

    def _handle_line(self, text: bytes, now: float) -> Message | BadLine:
        if is_heartbeat(text):
            return Heartbeat()
        document: JsonObject = {}
        try:
            document = parse(text)
            message = self._read_message(document)
        except BadLine as error:
            if (heartbeat := heartbeat_of(document)) is None:
                return error
            message = heartbeat
        if type(message) is Update:
            return self._handle_update(message, now)
        self._handle_message(message, now)
        return message

    def _handle_update(self, update: Update, now: float) -> Update | BadLine:
        if not self.authenticated:
            self.wants_tick = True
            self._handle(self._authentication.accept_by_data(now), now)
        if not self.authenticated:
            return BadLine(
                "no_session", "market data was received before the session was authenticated", symbol=update.symbol
            )
        if update.kind is MARKET_STATUS:
            self.wants_tick = True  # data may be expected from now on
            self.keep_alive.market_status_received(update.fields, now)
        elif self.keep_alive.data_received(now):
            self._events.append(DataStarted())
        return update

    def _handle_message(self, message: Message, now: float) -> None:
        self.wants_tick = True
        authentication = self._authentication
        match message:
            case AuthAccepted(expires_in_seconds=seconds):
                self._handle(authentication.accept(seconds, now), now)
            case AuthRejected(error=error):
                self._handle(authentication.reject(error, now), now)
            case AuthRequired(seconds_left=seconds):
                authentication.require(seconds, now)
            case Pong():
                self.keep_alive.pong_received()
            case Ping(request_id=ping_id):
                self.keep_alive.ping_received()
                self._outgoing.add_pong(self._dialect.pong(ping_id), now)
            case Ack(request_id=str(request_id)) if authentication.is_answered_by(request_id):
                self._handle(authentication.accept(None, now), now)
            case Ack(request_id=request_id):
                self._subscribing.acknowledge(request_id, now)
            case RequestRejected(request_id=request_id, error=error) if authentication.is_answered_by(request_id):
                self._handle(authentication.reject(error, now), now)
            case RequestRejected():
                self._handle_rejection(message, now)

    def _handle_rejection(self, rejection: RequestRejected, now: float) -> None:
        if (cause := refusals.cause_of(rejection.error)) is not None:
            self._refused = now, cause, rejection.error
        self._subscribing.reject(rejection, now)

    def _handle(self, outcome: Outcome | PongMissing | DataMissing | None, now: float) -> None:
        """Act on what a state machine found; the first loss is the one that counts."""
        if isinstance(outcome, ConnectionLost):
            self.lost = self.lost or outcome
        elif outcome is not None:
            self._events.append(outcome)
        if not isinstance(outcome, Authenticated):
            return
        if not outcome.again:
            self.keep_alive.start(now)
        if outcome.expired or not outcome.again:
            self._subscribing.start(now)


def _leave_behind(line: bytes, framed: list[bytes], frames: deque[bytes]) -> None:
    """Put the lines behind one of a frame back, as frames."""
    place = next(place for place, one in enumerate(framed) if one is line)
    frames.extendleft(reversed(framed[place + 1 :]))


def _none(_: bytes) -> None:
    """Decode no line in one step, so that each is handled by the session."""
