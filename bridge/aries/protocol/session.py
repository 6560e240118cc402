"""One connection to Aries as a state machine: what was received and what time it is go in; what to send comes out.

It never awaits and never reads a clock. Its shell feeds it with frames (``receive``), with the time (``tick``)
and with tokens (``authenticate``, the first of them before anything else), sends what ``take_outgoing`` returns, and
ends the connection once ``lost`` is set.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from bridge.aries.protocol.keep_alive import KeepAlive
from bridge.aries.protocol.messages import Ack, AuthAccepted, AuthRefused, AuthWanted, Event, Pong, RequestRefused
from bridge.aries.protocol.ndjson import cut, parse
from bridge.aries.protocol.rejected_symbol import symbol_named
from bridge.aries.subscriptions import difference
from bridge.errors import BadLine, ConnectionLost, DisconnectCause
from bridge.market_data import MARKET_STATUS, Line, Update

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from bridge.aries.protocol.dialect import Dialect, Request
    from bridge.aries.protocol.keep_alive import Timing
    from bridge.aries.subscriptions import Plan, Subscription

AUTH_TIMEOUT_SECONDS = 10.0
#: Part of a session's life after which it is authenticated again without having been asked to.
REAUTHENTICATE_AT = 0.8
#: … but never sooner after the last time, however often the server asks and however short a life it grants.
REAUTHENTICATE_PAUSE_SECONDS = 0.5
#: Whether subscriptions are acknowledged is not known: without a word they count as accepted after this.
SUBSCRIBE_GRACE_SECONDS = 5.0
#: Errors that name symbols of one request come together: when none has come for so long, the rest of
#: the request is asked for again.
MORE_NAMES_SECONDS = 0.5
#: Lines after which others get their turn: some milliseconds, whatever a read or a frame brings.
PORTION = 64
#: Refused requests that are tried again in part; a server that refuses more has another reason than a symbol.
MOST_HALVINGS = 1000


class Authenticated(msgspec.Struct, frozen=True):
    """Note that the session is authenticated; ``implied`` where data came without an answer.

    ``lapsed``: it comes too late to keep the session, so another begins; what was missed meanwhile is lost.
    """

    again: bool
    expires_in_seconds: float | None
    implied: bool = False
    lapsed: bool = False


class Subscribed(msgspec.Struct, frozen=True):
    """Note that all subscriptions are settled."""

    symbols: int
    refused: tuple[str, ...]


class Flowing(msgspec.Struct, frozen=True):
    """Note that the first market data of the session came in."""


class SubscriptionRefused(msgspec.Struct, frozen=True):
    """Note that the server does not give us a symbol."""

    symbol: str
    error: str


class Complaint(msgspec.Struct, frozen=True):
    """Note an error of the server's that is not about one symbol."""

    error: str


Notice = Authenticated | Subscribed | Flowing | SubscriptionRefused | Complaint


class Session:
    """Follow one connection from authentication to its end."""

    def __init__(self, dialect: Dialect, plan: Plan, timing: Timing, now: float) -> None:
        self.lost: ConnectionLost | None = None
        self.token_wanted = False
        self.authenticated = False
        self.refused_symbols: set[str] = set()
        self.keep_alive = KeepAlive(timing, pong_expected=dialect.pong_is_documented, now=now)
        self._dialect = dialect
        self._understand = dialect.read
        self._usual_update = dialect.update
        self._plan = plan
        self._outgoing: list[bytes] = []
        self._notices: list[Notice] = []
        self._numbers = count(1)
        self._auth_id: str | None = None  # of the authentication that is not answered yet
        self._asked_at = now
        self._reauthenticate_at: float | None = None
        self._auth_refusals = 0
        self._answered = False
        self._life_seconds: float | None = None
        self._token_life_seconds: float | None = None
        self._lapses_at: float | None = None
        self._unsettled: dict[str, Request] = {}
        self._settle_at: float | None = None
        self._refused_in_part: set[str] = set()  # ids of unsettled requests
        self._errors_due: Counter[str] = Counter()  # one for each time that a symbol was asked for
        self._ask_for_rest_at: float | None = None
        self._halvings = 0

    # -- what the shell does ------------------------------------------------------------------------------------

    def authenticate(self, token: str, now: float, life_seconds: float | None = None) -> None:
        """Send the token; the first time, and whenever ``token_wanted`` asked for one.

        ``life_seconds``: how long the token lasts, where that is known; it counts where the server does not say how
        long the session does. Raises ``SecretUnreadable`` where the dialect sends another secret along; then nothing
        was done.
        """
        request_id = self._next_id("auth")
        self._outgoing.append(self._dialect.auth(request_id, token))
        self._auth_id, self._asked_at = request_id, now
        self._token_life_seconds = life_seconds
        self._reauthenticate_at, self.token_wanted = None, False

    def postpone_authentication(self, now: float) -> None:
        """Ask for a token again later: there is none to be had just now."""
        self._reauthenticate_at, self.token_wanted = now + AUTH_TIMEOUT_SECONDS, False

    def receive(self, frame: bytes, now: float) -> list[Line]:
        """Return each line of a frame with what it says; session matters are dealt with on the way."""
        frames, lines = deque((frame,)), []
        while frames:
            lines += self.receive_some(frames, now)[0]
        return lines

    def receive_some(self, frames: deque[bytes], now: float) -> tuple[list[Line], int]:
        """Return a portion of the lines of frames with what they say, and how many come before anything eventful.

        What was taken from ``frames`` ends with the portion, or with the frame that made the session eventful; of a
        frame of very many lines the rest is left.
        """
        self.keep_alive.heard(now)
        usual_update = self._usual_update if self._flows else _none
        lines: list[Line] = []
        calm, flowed = 0, False
        while frames and calm < PORTION:
            frame, plain = frames.popleft(), True
            if b"\n" in frame:
                framed, rest = cut(frame, PORTION)
                if rest:
                    frames.appendleft(rest)
            else:
                framed = [frame]
            for line in framed:
                event: Event | BadLine | None = usual_update(line)
                if event is not None:
                    flowed = True
                elif line.strip():
                    event, plain = self._read(line, now), False
                else:
                    continue
                lines.append((line, event))
            if not plain and self.eventful:
                break
            calm = len(lines)
        if flowed:
            self.keep_alive.data(now)
        return lines, calm

    def tick(self, now: float) -> None:
        """Do what is due by the clock."""
        if self.lost is not None:
            return
        self._watch_authentication(now)
        self._ask_for_rest(now)
        self._settle_by_grace(now)
        if not self.authenticated:
            return
        if self.keep_alive.ping_due(now):
            self._outgoing.append(self._dialect.ping(self._next_id("ping")))
            self.keep_alive.pinged(now)
        self._lose(self.keep_alive.check(now))

    def replan(self, plan: Plan, now: float) -> None:
        """Ask for another set of subscriptions on the live socket, by the difference."""
        change = difference(self._plan, plan)
        self._plan = plan
        self.keep_alive.data_expected = bool(plan)
        if not self.authenticated or not change:
            return
        removed = change.removed_events if self._dialect.subscriptions_add_up else ()
        gone = (*removed, *change.unsubscribe)
        self._forget({one.symbol for one in (*change.subscribe, *gone)})
        self._outgoing += [request.frame for request in self._dialect.unsubscribe(gone, self._ids("unsub"))]
        self._subscribe(change.subscribe, now)

    @property
    def eventful(self) -> bool:
        """Return whether there is anything to take, to send or to give up."""
        return bool(self._notices or self._outgoing or self.token_wanted or self.lost)

    @property
    def _flows(self) -> bool:
        """Return whether market data has come in, so that more of it changes nothing about the session."""
        return self.authenticated and self.keep_alive.first_data is not None

    @property
    def subscribed_symbols(self) -> int:
        """Return how many symbols are asked for and not refused."""
        return len(self._plan) - len(self.refused_symbols)

    def take_outgoing(self) -> list[bytes]:
        """Return the frames to send, oldest first, once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def take_notices(self) -> list[Notice]:
        """Return what happened since the last call, once."""
        notices, self._notices = self._notices, []
        return notices

    # -- what lines say -----------------------------------------------------------------------------------------

    def _read(self, line: bytes, now: float) -> Event | BadLine:
        try:
            event = self._understand(parse(line))
        except BadLine as error:
            return error
        if type(event) is not Update:
            self._note(event, now)
        elif not (self.authenticated or self._is_accepted_by_data(now)):
            return BadLine("no_session", "market data came though no session was authenticated", symbol=event.symbol)
        elif event.kind is MARKET_STATUS:
            self.keep_alive.market(event.fields, now)
        elif self.keep_alive.data(now):
            self._notices.append(Flowing())
        return event

    def _note(self, event: Event, now: float) -> None:
        match event:
            case AuthAccepted(expires_in_seconds=seconds):
                self._accept(seconds, now)
            case AuthRefused(error=error):
                self._refuse_authentication(error, now)
            case AuthWanted(seconds_left=seconds):
                self._want_authentication(seconds, now)
            case Pong():
                self.keep_alive.pong()
            case Ack(request_id=request_id):
                self._acknowledge(request_id, now)
            case RequestRefused():
                self._refuse_request(event, now)

    # -- authentication -----------------------------------------------------------------------------------------

    def _accept(self, seconds: float | None, now: float) -> None:
        if self._auth_id is None and not self.authenticated:
            return  # a yes to what was not asked, or was refused
        self._auth_id = None
        self._auth_refusals = 0
        self._answered = True
        self._begin(seconds, now)

    def _is_accepted_by_data(self, now: float) -> bool:
        """Begin the session with its first data: nobody sends that to a stranger.

        The answer may come yet; if it never does, it had a shape we do not know.
        """
        if self._auth_id is None:
            return False
        self._begin(None, now, implied=True)
        return True

    def _begin(self, seconds: float | None, now: float, *, implied: bool = False) -> None:
        again, self.authenticated = self.authenticated, True
        lapsed = again and not implied and self._has_lapsed(now)
        self._expect_life(seconds, now)
        self._notices.append(Authenticated(again, seconds, implied, lapsed))
        if not again:
            self.keep_alive.live(now)
        if not again or lapsed:
            self._subscribe_all(now)

    def _expect_life(self, seconds: float | None, now: float) -> None:
        """Know when this session lapses: as long after now as the server says, or said the last time."""
        self._life_seconds = seconds or self._life_seconds
        self._lapses_at = None if self._life_seconds is None else now + self._life_seconds
        self._renew_in_time(now)

    def _renew_in_time(self, now: float) -> None:
        """Authenticate again before the session lapses; where nobody knows when, before the token does."""
        life_seconds = self._life_seconds or self._token_life_seconds
        self._reauthenticate_at = None
        if life_seconds is not None:
            self._reauthenticate_at = now + max(life_seconds * REAUTHENTICATE_AT, REAUTHENTICATE_PAUSE_SECONDS)

    def _has_lapsed(self, now: float) -> bool:
        return self._lapses_at is not None and now >= self._lapses_at

    def _want_authentication(self, seconds_left: float, now: float) -> None:
        if self.authenticated:
            self._lapses_at = min(now + seconds_left, self._lapses_at or float("inf"))
        if self._auth_id is None:  # otherwise what it asks for is on its way, as when it is a greeting
            self._reauthenticate_at = max(now, self._asked_at + REAUTHENTICATE_PAUSE_SECONDS)

    def _refuse_authentication(self, error: str, now: float) -> None:
        self._auth_id = None
        self._auth_refusals += 1
        if self._answered and self._lapses_at is None:
            # Nobody asked for another token, so the session goes on; a server that ends it will say so.
            self._notices.append(Complaint(error))
            self._renew_in_time(now)
        elif self.authenticated and self._auth_refusals == 1:
            self._reauthenticate_at = now  # the session still lives: try once with a newer token before giving it up
        else:
            self._lose(ConnectionLost(DisconnectCause.AUTH_REFUSED, f"Aries refused the access token: {error}"))

    def _watch_authentication(self, now: float) -> None:
        if self._auth_id is not None and now >= self._asked_at + AUTH_TIMEOUT_SECONDS:
            self._auth_id = None
            self._miss_answer(now)
        if self._reauthenticate_at is not None and now >= self._reauthenticate_at:
            self._reauthenticate_at = None
            self.token_wanted = True

    def _miss_answer(self, now: float) -> None:
        """Judge by the data whether a missing answer means no, or only had a shape we do not know."""
        if not self.authenticated or (self._has_lapsed(now) and not self._has_data_since_lapse()):
            waited = f"Aries did not answer the authentication request within {AUTH_TIMEOUT_SECONDS:g} s"
            self._lose(ConnectionLost(DisconnectCause.AUTH_TIMEOUT, waited))
        elif self._has_lapsed(now):
            self._begin(None, now, implied=True)
        elif self._lapses_at is not None:
            self._reauthenticate_at = now + AUTH_TIMEOUT_SECONDS
        else:
            self._renew_in_time(now)

    def _has_data_since_lapse(self) -> bool:
        last_data = self.keep_alive.last_data
        return last_data is not None and self._lapses_at is not None and last_data > self._lapses_at

    # -- subscriptions ------------------------------------------------------------------------------------------

    def _subscribe_all(self, now: float) -> None:
        self._forget(self._plan.keys())
        self.keep_alive.data_expected = bool(self._plan)
        self._subscribe(tuple(self._plan.values()), now)

    def _subscribe(self, subscriptions: Sequence[Subscription], now: float) -> None:
        for request in self._dialect.subscribe(subscriptions, self._ids("sub")):
            self._unsettled[request.request_id] = request
            self._outgoing.append(request.frame)
            self._errors_due.update(one.symbol for one in request.subscriptions)
        self._settle_at = now + SUBSCRIBE_GRACE_SECONDS
        self._settle()

    def _forget(self, symbols: Collection[str]) -> None:
        """Forget what was asked of these symbols before: late answers to that concern nobody."""
        self.refused_symbols.difference_update(symbols)
        if self._settle_at is None:
            self._unsettled.clear()  # what nobody answered in time, nobody will
        for request_id, request in self._unsettled.items():
            left = tuple(one for one in request.subscriptions if one.symbol not in symbols)
            self._unsettled[request_id] = msgspec.structs.replace(request, subscriptions=left)

    def _acknowledge(self, request_id: str | None, now: float) -> None:
        if request_id is not None and request_id == self._auth_id:
            self._accept(None, now)
        elif self._take_answered(request_id):
            self._settle()

    def _refuse_request(self, refusal: RequestRefused, now: float) -> None:
        if self._is_about_authentication(refusal):
            self._refuse_authentication(refusal.error, now)
        elif not self._refuse_by_name(refusal, now):
            self._refuse_whole(refusal, now)

    def _refuse_whole(self, refusal: RequestRefused, now: float) -> None:
        request = self._take_answered(refusal.request_id)
        if request is None:
            self._notices.append(Complaint(refusal.error))
        elif len(request.subscriptions) > 1 and self._halvings < MOST_HALVINGS:
            self._ask_by_halves(request.subscriptions, refusal.error, now)
        else:
            self._leave_out(request.subscriptions, refusal.error)

    def _is_about_authentication(self, refusal: RequestRefused) -> bool:
        if self._auth_id is None:
            return False
        return refusal.request_id == self._auth_id or (refusal.request_id is None and not self.authenticated)

    def _take_answered(self, request_id: str | None) -> Request | None:
        """Return the request that an answer means; one without an id means the oldest, if any answer is due [A]."""
        if request_id is None and self._settle_at is not None:
            request_id = next((one for one in self._unsettled if one not in self._refused_in_part), None)
        if request_id is None:
            return None
        self._refused_in_part.discard(request_id)
        return self._unsettled.pop(request_id, None)

    def _refuse_by_name(self, refusal: RequestRefused, now: float) -> bool:
        """Leave out the symbol that an error names; return False where it names none that an answer is due for."""
        symbol = symbol_named(refusal.error, self._plan)
        if symbol is None or self._halvings >= MOST_HALVINGS:
            return False
        for request in self._requests_due(refusal.request_id):
            if any(one.symbol == symbol for one in request.subscriptions):
                self._errors_due[symbol] -= 1
                self._leave_out_of(request, symbol, refusal.error, now)
                return True
        return self._is_said_again(symbol, refusal.error)

    def _is_said_again(self, symbol: str, error: str) -> bool:
        """Return whether an error is another answer about a refused symbol, which had been asked for again by then.

        As many of them can come as the symbol was asked for; one more has the symbol's name by chance, as a word.
        """
        again = symbol in self.refused_symbols and self._errors_due[symbol] > 0
        if again:
            self._errors_due[symbol] -= 1
            self._notices.append(Complaint(error))
        return again

    def _requests_due(self, request_id: str | None) -> list[Request]:
        """Return the requests, oldest first, that an answer can mean."""
        if request_id is None:
            return list(self._unsettled.values()) if self._settle_at is not None else []
        return [self._unsettled[request_id]] if request_id in self._unsettled else []

    def _leave_out_of(self, request: Request, symbol: str, error: str, now: float) -> None:
        blamed = [one for one in request.subscriptions if one.symbol == symbol]
        rest = tuple(one for one in request.subscriptions if one.symbol != symbol)
        if rest:
            self._unsettled[request.request_id] = msgspec.structs.replace(request, subscriptions=rest)
            self._refused_in_part.add(request.request_id)
            self._ask_for_rest_at, self._settle_at = now + MORE_NAMES_SECONDS, now + SUBSCRIBE_GRACE_SECONDS
        else:
            self._take_answered(request.request_id)
        self._leave_out(blamed, error)

    def _ask_for_rest(self, now: float) -> None:
        """Ask again for the symbols that no error named: whether the server took them is not known [A]."""
        if self._ask_for_rest_at is None or now < self._ask_for_rest_at:
            return
        self._ask_for_rest_at = None
        for request_id in sorted(self._refused_in_part):
            request = self._take_answered(request_id)
            if request is not None:
                self._halvings += 1
                self._subscribe(request.subscriptions, now)

    def _ask_by_halves(self, subscriptions: Sequence[Subscription], error: str, now: float) -> None:
        """Ask again, so that the symbol to blame is left out alone: the server does not say which it is."""
        if not self._halvings:
            asked = f"{len(subscriptions)} symbols at once; now by halves"
            self._notices.append(Complaint(f"{error} ({asked})"))
        self._halvings += 1
        middle = len(subscriptions) // 2
        self._subscribe(subscriptions[:middle], now)
        self._subscribe(subscriptions[middle:], now)

    def _leave_out(self, subscriptions: Sequence[Subscription], error: str) -> None:
        self.refused_symbols.update(one.symbol for one in subscriptions)
        if len(subscriptions) > 1:
            self._notices.append(Complaint(f"{error} ({len(subscriptions)} symbols left out)"))
        else:
            self._notices += [SubscriptionRefused(one.symbol, error) for one in subscriptions]
        self._settle()

    def _settle(self) -> None:
        if not self._unsettled and self._settle_at is not None:
            self._note_subscribed()

    def _settle_by_grace(self, now: float) -> None:
        if self._settle_at is not None and now >= self._settle_at:
            # Requests stay in mind: a refusal that comes later and names its request is still understood.
            self._note_subscribed()

    def _note_subscribed(self) -> None:
        self._settle_at = None
        self._halvings = 0
        self._errors_due.clear()
        self._notices.append(Subscribed(self.subscribed_symbols, tuple(sorted(self.refused_symbols))))

    # -- the rest -----------------------------------------------------------------------------------------------

    def _lose(self, lost: ConnectionLost | None) -> None:
        """Give the connection up, for the first reason there is."""
        self.lost = self.lost or lost

    def _next_id(self, word: str) -> str:
        return next(self._ids(word))

    def _ids(self, word: str) -> Iterator[str]:
        return (f"{word}-{number:03}" for number in self._numbers)


def _none(_: bytes) -> None:
    pass
