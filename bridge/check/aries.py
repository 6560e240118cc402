"""Does Aries answer: the way there, the WebSocket, and a session as the bridge holds it, with one subscription."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    ProxyError,
)
from websockets.proxy import get_proxy, parse_proxy
from websockets.uri import parse_uri

import bridge
from bridge.app import dialect, token_source
from bridge.aries import ending
from bridge.aries.liveness import Timing
from bridge.aries.session import Authenticated, Complaint, Flowing, Session, Subscribed, SubscriptionRefused
from bridge.check import clock, token
from bridge.check.network import Endpoint, judge_certificate, reach
from bridge.check.report import span
from bridge.errors import Cause, ConnectionLost
from bridge.feed import CLOSE_TIMEOUT_SECONDS, MAX_FRAME_BYTES, TICK_SECONDS
from bridge.settings.secret import SecretUnreadable
from bridge.subscriptions import Plan
from bridge.tokens import FixedToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.aries.session import Notice
    from bridge.check.report import Report
    from bridge.settings import Settings

HANDSHAKE, AUTHENTICATION, SUBSCRIPTION = "Aries handshake", "Aries authentication", "Aries subscription"
#: How long data is waited for once a subscription is accepted (the market may be closed), and an answer once data
#: came in (there may be none).
OTHER_SECONDS = 1.0
_REFUSALS = (SubscriptionRefused, Complaint)
_SECURE = ("wss", "https")
_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}
_CHECK_URL = "Check ARIES_WS_URL."
_REFUSED = (
    "Put a valid token into ARIES_ACCESS_TOKEN, or mend ARIES_REFRESH_TOKEN; if the token is right, see whether "
    "ARIES_DIALECT fits the URL and whether the account needs ARIES_API_KEY."
)
_REMEDIES = {
    Cause.AUTH_REFUSED: _REFUSED,
    Cause.AUTH_TIMEOUT: "See whether ARIES_DIALECT fits the server at ARIES_WS_URL.",
    Cause.EVICTED: "Another session of this account took over: stop it, or check with --no-session beside it.",
    Cause.THROTTLED: "Wait before the next attempt, and see whether other clients use this account.",
}


async def check(
    report: Report, settings: Settings, learn: Callable[[str], None], *, session: bool, patience_seconds: float
) -> None:
    """Report on all of the Aries side; without ``session``, nothing is shown to Aries that it could act upon."""
    source = token_source(settings)
    reached = await _is_reached(report, settings, patience_seconds)
    access_token = None
    if session or isinstance(source, FixedToken):
        access_token = await token.obtain(report, settings, source, learn)
    else:
        await _reach_token_endpoint(report, settings, patience_seconds)
        token.leave(report)
    if not reached:
        clock.unknown(report, "Aries was not reached")
        return
    socket = await _shake_hands(report, settings, patience_seconds)
    if socket is None:
        return
    try:
        if session and access_token is not None:
            await _hold_session(report, settings, socket, access_token, patience_seconds)
    finally:
        await _close(socket)
    if not session:
        report.ok(AUTHENTICATION, "not tried (--no-session)")


# -- the way there ------------------------------------------------------------------------------------------------


async def _is_reached(report: Report, settings: Settings, patience_seconds: float) -> bool:
    try:
        proxy = get_proxy(parse_uri(settings.aries_ws_url))
        if proxy is None:
            return await reach(report, _endpoint("Aries", settings.aries_ws_url, "ARIES_WS_URL"), patience_seconds)
        way = parse_proxy(proxy)
    except InvalidProxy as error:
        report.fail("Aries proxy", f"the proxy in the environment cannot be used: {error.msg}", "Mend HTTPS_PROXY.")
        return False
    through = Endpoint("Aries proxy", way.host, way.port, "HTTPS_PROXY")
    return await reach(report, through, patience_seconds)


async def _reach_token_endpoint(report: Report, settings: Settings, patience_seconds: float) -> None:
    endpoint = _endpoint("Token endpoint", settings.aries_token_url, "ARIES_TOKEN_URL")
    aries = _endpoint("Aries", settings.aries_ws_url, "ARIES_WS_URL")
    if (endpoint.host, endpoint.port) != (aries.host, aries.port) and not _is_proxied(settings.aries_token_url):
        await reach(report, endpoint, patience_seconds)


def _is_proxied(url: str) -> bool:
    # What websockets makes of the environment for wss is what aiohttp makes of it for https.
    return get_proxy(parse_uri(url.replace("http", "ws", 1))) is not None


def _endpoint(label: str, url: str, setting: str) -> Endpoint:
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme in _SECURE else None
    port = parts.port or _PORTS[parts.scheme]
    return Endpoint(label, parts.hostname or "", port, setting, tls, "SSL_CERT_FILE")


# -- the WebSocket ------------------------------------------------------------------------------------------------


async def _shake_hands(report: Report, settings: Settings, patience_seconds: float) -> ClientConnection | None:
    url = settings.aries_ws_url
    asked_at = time.time()
    try:
        socket = await connect(
            url,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            open_timeout=patience_seconds,
            close_timeout=CLOSE_TIMEOUT_SECONDS,
            ping_interval=None,
            user_agent_header=f"aries-bridge/{bridge.__version__}",
        )
    except InvalidStatus as error:
        clock.judge(report, error.response.headers.get("Date"), asked_at, time.time())
        _tell_refused(report, error.response.status_code, url)
        return None
    except (InvalidHandshake, OSError, EOFError, TimeoutError) as error:
        clock.unknown(report, "there was no answer to the handshake")
        report.fail(HANDSHAKE, *_no_handshake(error, patience_seconds))
        return None
    assert socket.response is not None
    clock.judge(report, socket.response.headers.get("Date"), asked_at, time.time())
    if (secured := socket.transport.get_extra_info("ssl_object")) is not None and _is_proxied(url):
        judge_certificate(report, "Aries TLS", urlsplit(url).netloc, secured.getpeercert())
    report.ok(HANDSHAKE, f"a WebSocket at {urlsplit(url).path or '/'}; the dialect to speak is {settings.dialect}")
    return socket


def _tell_refused(report: Report, status: int, url: str) -> None:
    path = urlsplit(url).path
    lost = ending.refused_handshake(status, path, None)
    other = ending.OTHER_PATHS.get(path.rstrip("/"), " or ".join(ending.OTHER_PATHS))
    remedy = _CHECK_URL
    if lost.cause is Cause.AUTH_REFUSED:
        remedy = "No token was shown yet, so we are refused by our address: ask Aries, or see what stands between."
    elif status == 404:  # noqa: PLR2004 - the one that everybody knows
        remedy = f"Check ARIES_WS_URL: the other dialect lives at {other}."
    elif lost.cause is Cause.THROTTLED:
        remedy = _REMEDIES[Cause.THROTTLED]
    elif status >= 500:  # noqa: PLR2004 - RFC 9110 section 15.6
        remedy = "That is the server's trouble: try again later; if it lasts, check ARIES_WS_URL."
    report.fail(HANDSHAKE, f"Aries answered with HTTP {status} for {path or '/'} instead of a WebSocket", remedy)


def _no_handshake(error: Exception, patience_seconds: float) -> tuple[str, str]:
    if isinstance(error, TimeoutError):
        return f"no answer within {patience_seconds:g} s", _CHECK_URL
    if isinstance(error, ProxyError):
        return f"the proxy does not let us through: {error}", "Check HTTPS_PROXY, or exempt the host with NO_PROXY."
    if isinstance(error, InvalidHandshake):
        return f"the server speaks no WebSocket: {error}", _CHECK_URL
    return f"the connection broke: {str(error) or type(error).__name__}", _CHECK_URL


# -- the session --------------------------------------------------------------------------------------------------


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


async def _hold_session(
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
        report.fail(check, f"no answer within {patience_seconds:g} s", _REMEDIES[Cause.AUTH_TIMEOUT])
    except ConnectionClosed as closed:
        end = closed.rcvd
        _tell_lost(report, check, ending.closed(end.code if end else None, end.reason if end else ""))
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
    report.fail(check, str(lost), _REMEDIES.get(lost.cause, "Try again; if it lasts, check ARIES_WS_URL."))


async def _close(socket: ClientConnection) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS + 1):
            await socket.close()
    except TimeoutError:
        socket.transport.abort()


def _now() -> float:
    return asyncio.get_running_loop().time()
