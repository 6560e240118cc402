"""Can a server be reached: its name, its port, its certificate."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bridge.aries.certificates import certificate_remedy
from bridge.check.report import span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.check.report import Report

#: A certificate that lapses sooner is worth a warning.
WARN_DAYS = 14
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Name a server and the settings that remedies speak of.

    ``named_by`` says where its address comes from, ``trusted_by`` where the authorities to trust are named, and
    ``any_name`` how to accept a certificate for another name, where that is possible. ``tls`` None = without TLS.
    """

    label: str
    host: str
    port: int
    named_by: str
    tls: ssl.SSLContext | None = None
    trusted_by: str = ""
    any_name: str = ""

    @property
    def address(self) -> str:
        """Return host and port as one writes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def reach(report: Report, endpoint: Endpoint, patience_seconds: float) -> bool:
    """Report name, port and certificate of a server, up to the first that fails; return whether none did."""
    return (
        await _resolves(report, endpoint, patience_seconds)
        and await _connects(report, endpoint, patience_seconds)
        and (endpoint.tls is None or await _is_secure(report, endpoint, endpoint.tls, patience_seconds))
    )


async def _resolves(report: Report, endpoint: Endpoint, patience_seconds: float) -> bool:
    if _is_address(endpoint.host):
        return True
    check = f"{endpoint.label} DNS"
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(patience_seconds):
            found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:  # UnicodeError: no possible host name
        why = _reason(error, patience_seconds)
        report.fail(check, f"{endpoint.host} has no address ({why})", f"Check {endpoint.named_by} and the DNS.")
        return False
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    report.ok(check, f"{endpoint.host} is {addresses[0]}{more}")
    return True


async def _connects(report: Report, endpoint: Endpoint, patience_seconds: float) -> bool:
    check = f"{endpoint.label} TCP"
    started = time.monotonic()
    try:
        async with asyncio.timeout(patience_seconds):
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except (OSError, UnicodeError, TimeoutError) as error:
        report.fail(
            check,
            f"{endpoint.address} cannot be reached ({_reason(error, patience_seconds)})",
            f"Check {endpoint.named_by}, that the server runs, and that firewalls and network policies let us "
            f"through to port {endpoint.port}.",
        )
        return False
    took_ms = (time.monotonic() - started) * 1000
    writer.transport.abort()
    report.ok(check, f"{endpoint.address} accepted a connection in {took_ms:.0f} ms")
    return True


async def _is_secure(report: Report, endpoint: Endpoint, tls: ssl.SSLContext, patience_seconds: float) -> bool:
    check = f"{endpoint.label} TLS"
    try:
        async with asyncio.timeout(patience_seconds):
            _, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=tls, server_hostname=endpoint.host
            )
    except ssl.SSLCertVerificationError as error:
        why = f"the certificate of {endpoint.address} is not accepted: {error.verify_message}"
        remedy = certificate_remedy(
            error.verify_code,
            endpoint.address,
            named_by=endpoint.named_by,
            trusted_by=endpoint.trusted_by,
            any_name=endpoint.any_name,
        )
        report.fail(check, why, remedy)
        return False
    except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
        why = _reason(error, patience_seconds)
        remedy = f"This port may speak no TLS, or want a client certificate: check {endpoint.named_by}."
        report.fail(check, f"{endpoint.address} did not shake hands ({why})", remedy)
        return False
    certificate = writer.get_extra_info("ssl_object").getpeercert()
    writer.transport.abort()
    judge_certificate(report, check, endpoint.address, certificate)
    return True


def judge_certificate(report: Report, check: str, address: str, certificate: Mapping[str, Any] | None) -> None:
    """Report how long an accepted certificate lasts."""
    lapses_at = ssl.cert_time_to_seconds((certificate or {})["notAfter"])
    left_seconds = lapses_at - time.time()
    said = f"lapses in {span(left_seconds)} ({datetime.fromtimestamp(lapses_at, UTC):%Y-%m-%d})"
    if left_seconds < WARN_DAYS * _DAY_SECONDS:
        remedy = f"Have it renewed by whoever runs {address}: from then on no connection is made."
        report.warn(check, f"the certificate of {address} {said}", remedy)
    else:
        report.ok(check, f"the certificate of {address} {said}")


def _reason(error: Exception, patience_seconds: float) -> str:
    # The texts of asyncio and uvloop name the address once more.
    if isinstance(error, TimeoutError):
        return f"no answer within {patience_seconds:g} s"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no TLS").lower().replace("_", " ")
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
