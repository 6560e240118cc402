"""What a failed TLS handshake means, and what the operator can do about it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Predicates by parts of OpenSSL's reason; the first match counts.
_HANDSHAKE_PROBLEMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "WRONG_VERSION_NUMBER": "answers without TLS",
        "RECORD_LAYER_FAILURE": "answers without TLS",
        "HTTP_REQUEST": "answers without TLS",
        "UNEXPECTED_EOF": "closed the connection in the TLS handshake",
        "CERTIFICATE_REQUIRED": "wants a client certificate",
        "PROTOCOL": "has no TLS version that this machine allows",
    }
)


@dataclass(frozen=True, slots=True)
class TlsFault:
    """Why a handshake failed: a predicate that follows the server's name, and what to do."""

    problem: str
    remedy: str


def tls_fault(error: Exception, *, url_setting: str, authorities_setting: str) -> TlsFault:
    """Return what a TLS error means; the settings are those of the server's URL and of the authorities to trust."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(". ") or "not valid"
        remedy = _certificate_remedy(error.verify_code, url_setting, authorities_setting)
        return TlsFault(f"has a certificate that is not accepted: {reason}", remedy)
    reason = (getattr(error, "reason", None) or "").upper()
    problem = next((text for part, text in _HANDSHAKE_PROBLEMS.items() if part in reason), "")
    return TlsFault(
        problem or f"refuses the TLS handshake ({reason.lower().replace('_', ' ') or type(error).__name__})",
        f"Check {url_setting}: scheme, host and port.",
    )


def _certificate_remedy(code: int, url_setting: str, authorities_setting: str) -> str:
    match code:
        case 9:  # X509_V_ERR_CERT_NOT_YET_VALID
            return "Check this machine's clock."
        case 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            return "Have it renewed by the server's operator, and check this machine's clock."
        case 18:  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
            return f"If it is the right one, put it into the PEM file that {authorities_setting} names."
        case 62 | 64:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
            return f"Put the name that the certificate was issued for into {url_setting}."
        case _:
            return (
                "If a private authority issued it (your company's, or that of a proxy that inspects TLS), set "
                f"{authorities_setting} to that authority's PEM file."
            )
