"""Why a connection to Aries could not be opened, and what the operator can do about it."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
)

from bridge.aries.protocol.close_codes import HINTS
from bridge.backoff import retry_after_seconds
from bridge.errors import BridgeError, ConnectionLost, DisconnectCause, HandshakeRefused, ProxyUnusable, SettingsError
from bridge.network.faults import os_reason, proxy_refused, proxy_unreachable, tls_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.network.proxies import Proxy

#: What opening a WebSocket raises; a UnicodeError is an impossible host name.
ERRORS: Final = (InvalidHandshake, InvalidURI, ConnectionClosed, OSError, EOFError, TimeoutError, UnicodeError)
URL_SETTING: Final = "ARIES_WS_URL"
AUTHORITIES_SETTING: Final = "ARIES_SSL_CAFILE"
#: The other dialect's path, by path [D].
OTHER_PATHS: Final[Mapping[str, str]] = MappingProxyType(
    {"/v1/market/ws": "/v1/marketdata/ws", "/v1/marketdata/ws": "/v1/market/ws"}
)
_CHECK_URL: Final = f"Check {URL_SETTING}."
_ADDRESS_REJECTED: Final = (
    "No token has been sent at this point, so Aries, or a proxy on the way, rejects this machine's address: ask "
    "Aries, and check the network."
)
#: What to do about a rejected handshake, by HTTP status; other statuses see ``_handshake_hint``.
_HANDSHAKE_HINTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: _ADDRESS_REJECTED,
        HTTPStatus.FORBIDDEN: _ADDRESS_REJECTED,
        HTTPStatus.TOO_MANY_REQUESTS: HINTS[DisconnectCause.THROTTLED],
    }
)


def not_tried(error: BridgeError) -> ConnectionLost:
    """Return the loss that something stands for that prevents even the attempt to connect."""
    if isinstance(error, ProxyUnusable):
        return ConnectionLost(DisconnectCause.NETWORK, error.complaint, hint=error.hint)
    problem = "; ".join(error.problems) if isinstance(error, SettingsError) else str(error)
    return ConnectionLost(DisconnectCause.NETWORK, problem)


def proxy_failed(error: Exception, url: str, proxy: Proxy) -> ConnectionLost:
    """Return the loss that a proxy stands for that opens no tunnel."""
    host = _host(url)
    if isinstance(error, InvalidProxyStatus):
        fault = proxy_refused(proxy, error.response.status_code, host)
    else:
        fault = proxy_unreachable(proxy, error, host, AUTHORITIES_SETTING)
    return ConnectionLost(DisconnectCause.NETWORK, f"the proxy {proxy} {fault.problem}", hint=fault.hint)


def connect_failed(error: Exception, url: str, timeout_seconds: float) -> ConnectionLost:
    """Return the loss that an error of opening a WebSocket stands for."""
    parts, host = urlsplit(url), _host(url)
    cause, hint = DisconnectCause.NETWORK, ""
    match error:
        case InvalidStatus(response=response):
            headers = response.headers
            return handshake_rejected(response.status_code, parts.path, headers.get("Retry-After"), headers.get("Date"))
        case ssl.SSLError():
            fault = tls_fault(error, url_setting=URL_SETTING, authorities_setting=AUTHORITIES_SETTING)
            problem, hint = f"{host} {fault.problem}", fault.hint
        case TimeoutError():
            problem = f"{host} did not answer within {timeout_seconds:g} s"
        case InvalidMessage() if parts.scheme == "ws":
            cause, hint = DisconnectCause.HANDSHAKE, f"{_CHECK_URL} The port may speak TLS (wss://)."
            problem = f"{host} is not a WebSocket server: {error}"
        case InvalidHandshake() | InvalidURI():
            cause, hint = DisconnectCause.HANDSHAKE, _CHECK_URL
            problem = f"{host} is not a WebSocket server: {error}"
        case ConnectionClosed():  # before the request was sent
            problem = f"{host} closed the connection immediately"
        case ConnectionResetError() if parts.scheme == "wss":
            hint = f"If this lasts, check {URL_SETTING}: the port may speak no TLS."
            problem = f"{host} closed the connection in the TLS handshake"
        case _:
            problem = f"{host} cannot be reached: {os_reason(error)}"
    return ConnectionLost(cause, problem, hint=hint)


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def handshake_rejected(status: int, path: str, retry_after: str | None, date: str | None = None) -> HandshakeRefused:
    """Return the loss that an HTTP response without an upgrade stands for, by its status and headers."""
    seconds = retry_after_seconds(retry_after, date)
    return HandshakeRefused(
        _handshake_cause(status, seconds),
        f"Aries answered with HTTP {status} for {path or '/'} instead of a WebSocket",
        hint=_handshake_hint(status, path),
        retry_after_seconds=seconds,
        date=date,
        status=status,
    )


def _handshake_cause(status: int, retry_after_seconds: float | None) -> DisconnectCause:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return DisconnectCause.AUTH_REFUSED
    if status == HTTPStatus.TOO_MANY_REQUESTS or retry_after_seconds is not None:
        return DisconnectCause.THROTTLED
    return DisconnectCause.HANDSHAKE


def _handshake_hint(status: int, path: str) -> str:
    if status == HTTPStatus.NOT_FOUND:
        return _path_hint(path)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"{_CHECK_URL} Redirects are not followed, so that the token is sent to no other server."
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "The server failed: try again later, as the bridge does; if this lasts, check ARIES_WS_URL."
    return _HANDSHAKE_HINTS.get(status, _CHECK_URL)


def _path_hint(path: str) -> str:
    other = OTHER_PATHS.get(path.rstrip("/"))
    if other is None:
        return f"Check ARIES_WS_URL: the paths of the two dialects are {' and '.join(OTHER_PATHS)}."
    return f"Check ARIES_WS_URL: the path of the other dialect is {other}."
