"""Authentication of one connection: when a token is required, whether it was accepted, and when the session expires.

It sends nothing: the session (``bridge.aries.protocol.session``) composes the requests and passes the answers on.
"""

from __future__ import annotations

from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bridge.aries import lifetimes
from bridge.aries.protocol import refusals
from bridge.aries.protocol.close_codes import HINTS
from bridge.aries.protocol.session_events import Authenticated, ServerError
from bridge.errors import ConnectionLost, DisconnectCause

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTH_TIMEOUT_SECONDS = 10.0
#: Share of a session's lifetime after which it is authenticated again without having been asked to.
REAUTHENTICATE_AT = 0.8
#: Minimum time between two tokens that the server has not asked for.
MIN_RENEWAL_SECONDS = 30.0
#: Minimum time between two tokens, of which the server has asked for the second.
MIN_REAUTHENTICATE_SECONDS = 0.5
#: A token that the server asks for so soon after the last one is a repeat: then the minimum time is this, and doubles
#: with each repeat in a row, up to the maximum.
REPEATED_WITHIN_SECONDS = 60.0
MIN_REPEAT_SECONDS = 30.0
MAX_REPEAT_SECONDS = 600.0


class AuthState(StrEnum):
    """How far authentication has got."""

    UNAUTHENTICATED = "unauthenticated"
    AUTHENTICATING = "authenticating"  # the first token is sent, its answer is pending
    AUTHENTICATED = "authenticated"
    TOKEN_REQUIRED = "token_required"  # noqa: S105 - authenticated; the client is to send a fresh token
    REAUTHENTICATING = "reauthenticating"  # authenticated; the answer to a token is pending


class AuthTrigger(StrEnum):
    """What changes the state of authentication."""

    TOKEN_SENT = "token sent"  # noqa: S105 - no password
    ACCEPTED = "accepted"
    DATA_RECEIVED = "data received"
    REJECTED = "rejected"
    TIMED_OUT = "no answer"
    TOKEN_DUE = "session expires soon"  # noqa: S105 - no password
    TOKEN_UNAVAILABLE = "no token available"  # noqa: S105 - no password


_S, _T = AuthState, AuthTrigger
#: The state after each trigger; a trigger that is not listed for a state does not change it.
TRANSITIONS: Final[Mapping[AuthState, Mapping[AuthTrigger, AuthState]]] = MappingProxyType(
    {
        _S.UNAUTHENTICATED: {_T.TOKEN_SENT: _S.AUTHENTICATING},
        _S.AUTHENTICATING: {
            _T.ACCEPTED: _S.AUTHENTICATED,
            _T.DATA_RECEIVED: _S.REAUTHENTICATING,  # accepted, and the answer may still come
            _T.REJECTED: _S.UNAUTHENTICATED,
            _T.TIMED_OUT: _S.UNAUTHENTICATED,
        },
        _S.AUTHENTICATED: {_T.TOKEN_DUE: _S.TOKEN_REQUIRED, _T.TOKEN_SENT: _S.REAUTHENTICATING},
        _S.TOKEN_REQUIRED: {_T.TOKEN_SENT: _S.REAUTHENTICATING, _T.TOKEN_UNAVAILABLE: _S.AUTHENTICATED},
        _S.REAUTHENTICATING: {
            _T.ACCEPTED: _S.AUTHENTICATED,
            _T.REJECTED: _S.AUTHENTICATED,
            _T.TIMED_OUT: _S.AUTHENTICATED,
        },
    }
)
_ANSWER_PENDING = (_S.AUTHENTICATING, _S.REAUTHENTICATING)
_NOT_AUTHENTICATED = (_S.UNAUTHENTICATED, _S.AUTHENTICATING)

#: What follows from an answer, from market data or from the clock.
Outcome = Authenticated | ServerError | ConnectionLost


class Authentication:
    """The state machine of authentication."""

    def __init__(self, now: float) -> None:
        self.state = AuthState.UNAUTHENTICATED
        self._request_id: str | None = None
        self._sent_at = now
        self._reauthenticate_at: float | None = None
        self._expires_at: float | None = None
        self._session_life_seconds: float | None = None
        self._token_life_seconds: float | None = None
        self._ever_answered = False
        self._rejections = 0  # in a row
        self._required = False  # since the last token was sent
        self._repeat_seconds = MIN_REAUTHENTICATE_SECONDS  # minimum time before the next token that the server asks for

    @property
    def authenticated(self) -> bool:
        """Return whether the server has accepted a token on this connection."""
        return self.state not in _NOT_AUTHENTICATED

    @property
    def token_required(self) -> bool:
        """Return whether the client is to send a fresh token."""
        return self.state is AuthState.TOKEN_REQUIRED

    @property
    def answer_pending(self) -> bool:
        """Return whether a token was sent and is not answered yet."""
        return self.state in _ANSWER_PENDING

    def is_answered_by(self, request_id: str | None) -> bool:
        """Return whether an answer with this id is about the token; without an id it is, if no other request is due."""
        if not self.answer_pending:
            return False
        return not self.authenticated if request_id is None else request_id == self._request_id

    # -- what the client does -----------------------------------------------------------------------------------

    def token_sent(self, request_id: str, now: float, token_life_seconds: float | None) -> None:
        """Expect the answer to a token with this lifetime, if that is known."""
        self._move(AuthTrigger.TOKEN_SENT)
        self._request_id, self._sent_at = request_id, now
        self._required = False
        self._token_life_seconds = token_life_seconds
        self._reauthenticate_at = None

    def token_unavailable(self, now: float) -> None:
        """Require a token again later."""
        self._move(AuthTrigger.TOKEN_UNAVAILABLE)
        self._reauthenticate_at = now + AUTH_TIMEOUT_SECONDS

    # -- what the server does -----------------------------------------------------------------------------------

    def accept(self, session_life_seconds: float | None, now: float) -> Authenticated | None:
        """Start or prolong the session; ignore the acceptance of a token that was not sent, or was rejected.

        A lifetime that cannot be meant counts as unknown.
        """
        ignored_seconds = None
        if session_life_seconds is not None and not lifetimes.is_plausible(session_life_seconds):
            session_life_seconds, ignored_seconds = None, session_life_seconds
        if self.state is AuthState.UNAUTHENTICATED:
            return None
        again = self.authenticated
        self._move(AuthTrigger.ACCEPTED)
        self._rejections = 0
        self._ever_answered = True
        expired = again and self._is_expired(now)
        self._start_life(session_life_seconds, now)
        return Authenticated(again, session_life_seconds, expired=expired, ignored_life_seconds=ignored_seconds)

    def accept_by_data(self, now: float) -> Authenticated | None:
        """Start the session with its first data, as data implies that authentication succeeded.

        The answer may still come; if it never does, it had a shape that is not known.
        """
        if self.state is not AuthState.AUTHENTICATING:
            return None
        self._move(AuthTrigger.DATA_RECEIVED)
        self._start_life(None, now)
        return Authenticated(again=False, expires_in_seconds=None, implied=True)

    def reject(self, error: str, now: float) -> ServerError | ConnectionLost | None:
        """Keep a live session after one rejection, or after any if only we wanted another token; else give it up.

        A rejection that is not the token's fault is none of the token.
        """
        self._move(AuthTrigger.REJECTED)
        if (cause := refusals.cause_of(error)) is not None:
            return self._refuse(cause, error, now)
        self._rejections += 1
        if self._ever_answered and self._expires_at is None:
            # The server did not ask for another token, so the session continues; to end it, it closes the connection.
            self._schedule_renewal(now)
            return ServerError(error)
        if self.authenticated and self._rejections == 1:
            self._reauthenticate_at = now  # once with a newer token
            return None
        return ConnectionLost(DisconnectCause.AUTH_REFUSED, f"Aries rejected the access token: {error}")

    def _refuse(self, cause: DisconnectCause, error: str, now: float) -> ServerError | ConnectionLost:
        """Keep a live session, and send the token again later; else give it up."""
        if not self.authenticated or self._is_expired(now):
            problem = f"Aries refused the session for another reason than the access token: {error}"
            return ConnectionLost(cause, problem, hint=HINTS[cause])
        self._reauthenticate_at = now + MIN_RENEWAL_SECONDS
        return ServerError(error)

    def require(self, seconds_left: float, now: float) -> None:
        """Authenticate within this time, as the server requires it."""
        if self.authenticated:
            self._expires_at = min(now + seconds_left, self._expires_at or float("inf"))
        if self.answer_pending or self._required:
            return  # the token is on its way already, as when this is a greeting, or will be
        self._required = True
        if now - self._sent_at >= REPEATED_WITHIN_SECONDS:
            self._repeat_seconds = MIN_REAUTHENTICATE_SECONDS
        self._reauthenticate_at = max(now, self._sent_at + self._repeat_seconds)
        self._repeat_seconds = min(max(2 * self._repeat_seconds, MIN_REPEAT_SECONDS), MAX_REPEAT_SECONDS)

    # -- what the clock does ------------------------------------------------------------------------------------

    def tick(self, now: float, last_data: float | None) -> Outcome | None:
        """Judge a missing answer, and require a token in time; ``last_data`` is when market data was last received."""
        outcome: Outcome | None = None
        if self.answer_pending and now >= self._sent_at + AUTH_TIMEOUT_SECONDS:
            outcome = self._time_out(now, last_data)
        if self._reauthenticate_at is not None and now >= self._reauthenticate_at and not self.answer_pending:
            self._reauthenticate_at = None
            self._move(AuthTrigger.TOKEN_DUE)
        return outcome

    @property
    def next_tick(self) -> float:
        """Return when ``tick`` has something to do, unless an answer comes or a token is sent before."""
        due = self._sent_at + AUTH_TIMEOUT_SECONDS if self.answer_pending else self._reauthenticate_at
        return inf if due is None else due

    def _time_out(self, now: float, last_data: float | None) -> Outcome | None:
        """Decide by the data whether a missing answer is a rejection, or only had a shape that is not known."""
        self._move(AuthTrigger.TIMED_OUT)
        expired = self._is_expired(now)
        if not self.authenticated or (expired and not self._is_after_expiry(last_data)):
            return ConnectionLost(
                DisconnectCause.AUTH_TIMEOUT,
                f"Aries did not answer the authentication request within {AUTH_TIMEOUT_SECONDS:g} s",
            )
        if expired:
            self._start_life(None, now)
            return Authenticated(again=True, expires_in_seconds=None, implied=True)
        if self._expires_at is not None:
            self._reauthenticate_at = now + AUTH_TIMEOUT_SECONDS
        else:
            self._schedule_renewal(now)
        return None

    # -- the session's lifetime ---------------------------------------------------------------------------------

    def _start_life(self, seconds: float | None, now: float) -> None:
        """Start a lifetime: as long as the server reports, or reported last."""
        self._session_life_seconds = seconds or self._session_life_seconds
        self._expires_at = None if self._session_life_seconds is None else now + self._session_life_seconds
        self._schedule_renewal(now)

    def _schedule_renewal(self, now: float) -> None:
        """Authenticate again before the session expires, or, if its lifetime is not known, before the token does."""
        life_seconds = self._session_life_seconds or self._token_life_seconds
        self._reauthenticate_at = None
        if life_seconds is not None:
            self._reauthenticate_at = now + max(life_seconds * REAUTHENTICATE_AT, MIN_RENEWAL_SECONDS)

    def _is_expired(self, now: float) -> bool:
        return self._expires_at is not None and now >= self._expires_at

    def _is_after_expiry(self, last_data: float | None) -> bool:
        return last_data is not None and self._expires_at is not None and last_data > self._expires_at

    def _move(self, trigger: AuthTrigger) -> None:
        self.state = TRANSITIONS[self.state].get(trigger, self.state)
