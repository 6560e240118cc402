"""A check of a session with Aries: authenticate, subscribe to one symbol, unsubscribe."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from bridge.aries.connect import CLOSE_TIMEOUT_SECONDS, closed
from bridge.aries.protocol.close_codes import HINTS
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.session import Session
from bridge.aries.protocol.session_events import (
    Authenticated,
    DataStarted,
    ServerError,
    Subscribed,
    SymbolLimitReached,
    SymbolRejected,
)
from bridge.aries.subscriptions import Plan
from bridge.check.report import duration_text
from bridge.errors import ConnectionLost, DisconnectCause, SecretUnreadable
from bridge.parts import dialect

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from bridge.aries.protocol.session_events import SessionEvent
    from bridge.check.report import CheckReport
    from bridge.settings import Settings

AUTHENTICATION, SUBSCRIPTION = "Aries authentication", "Aries subscription"
#: How long to wait for data after the subscription was accepted (the market may be closed), and for an answer after
#: data came (there may be none).
SECOND_EVENT_SECONDS = 1.0
TICK_SECONDS = 0.1
_REJECTIONS = (SymbolRejected, SymbolLimitReached, ServerError)
CHECK_HINTS = MappingProxyType(
    {
        **HINTS,
        DisconnectCause.EVICTED: "Another session of this account took over: stop it, or use --no-session beside it.",
    }
)


class _Conversation:
    """A session on a socket, run until an event occurs."""

    def __init__(self, socket: ClientConnection, session: Session) -> None:
        self.session = session
        self._socket = socket
        self._events: list[SessionEvent] = []

    async def run_until(self, *kinds: type[SessionEvent]) -> None:
        """Run the session until one of these events; raises ConnectionLost, and what the socket raises."""
        while not any(isinstance(event, kinds) for event in self._events):
            await self.send()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    self.session.receive(await self._socket.recv(decode=False), _now())
            self.session.tick(_now())
            self._events += self.session.take_events()
            if self.session.lost is not None:
                raise self.session.lost

    async def send(self) -> None:
        """Send what the session has to send."""
        for frame in self.session.take_outgoing(_now()):
            await self._socket.send(frame, text=True)

    def first(self, kind: type[SessionEvent]) -> SessionEvent | None:
        """Return the first event of a kind."""
        return next((event for event in self._events if isinstance(event, kind)), None)


async def check_session(
    report: CheckReport,
    settings: Settings,
    wanted: Plan,
    socket: ClientConnection,
    access_token: str,
    *,
    timeout_seconds: float,
) -> None:
    """Authenticate, subscribe to the first symbol that is wanted, and unsubscribe."""
    plan = Plan(list(wanted.values())[:1])
    conversation = _Conversation(socket, Session(dialect(settings), plan, Timing(), _now()))
    check = AUTHENTICATION
    try:
        async with asyncio.timeout(timeout_seconds):
            conversation.session.authenticate(access_token, _now())
            await conversation.run_until(Authenticated)
        _report_authenticated(report, conversation)
        check = SUBSCRIPTION
        await _subscribe(conversation, timeout_seconds)
        _report_subscribed(report, conversation, next(iter(plan)))
        await _unsubscribe(conversation)
    except TimeoutError:
        report.fail(check, f"no answer within {timeout_seconds:g} s", CHECK_HINTS[DisconnectCause.AUTH_TIMEOUT])
    except ConnectionClosed as error:
        _report_lost(report, check, closed(error))
    except ConnectionLost as lost:
        _report_lost(report, check, lost)
    except SecretUnreadable as error:
        report.fail(check, str(error), "Fix the file of ARIES_API_KEY_FILE.")


async def _subscribe(conversation: _Conversation, timeout_seconds: float) -> None:
    """Wait for an answer or data, and a little longer for the other of the two."""
    async with asyncio.timeout(timeout_seconds):
        await conversation.run_until(Subscribed, DataStarted, *_REJECTIONS)
    other = Subscribed if conversation.first(DataStarted) else DataStarted
    with suppress(TimeoutError):
        async with asyncio.timeout(SECOND_EVENT_SECONDS):
            await conversation.run_until(other, *_REJECTIONS)


async def _unsubscribe(conversation: _Conversation) -> None:
    """Send the unsubscription; its answer does not matter, since the connection is closed next."""
    with suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            conversation.session.replan(Plan(), _now())
            await conversation.send()


def _report_authenticated(report: CheckReport, conversation: _Conversation) -> None:
    event = conversation.first(Authenticated)
    assert isinstance(event, Authenticated)
    expiry = f"; the session lasts {duration_text(event.expires_in_seconds)}" if event.expires_in_seconds else ""
    report.ok(AUTHENTICATION, f"{'data came without an answer' if event.implied else 'accepted'}{expiry}")


def _report_subscribed(report: CheckReport, conversation: _Conversation, symbol: str) -> None:
    rejections = (
        conversation.first(SymbolRejected),
        conversation.first(SymbolLimitReached),
        conversation.first(ServerError),
    )
    rejection = next(filter(None, rejections), None)
    if isinstance(rejection, SymbolRejected | SymbolLimitReached | ServerError):
        hint = "Fix ARIES_SYMBOLS or the subscriptions, or ask Aries whether the account is entitled to the symbol."
        report.fail(SUBSCRIPTION, f"Aries rejected {symbol}: {rejection.error}", hint)
    elif conversation.first(DataStarted):
        report.ok(SUBSCRIPTION, f"data of {symbol} came in")
    else:
        report.ok(SUBSCRIPTION, f"{symbol} was not rejected; no data yet, as when the market is closed")


def _report_lost(report: CheckReport, check: str, lost: ConnectionLost) -> None:
    hint = lost.hint or CHECK_HINTS.get(lost.cause, "Try again; if this persists, check ARIES_WS_URL.")
    report.fail(check, lost.reason, hint)


def _now() -> float:
    return asyncio.get_running_loop().time()
