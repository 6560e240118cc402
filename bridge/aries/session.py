"""One connection to Aries as a state machine: what was received and what time it is go in; what to send comes out.

It never awaits and never reads a clock. Its shell feeds it with frames (``receive``), with the time (``tick``)
and with tokens (``authenticate``), sends what ``take_outgoing`` returns, and ends the connection once ``lost`` is set.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import msgspec

from bridge.aries.events import (
    Ack,
    AuthAccepted,
    AuthRefused,
    AuthWanted,
    Event,
    Kind,
    Pong,
    RequestRefused,
    Update,
)
from bridge.aries.lines import parse, split
from bridge.aries.liveness import Liveness
from bridge.errors import BadLine, Cause, ConnectionLost
from bridge.subscriptions import difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.aries.dialect import Dialect, Request
    from bridge.aries.liveness import Timing
    from bridge.subscriptions import Plan, Subscription

AUTH_TIMEOUT_SECONDS = 10.0
#: Whether subscriptions are acknowledged is not known: without a word they count as accepted after this.
SUBSCRIBE_GRACE_SECONDS = 5.0
#: Part of a session's life after which it is authenticated again without having been asked to.
REAUTHENTICATE_AT = 0.8


class Authenticated(msgspec.Struct, frozen=True):
    """Note that the session is authenticated; ``implied`` where data came without an answer."""

    again: bool
    expires_in_seconds: float | None
    implied: bool = False


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
    """Note an error of the server's that belongs to no request we know."""

    error: str


Notice = Authenticated | Subscribed | Flowing | SubscriptionRefused | Complaint
Line = tuple[bytes, Event | BadLine]


class Session:
    """Follow one connection from authentication to its end."""

    def __init__(self, dialect: Dialect, plan: Plan, timing: Timing, now: float) -> None:
        self.lost: ConnectionLost | None = None
        self.token_wanted = False
        self.authenticated = False
        self.refused_symbols: set[str] = set()
        self.liveness = Liveness(timing, pong_expected=dialect.pong_is_documented, now=now)
        self._dialect = dialect
        self._plan = plan
        self._outgoing: list[bytes] = []
        self._notices: list[Notice] = []
        self._numbers = count(1)
        self._auth_id: str | None = None
        self._auth_deadline: float | None = None
        self._reauthenticate_at: float | None = None
        self._reauthentications_refused = 0
        self._unsettled: dict[str, Request] = {}
        self._settled_at: float | None = None

    # -- what the shell does ------------------------------------------------------------------------------------

    def authenticate(self, token: str, now: float) -> None:
        """Send the token; the first time, and whenever ``token_wanted`` asked for one."""
        self.token_wanted = False
        self._auth_id = self._next_id("auth")
        self._auth_deadline = now + AUTH_TIMEOUT_SECONDS
        self._outgoing.append(self._dialect.auth(self._auth_id, token))

    def receive(self, frame: bytes, now: float) -> list[Line]:
        """Return each line of a frame with what it says; session matters are dealt with on the way."""
        self.liveness.heard(now)
        return [(line, self._read(line, now)) for line in split(frame)]

    def tick(self, now: float) -> None:
        """Do what is due by the clock."""
        self._watch_authentication(now)
        self._settle_by_grace(now)
        if not self.authenticated:
            return
        if self.liveness.ping_due(now):
            self._outgoing.append(self._dialect.ping(self._next_id("ping")))
            self.liveness.pinged(now)
        self.lost = self.lost or self.liveness.verdict(now)

    def replan(self, plan: Plan, now: float) -> None:
        """Ask for another set of subscriptions on the live socket, by the difference."""
        change = difference(self._plan, plan)
        self._plan = plan
        if not self.authenticated:
            return
        narrowed = change.narrowed if self._dialect.subscriptions_add_up else ()
        gone = (*narrowed, *change.unsubscribe)
        self._outgoing += [request.frame for request in self._dialect.unsubscribe(gone, self._ids("unsub"))]
        self._subscribe(change.subscribe, now)

    def postpone_authentication(self, now: float) -> None:
        """Ask for a token again later: there is none to be had just now."""
        self.token_wanted = False
        self._reauthenticate_at = now + AUTH_TIMEOUT_SECONDS

    @property
    def eventful(self) -> bool:
        """Return whether there is anything to take, to send or to give up."""
        return bool(self._notices or self._outgoing or self.token_wanted)

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
            event = self._dialect.read(parse(line))
        except BadLine as error:
            return error
        if type(event) is Update:
            self._note_update(event, now)
        else:
            self._note(event, now)
        return event

    def _note_update(self, update: Update, now: float) -> None:
        if not self.authenticated:
            # Nobody sends data to a stranger: an answer in a shape we do not know must have been a yes.
            self._accept(None, now, implied=True)
        if update.kind is Kind.MARKET_STATUS:
            self.liveness.market(update.fields, now)
        else:
            if self.liveness.first_data is None:
                self._notices.append(Flowing())
            self.liveness.data(now)

    def _note(self, event: Event, now: float) -> None:
        match event:
            case AuthAccepted(expires_in_seconds=seconds):
                self._accept(seconds, now)
            case AuthRefused(error=error):
                self._refuse_authentication(error)
            case AuthWanted():
                # As a greeting it asks for what is on its way already.
                self.token_wanted = self._auth_deadline is None
            case Pong():
                self.liveness.pong()
            case Ack(request_id=request_id):
                self._acknowledge(request_id)
            case RequestRefused():
                self._refuse_request(event, now)

    # -- authentication -----------------------------------------------------------------------------------------

    def _accept(self, expires_in_seconds: float | None, now: float, *, implied: bool = False) -> None:
        again, self.authenticated = self.authenticated, True
        self._auth_id = self._auth_deadline = None
        self._reauthentications_refused = 0
        self._reauthenticate_at = expires_in_seconds and now + expires_in_seconds * REAUTHENTICATE_AT
        self._notices.append(Authenticated(again, expires_in_seconds, implied))
        if not again:
            self.liveness.live(now)
            self._subscribe(tuple(self._plan.values()), now)

    def _refuse_authentication(self, error: str) -> None:
        self._auth_id = self._auth_deadline = None
        self._reauthentications_refused += 1
        if self.authenticated and self._reauthentications_refused == 1:
            # The session still lives: try once with a newer token before giving it up.
            self.token_wanted = True
        else:
            self.lost = ConnectionLost(Cause.AUTH_REFUSED, f"Aries refused the access token: {error}")

    def _watch_authentication(self, now: float) -> None:
        if self._auth_deadline is not None and now >= self._auth_deadline:
            self._auth_id = self._auth_deadline = None
            if self.authenticated:
                # Data still flows, so the session is good for now; whether a repeated request is answered
                # at all is not known. Ask again later.
                self._reauthenticate_at = now + AUTH_TIMEOUT_SECONDS
            else:
                self.lost = ConnectionLost(
                    Cause.AUTH_TIMEOUT,
                    f"Aries did not answer the authentication request within {AUTH_TIMEOUT_SECONDS:g} s",
                )
        if self._reauthenticate_at is not None and now >= self._reauthenticate_at:
            self._reauthenticate_at = None
            self.token_wanted = True

    # -- subscriptions ------------------------------------------------------------------------------------------

    def _subscribe(self, subscriptions: Sequence[Subscription], now: float) -> None:
        self.refused_symbols.difference_update(one.symbol for one in subscriptions)
        for request in self._dialect.subscribe(subscriptions, self._ids("sub")):
            self._unsettled[request.request_id] = request
            self._outgoing.append(request.frame)
        self._settled_at = now + SUBSCRIBE_GRACE_SECONDS
        self._settle()

    def _acknowledge(self, request_id: str | None) -> None:
        request_id = request_id or self._only_unsettled()
        if self._unsettled.pop(request_id or "", None):
            self._settle()

    def _refuse_request(self, refusal: RequestRefused, now: float) -> None:
        if self._is_about_authentication(refusal):
            self._refuse_authentication(refusal.error)
            return
        request = self._unsettled.pop(refusal.request_id or self._only_unsettled() or "", None)
        if request is None:
            self._notices.append(Complaint(refusal.error))
        elif len(request.subscriptions) == 1:
            symbol = request.subscriptions[0].symbol
            self.refused_symbols.add(symbol)
            self._notices.append(SubscriptionRefused(symbol, refusal.error))
            self._settle()
        else:
            # Which of the symbols is to blame is not said: ask again by halves, so that it alone is left out.
            middle = len(request.subscriptions) // 2
            self._subscribe(request.subscriptions[:middle], now)
            self._subscribe(request.subscriptions[middle:], now)

    def _is_about_authentication(self, refusal: RequestRefused) -> bool:
        if self._auth_deadline is None:
            return False
        return refusal.request_id == self._auth_id or (refusal.request_id is None and not self.authenticated)

    def _only_unsettled(self) -> str | None:
        """Return the request that an answer without an id must mean, if there is just one."""
        return next(iter(self._unsettled)) if len(self._unsettled) == 1 else None

    def _settle(self) -> None:
        if not self._unsettled and self._settled_at is not None:
            self._note_subscribed()

    def _settle_by_grace(self, now: float) -> None:
        if self._settled_at is not None and now >= self._settled_at:
            # Requests stay in mind: a refusal that comes later is still understood.
            self._note_subscribed()

    def _note_subscribed(self) -> None:
        self._settled_at = None
        self._notices.append(Subscribed(self.subscribed_symbols, tuple(sorted(self.refused_symbols))))

    @property
    def subscribed_symbols(self) -> int:
        """Return how many symbols are asked for and not refused."""
        return sum(symbol not in self.refused_symbols for symbol in self._plan)

    def _next_id(self, word: str) -> str:
        return next(self._ids(word))

    def _ids(self, word: str) -> Iterator[str]:
        return (f"{word}-{number:03}" for number in self._numbers)
