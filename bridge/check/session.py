"""A session with Aries as the bridge holds it: authenticated, subscribed to one symbol, and given back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from bridge.app import dialect
from bridge.aries.client import TICK_SECONDS
from bridge.aries.connect import CLOSE_TIMEOUT_SECONDS, closed
from bridge.aries.protocol import close_codes as ending
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.session import Authenticated, Complaint, Flowing, Session, Subscribed, SubscriptionRefused
from bridge.aries.subscriptions import Plan
from bridge.check.report import span
from bridge.errors import ConnectionLost, DisconnectCause, SecretUnreadable

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from bridge.aries.protocol.session import Notice
    from bridge.check.report import Report
    from bridge.settings import Settings

AUTHENTICATION, SUBSCRIPTION = "Aries authentication", "Aries subscription"
#: How long data is waited for once a subscription is accepted (the market may be closed), and an answer once data
#: came in (there may be none).
OTHER_SECONDS = 1.0
_REFUSALS = (SubscriptionRefused, Complaint)
REMEDIES = MappingProxyType(
    {
        **ending.REMEDIES,
        DisconnectCause.EVICTED: "Another session of this account took over: stop it, or use --no-session beside it.",
    }
)


class _Conversation:
    """Let a session talk over a socket until something is known."""

    def __init__(self, socket: ClientConnection, session: Session) -> None:
        self.notices: list[Notice] = []
        self.session = session
        self._socket = socket

    async def until(self, *known: type[Notice]) -> None:
        """Go on until one of these was noted; raises ConnectionLost, and what the socket raises."""
        while not any(isinstance(notice, known) for notice in self.notices):
            await self.send()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    self.session.receive(await self._socket.recv(decode=False), _now())
            self.session.tick(_now())
            self.notices += self.session.take_notices()
            if self.session.lost is not None:
                raise self.session.lost

    async def send(self) -> None:
        """Send what the session wants sent."""
        for frame in self.session.take_outgoing():
            await self._socket.send(frame, text=True)

    def noted(self, kind: type[Notice]) -> Notice | None:
        """Return the first notice of a kind."""
        return next((notice for notice in self.notices if isinstance(notice, kind)), None)


async def hold_session(
    report: Report, settings: Settings, socket: ClientConnection, access_token: str, patience_seconds: float
) -> None:
    """Authenticate, subscribe to the first symbol, and take the subscription back."""
    wanted = Plan(list(settings.plan().values())[:1])
    talk = _Conversation(socket, Session(dialect(settings), wanted, Timing(), _now()))
    check = AUTHENTICATION
    try:
        async with asyncio.timeout(patience_seconds):
            talk.session.authenticate(access_token, _now())
            await talk.until(Authenticated)
        _tell_authenticated(report, talk)
        check = SUBSCRIPTION
        await _subscribe(talk, patience_seconds)
        _tell_subscribed(report, talk, next(iter(wanted)))
        await _unsubscribe(talk)
    except TimeoutError:
        report.fail(check, f"no answer within {patience_seconds:g} s", REMEDIES[DisconnectCause.AUTH_TIMEOUT])
    except ConnectionClosed as end:
        _tell_lost(report, check, closed(end))
    except ConnectionLost as lost:
        _tell_lost(report, check, lost)
    except SecretUnreadable as error:
        report.fail(check, str(error), "Mend the file of ARIES_API_KEY_FILE.")


async def _subscribe(talk: _Conversation, patience_seconds: float) -> None:
    """Wait for the answer or for data, and a little longer for the other of the two."""
    async with asyncio.timeout(patience_seconds):
        await talk.until(Subscribed, Flowing, *_REFUSALS)
    other = Subscribed if talk.noted(Flowing) else Flowing
    with suppress(TimeoutError):
        async with asyncio.timeout(OTHER_SECONDS):
            await talk.until(other, *_REFUSALS)


async def _unsubscribe(talk: _Conversation) -> None:
    """Ask for no more; the connection ends here anyway, so whether that arrives matters little."""
    with suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            talk.session.replan(Plan(), _now())
            await talk.send()


def _tell_authenticated(report: Report, talk: _Conversation) -> None:
    noted = talk.noted(Authenticated)
    assert isinstance(noted, Authenticated)
    life = f"; the session lasts {span(noted.expires_in_seconds)}" if noted.expires_in_seconds else ""
    report.ok(AUTHENTICATION, f"{'data came without an answer' if noted.implied else 'accepted'}{life}")


def _tell_subscribed(report: Report, talk: _Conversation, symbol: str) -> None:
    refused = talk.noted(SubscriptionRefused) or talk.noted(Complaint)
    if isinstance(refused, SubscriptionRefused | Complaint):
        remedy = "Mend it in ARIES_SYMBOLS or the subscriptions, or ask Aries whether the account may have it."
        report.fail(SUBSCRIPTION, f"Aries refuses {symbol}: {refused.error}", remedy)
    elif talk.noted(Flowing):
        report.ok(SUBSCRIPTION, f"data of {symbol} came in")
    else:
        report.ok(SUBSCRIPTION, f"{symbol} was not refused; no data yet, as when the market is closed")


def _tell_lost(report: Report, check: str, lost: ConnectionLost) -> None:
    remedy = lost.remedy or REMEDIES.get(lost.cause, "Try again; if it lasts, check ARIES_WS_URL.")
    report.fail(check, lost.reason, remedy)


def _now() -> float:
    return asyncio.get_running_loop().time()
