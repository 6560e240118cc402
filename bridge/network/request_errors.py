"""What the errors of a request by aiohttp say about the connection: to the proxy, or to the server itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from bridge.network.faults import Fault, os_reason, proxy_refused, proxy_unreachable, tls_fault

if TYPE_CHECKING:
    from bridge.network.proxies import Proxy


def proxy_fault(error: Exception, proxy: Proxy, host: str, authorities_setting: str) -> Fault | None:
    """Return what an error says about the proxy, None if it is about the endpoint behind it."""
    match error:
        case aiohttp.ClientHttpProxyError(status=status):
            return proxy_refused(proxy, status, host)
        case aiohttp.ClientConnectorCertificateError(certificate_error=cause) if _is_at(error, proxy):
            return proxy_unreachable(proxy, cause, host, authorities_setting)
        case aiohttp.ClientConnectorError(os_error=cause) if _is_at(error, proxy):
            return proxy_unreachable(proxy, cause, host, authorities_setting)
    return None


def connection_fault(error: Exception, *, url_setting: str, authorities_setting: str) -> Fault | None:
    """Return why there is no connection to the server, None if there was one or the error is another.

    The settings are those of the server's URL and of the authorities to trust.
    """
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=cause):
            return tls_fault(cause, url_setting=url_setting, authorities_setting=authorities_setting)
        case aiohttp.ClientConnectorSSLError(os_error=cause):
            return tls_fault(cause, url_setting=url_setting, authorities_setting=authorities_setting)
        case aiohttp.ClientConnectorDNSError() | UnicodeError():  # UnicodeError: an invalid host name
            return Fault("has a host name without an address", f"Check {url_setting} and the DNS.")
        case aiohttp.ClientConnectorError(os_error=cause):
            return Fault(f"cannot be reached ({os_reason(cause)})", f"Check {url_setting} and the network.")
    return None


def _is_at(error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError, proxy: Proxy) -> bool:
    return (error.host, error.port) == (URL(proxy.url).host, URL(proxy.url).port)
