"""Which errors of a request by aiohttp are about the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from bridge.network.faults import proxy_refused, proxy_unreachable

if TYPE_CHECKING:
    from bridge.network.faults import Fault
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


def _is_at(error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError, proxy: Proxy) -> bool:
    return (error.host, error.port) == (URL(proxy.url).host, URL(proxy.url).port)
