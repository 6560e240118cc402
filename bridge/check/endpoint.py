"""Connections that send no request: for certificates, and for servers that must not be asked anything."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from bridge.check.report import duration_text
from bridge.network.authorities import trusting
from bridge.network.faults import os_reason, tls_fault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from bridge.check.report import CheckReport

#: A certificate that expires sooner is worth a warning.
WARN_DAYS = 14
_DAY_SECONDS = 86_400
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a server, with the trust for TLS; ``tls`` None means plain TCP."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @classmethod
    def of_url(cls, url: str, cafile: str | PathLike[str] | None = None, *, also_system: bool = False) -> Self:
        """Return the endpoint of an http or https URL; ``also_system`` adds the system's authorities to the file's."""
        parts = urlsplit(url)
        tls = trusting("CA file", cafile, also_system=also_system) if parts.scheme == "https" else None
        return cls(parts.hostname or "", parts.port or _PORTS[parts.scheme], tls)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def check_endpoint(
    report: CheckReport, check: str, endpoint: Endpoint, hint: str, timeout_seconds: float
) -> None:
    """Report whether a server accepts a connection, and when its certificate expires."""
    try:
        async with asyncio.timeout(timeout_seconds):
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=endpoint.tls)
    except (OSError, UnicodeError, TimeoutError) as error:  # UnicodeError: an impossible host name
        report.fail(check, f"{endpoint} {_problem(error, timeout_seconds)}", hint)
        return
    tls = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    if tls is None:
        report.ok(check, f"{endpoint} accepts connections")
    else:
        report_certificate(report, check, str(endpoint), tls.getpeercert())


def _problem(error: Exception, timeout_seconds: float) -> str:
    if isinstance(error, ssl.SSLError):
        return tls_fault(error, url_setting="the address", authorities_setting="the setting of its CA file").problem
    if isinstance(error, TimeoutError) and not error.errno:
        return f"does not answer within {timeout_seconds:g} s"
    return f"cannot be reached: {os_reason(error)}"


def report_certificate(report: CheckReport, check: str, address: str, certificate: Mapping[str, Any]) -> None:
    """Report when an accepted certificate expires."""
    expires_at = ssl.cert_time_to_seconds(certificate["notAfter"])
    left_seconds = expires_at - time.time()
    expiry = f"expires in {duration_text(left_seconds)} ({datetime.fromtimestamp(expires_at, UTC):%Y-%m-%d})"
    if left_seconds < WARN_DAYS * _DAY_SECONDS:
        hint = f"It must be renewed by whoever runs {address}: connections fail from then on."
        report.warn(check, f"the certificate of {address} {expiry}", hint)
    else:
        report.ok(check, f"the certificate of {address} {expiry}")
