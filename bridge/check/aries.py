"""Checks of the Aries side: the access token, the WebSocket connection, and a session."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from bridge.aries.connect import close, connect
from bridge.aries.connect_errors import OTHER_PATHS
from bridge.aries.connection import PlainConnection
from bridge.check.chains import CHAINS, check_chains
from bridge.check.clock_skew import check_clock
from bridge.check.endpoint import Endpoint, check_endpoint, report_certificate
from bridge.check.session import AUTHENTICATION, check_session
from bridge.check.token import TOKEN, check_token
from bridge.errors import ConnectionLost, HandshakeRefused
from bridge.network.proxies import proxy_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.check.report import CheckReport
    from bridge.settings import Settings

CONNECTION, TLS, TOKEN_ENDPOINT = "Aries connection", "Aries TLS", "Token endpoint"
_CHECK_URL = (
    "Check ARIES_WS_URL (ws or wss: the port may speak no TLS), the DNS, and that firewalls and network policies allow "
    "the connection."
)


async def check_aries(
    report: CheckReport,
    settings: Settings,
    learn_secret: Callable[[str], None],
    timeout_seconds: float,
    *,
    session: bool,
) -> None:
    """Check the Aries side; without ``session`` nothing is sent that Aries could act upon."""
    access_token = None
    if session or settings.aries_access_token is not None:
        access_token = await check_token(report, settings, learn_secret)
    else:
        report.ok(TOKEN, "not requested without a session: a refresh token may be valid only once")
        await _check_token_endpoint(report, settings, timeout_seconds)
    plan = settings.plan()
    if access_token is not None:
        plan = await check_chains(report, settings, access_token)
    elif plan.chains:
        report.ok(CHAINS, "not resolved, as there is no token")
    socket = await _connect(report, settings, timeout_seconds)
    if socket is None:
        return
    try:
        if session and access_token is not None:
            await check_session(report, settings, plan, socket, access_token, timeout_seconds=timeout_seconds)
    finally:
        await close(socket)
    if not session:
        report.ok(AUTHENTICATION, "not tried (--no-session)")


async def _connect(report: CheckReport, settings: Settings, timeout_seconds: float) -> PlainConnection | None:
    url, sent_at = settings.aries_ws_url, time.time()
    try:
        socket = await connect(url, PlainConnection, timeout_seconds, settings.aries_ssl_cafile)
    except ConnectionLost as lost:
        date = lost.date if isinstance(lost, HandshakeRefused) else None
        check_clock(report, date, sent_at, time.time())
        hint = await _hint_by_other_path(lost, settings, timeout_seconds) or lost.hint or _CHECK_URL
        report.fail(CONNECTION, lost.reason, hint)
        return None
    assert socket.response is not None
    check_clock(report, socket.response.headers.get("Date"), sent_at, time.time())
    if (tls := socket.transport.get_extra_info("ssl_object")) is not None:
        report_certificate(report, TLS, urlsplit(url).netloc, tls.getpeercert())
    report.ok(CONNECTION, f"a WebSocket at {urlsplit(url).path or '/'}; the dialect is {settings.dialect}")
    return socket


async def _hint_by_other_path(lost: ConnectionLost, settings: Settings, timeout_seconds: float) -> str | None:
    """Try the other dialect's path of a server that does not know this one; nothing is sent there."""
    parts = urlsplit(settings.aries_ws_url)
    other = OTHER_PATHS.get(parts.path.rstrip("/"))
    if other is None or not isinstance(lost, HandshakeRefused) or lost.status != HTTPStatus.NOT_FOUND:
        return None
    try:
        other_url = urlunsplit(parts._replace(path=other))
        socket = await connect(other_url, PlainConnection, timeout_seconds, settings.aries_ssl_cafile)
    except ConnectionLost as also_lost:
        return f"Check ARIES_WS_URL: the path of the other dialect, {other}, does not work either: {also_lost.reason}."
    await close(socket)
    return f"The path of the other dialect, {other}, answers: use it in ARIES_WS_URL, and leave ARIES_DIALECT at auto."


async def _check_token_endpoint(report: CheckReport, settings: Settings, timeout_seconds: float) -> None:
    url = settings.aries_token_url
    if (proxy := proxy_for(url)) is not None:
        report.ok(TOKEN_ENDPOINT, f"requested through the proxy {proxy}, which is not tried without a request")
        return
    endpoint = Endpoint.of_url(url, settings.aries_ssl_cafile, also_system=True)
    await check_endpoint(report, TOKEN_ENDPOINT, endpoint, "Check ARIES_TOKEN_URL.", timeout_seconds)
