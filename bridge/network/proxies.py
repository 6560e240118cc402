"""The proxy of the environment for a URL: one rule for the feed, the token endpoints and the schema registry.

``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in capitals or not, as curl and most clients read
them; ``NO_PROXY`` also has networks (``10.0.0.0/8``), as in Go. The libraries' own look-ups differ from each other:
websockets' ignores ``ALL_PROXY``, and aiohttp's also reads ``.netrc``, so that a password that is there for other
programs would be sent to the server. Loopback addresses are never proxied.
"""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from yarl import URL

from bridge.errors import ProxyUnusable
from bridge.network.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "ws": 80, "https": 443, "wss": 443})
#: The variables that may name the proxy, by the scheme of the target; the first that is set counts. A WebSocket needs
#: a tunnel, which is what proxies for https are for.
_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "http": ("HTTP_PROXY", "ALL_PROXY"),
        "https": ("HTTPS_PROXY", "ALL_PROXY"),
        "ws": ("WS_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"),
        "wss": ("WSS_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    }
)
_SCHEMES: Final = ("http", "https")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: its URL, which may contain a password, and the variable that names it. Its text has no credentials."""

    url: str = field(repr=False)
    address: str
    variable: str

    @property
    def has_credentials(self) -> bool:
        """Whether its URL has a user."""
        return "@" in self.url

    def __str__(self) -> str:
        return self.address


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a URL, None if there is none; raise ``ProxyUnusable`` without its password."""
    target = urlsplit(url)
    host, port = target.hostname or "", target.port or _DEFAULT_PORTS.get(target.scheme, 0)
    if not host or is_loopback(host):
        return None
    for variable in _VARIABLES.get(target.scheme, ()):
        if value := _read(variable):
            return None if _is_exempt(host, port) else _parse(variable, value, host)
    return None


def _read(variable: str) -> str:
    """Return a variable; its name in lower case comes first, even if it is empty."""
    for name in (variable.lower(), variable):
        if (value := os.environ.get(name)) is not None:
            return value.strip()
    return ""


def _parse(variable: str, text: str, host: str) -> Proxy:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        scheme, port = parts.scheme, parts.port or _DEFAULT_PORTS.get(parts.scheme)
        is_plain = parts.path in ("", "/") and not parts.query and not parts.fragment and not re.search(r"\s", text)
        if scheme in _SCHEMES and parts.hostname and is_plain:
            url = URL(f"{scheme}://{_credentials(parts)}{_bracketed(parts.hostname)}:{port}")
            return Proxy(str(url), f"{_bracketed(url.raw_host or '')}:{port}", variable)
    except ValueError:  # its text may contain the password
        scheme = ""
    if scheme.startswith("socks"):
        problem = f"it is a {scheme}:// proxy, and SOCKS is not supported"
    elif scheme and scheme not in _SCHEMES:
        problem = f"it is a {scheme}:// URL"
    else:
        problem = "it is not a valid URL of a proxy"
    raise ProxyUnusable(variable, problem, host) from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _credentials(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    user, password = (quote(unquote(text or ""), safe="") for text in (parts.username, parts.password))
    return f"{user}:{password}@"


def _is_exempt(host: str, port: int) -> bool:
    """Return whether ``NO_PROXY`` has the host: its name, a domain above it, its address or its network."""
    return any(_matches(entry, host.lower().removesuffix("."), port) for entry in _entries())


def _entries() -> Iterator[str]:
    return (entry for item in _read("NO_PROXY").split(",") if (entry := item.strip().lower()))


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    with suppress(ValueError):
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
        with suppress(ValueError):
            return ipaddress.ip_address(host) in network
        return False
    name, colon, wanted_port = entry.rpartition(":")
    if colon and wanted_port.isdecimal():
        return int(wanted_port) == port and _matches(name, host, port)
    domain = entry.removeprefix("*").removeprefix(".").removesuffix(".")
    return host == domain or host.endswith(f".{domain}")
