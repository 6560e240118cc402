"""What a failed connection means, and what the operator can do about it."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.network.proxies import Proxy

_NO_TLS: Final = "answers without TLS"
#: Predicates by parts of OpenSSL's reason; the first match counts.
_HANDSHAKE_PROBLEMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "WRONG_VERSION_NUMBER": _NO_TLS,
        "RECORD_LAYER_FAILURE": _NO_TLS,
        "HTTP_REQUEST": _NO_TLS,
        "UNEXPECTED_EOF": "closed the connection in the TLS handshake",
        "CERTIFICATE_REQUIRED": "requires a client certificate",
        "PROTOCOL": "has no TLS version that this machine allows",
    }
)
_PROXY_PROBLEMS: Final[Mapping[int, str]] = MappingProxyType(
    {
        HTTPStatus.FORBIDDEN: "does not allow connections to {host}",
        HTTPStatus.BAD_GATEWAY: "cannot reach {host}",
        HTTPStatus.SERVICE_UNAVAILABLE: "cannot reach {host}",
        HTTPStatus.GATEWAY_TIMEOUT: "cannot reach {host}",
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a connection failed: a predicate that follows the server's name, and what to do."""

    problem: str
    hint: str


def os_reason(error: Exception) -> str:
    """Return the operating system's or the resolver's words for an error."""
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def tls_fault(error: Exception, *, url_setting: str, authorities_setting: str) -> Fault:
    """Return what a TLS error means; the settings are those of the server's URL and of the authorities to trust."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(". ") or "not valid"
        hint = _certificate_hint(error.verify_code, url_setting, authorities_setting)
        return Fault(f"has a certificate that is not accepted: {reason}", hint)
    reason = (getattr(error, "reason", None) or "").upper()
    problem = next((text for part, text in _HANDSHAKE_PROBLEMS.items() if part in reason), "")
    if not problem:
        problem = f"refuses the TLS handshake ({reason.lower().replace('_', ' ') or type(error).__name__})"
    return Fault(problem, f"Check {url_setting}: its scheme and port, as the port may speak no TLS.")


def _certificate_hint(code: int, url_setting: str, authorities_setting: str) -> str:
    match code:
        case 9:  # X509_V_ERR_CERT_NOT_YET_VALID
            return "Check this machine's clock."
        case 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            return "Have it renewed by the server's operator, and check this machine's clock."
        case 18:  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
            return f"If it is the right one, put it into a PEM file and set {authorities_setting} to that."
        case 62 | 64:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
            return f"Put the name that the certificate was issued for into {url_setting}."
        case _:
            return (
                "If a private authority issued it (your company's, or that of a proxy that inspects TLS), set "
                f"{authorities_setting} to that authority's PEM file."
            )


def proxy_refused(proxy: Proxy, status: int, host: str) -> Fault:
    """Return what a proxy's response to a request for ``host`` means."""
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        problem = "rejects the user and password" if proxy.has_credentials else "requires a user and a password"
        hint = f"Put the right ones into {proxy.variable} (http://user:password@{proxy}), percent-encoded"
    else:
        problem = _PROXY_PROBLEMS.get(status, "refused to connect to {host}").format(host=host)
        hint = f"Ask the proxy's operator to allow {host}, and check its name"
    return Fault(f"{problem} (HTTP {status})", f"{hint}; or exempt {host} with NO_PROXY.")


def proxy_unreachable(proxy: Proxy, error: Exception, host: str, authorities_setting: str) -> Fault:
    """Return why there is no connection to a proxy."""
    if isinstance(error, ssl.SSLError):
        return tls_fault(error, url_setting=proxy.variable, authorities_setting=authorities_setting)
    if isinstance(error, TimeoutError) and not error.errno:
        problem = "did not answer in time"
    elif isinstance(error, OSError | UnicodeError):
        problem = f"cannot be reached: {os_reason(error)}"
    else:
        problem = "does not answer as an HTTP proxy does"
    return Fault(problem, f"Check {proxy.variable}, or exempt {host} with NO_PROXY.")
