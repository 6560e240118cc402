"""Does Aries answer: the way there, the token, the WebSocket, and a session if one is asked for."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidProxy
from websockets.proxy import get_proxy, parse_proxy
from websockets.uri import parse_uri

from bridge.app import token_source
from bridge.aries.access_token import FixedToken
from bridge.aries.connect import dial, hang_up
from bridge.check import clock, token
from bridge.check.network import Endpoint, judge_certificate, reach
from bridge.check.session import AUTHENTICATION, hold_session
from bridge.errors import ConnectionLost, HandshakeRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.check.report import Report
    from bridge.settings import Settings

HANDSHAKE = "Aries handshake"
_SECURE = ("wss", "https")
_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}
_CHECK_URL = "Check ARIES_WS_URL."


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
            await hold_session(report, settings, socket, access_token, patience_seconds)
    finally:
        await hang_up(socket)
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
        socket = await dial(url, ClientConnection, patience_seconds)
    except ConnectionLost as lost:
        if isinstance(lost, HandshakeRefused):
            clock.judge(report, lost.date, asked_at, time.time())
        else:
            clock.unknown(report, "there was no answer to the handshake")
        report.fail(HANDSHAKE, lost.reason, lost.remedy or _CHECK_URL)
        return None
    assert socket.response is not None
    clock.judge(report, socket.response.headers.get("Date"), asked_at, time.time())
    if (secured := socket.transport.get_extra_info("ssl_object")) is not None and _is_proxied(url):
        judge_certificate(report, "Aries TLS", urlsplit(url).netloc, secured.getpeercert())
    report.ok(HANDSHAKE, f"a WebSocket at {urlsplit(url).path or '/'}; the dialect to speak is {settings.dialect}")
    return socket
