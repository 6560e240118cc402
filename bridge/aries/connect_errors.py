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
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from bridge.aries.protocol.close_codes import HINTS
from bridge.backoff import retry_after_seconds
from bridge.errors import ConnectionLost, DisconnectCause, HandshakeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What opening a WebSocket raises: a proxy in the environment that cannot be used may be an InvalidProxy, a ValueError
#: (its port) or an ImportError (SOCKS needs another library).
INVALID_PROXY: Final = (InvalidProxy, ValueError, ImportError)
ERRORS: Final = (InvalidHandshake, InvalidURI, ConnectionClosed, OSError, EOFError, TimeoutError, *INVALID_PROXY)
#: The other dialect's path, by path [D].
OTHER_PATHS: Final[Mapping[str, str]] = MappingProxyType(
    {"/v1/market/ws": "/v1/marketdata/ws", "/v1/marketdata/ws": "/v1/market/ws"}
)
_FIX_PROXY: Final = "Fix HTTPS_PROXY, or exempt the host with NO_PROXY."
_CHECK_URL: Final = "Check ARIES_WS_URL."
_CERTIFICATE_FOR_ANOTHER_NAME: Final = "Put the name that the certificate was issued for into ARIES_WS_URL."
#: What to do about a certificate that is not accepted, by OpenSSL's X509_V_ERR_*.
_CERTIFICATE_HINTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        9: "Check this machine's clock.",  # not yet valid
        10: "Have it renewed by the server's operator, and check this machine's clock.",  # expired
        62: _CERTIFICATE_FOR_ANOTHER_NAME,  # host name mismatch
        64: _CERTIFICATE_FOR_ANOTHER_NAME,  # IP address mismatch
    }
)
_UNKNOWN_AUTHORITY: Final = "If a private authority issued it, set SSL_CERT_FILE to that authority's PEM file."
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


def connect_failed(error: Exception, url: str, timeout_seconds: float) -> ConnectionLost:
    """Return the loss that an error of opening a WebSocket stands for."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    cause, hint = DisconnectCause.NETWORK, ""
    match error:
        case InvalidStatus(response=response):
            headers = response.headers
            return handshake_rejected(response.status_code, parts.path, headers.get("Retry-After"), headers.get("Date"))
        case ssl.SSLCertVerificationError(verify_message=reason, verify_code=code):
            hint = _CERTIFICATE_HINTS.get(code, _UNKNOWN_AUTHORITY)
            problem = f"the certificate of {host} is not accepted: {reason.rstrip('. ')}"
        case TimeoutError():
            problem = f"{host} did not answer within {timeout_seconds:g} s"
        case InvalidProxy() | ValueError() | ImportError() if not isinstance(error, UnicodeError):
            hint = _FIX_PROXY
            problem = f"the proxy in the environment cannot be used: {_proxy_problem(error)}"
        case ProxyError():
            hint = "Check HTTPS_PROXY, or exempt the host with NO_PROXY."
            problem = f"the proxy refused the connection: {error}"
        case InvalidHandshake() | InvalidURI():
            cause, hint = DisconnectCause.HANDSHAKE, _CHECK_URL
            problem = f"{host} is not a WebSocket server: {error}"
        case ConnectionClosed():  # before the request was sent
            problem = f"{host} closed the connection immediately"
        case _:
            problem = f"{host} cannot be reached: {str(error) or type(error).__name__}"
    return ConnectionLost(cause, problem, remedy=hint)


def _proxy_problem(error: Exception) -> str:
    """Return what is wrong with the proxy, without its URL, which can contain a password."""
    match error:
        case InvalidProxy(msg=problem):
            return problem
        case ImportError():
            return "SOCKS is not supported"
        case _:
            return "its URL is invalid"


def handshake_rejected(status: int, path: str, retry_after: str | None, date: str | None = None) -> HandshakeRefused:
    """Return the loss that an HTTP response without an upgrade stands for, by its status and headers."""
    seconds = retry_after_seconds(retry_after, date)
    return HandshakeRefused(
        _handshake_cause(status, seconds),
        f"Aries answered with HTTP {status} for {path or '/'} instead of a WebSocket",
        remedy=_handshake_hint(status, path),
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
