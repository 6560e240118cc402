"""The host names that the status page is served under: a defence against DNS rebinding.

Any web page can make a browser inside the network send requests to this server, by resolving the page's own host name
to its address; the browser then lets the page read the responses. Such a request names a host of the public DNS, and
does not use HTTPS.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Domains that cannot be registered (RFC 6761, 6762 and 8375, ICANN's ``internal``), and those of Kubernetes' Services.
PRIVATE_DOMAINS: Final = (".home.arpa", ".internal", ".local", ".localhost", ".svc", ".test")
HINT: Final = (
    "this host name may be of the public DNS (DNS rebinding): use an IP address, localhost, a name without dots, or "
    "one that ends with .svc, .local or .internal; or reach it by HTTPS with a browser, through a proxy"
)


class HostCheck:
    """The names of this server: its own, and those that cannot be of the public DNS."""

    def __init__(self, listens_on: str) -> None:
        self._own = {listens_on.lower(), socket.gethostname().lower()}

    def permits(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request with these headers cannot come from a web page whose own name points here.

        Browsers add ``Sec-Fetch-Site`` only with HTTPS or on this machine, and let no page set it. With HTTPS, whoever
        ends it has a certificate for the name.
        """
        host = headers.get("Host")
        return host is None or "Sec-Fetch-Site" in headers or self._is_local(_name(host))

    def _is_local(self, name: str) -> bool:
        return "." not in name or name in self._own or name.endswith(PRIVATE_DOMAINS) or _is_address(name)


def _name(host: str) -> str:
    """Return the host without its port, brackets and last dot."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
