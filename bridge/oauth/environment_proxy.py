"""The proxy of the environment (``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``) for a request by aiohttp.

aiohttp's own look-up (``trust_env``) also reads ``.netrc``: a password that is there for other programs would be sent
to the server or the proxy, and beside an ``Authorization`` header of our own it ends the request by an exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping

#: aiohttp does not speak TLS with a proxy; such a one is for other programs.
_IGNORED_SCHEMES = ("https", "wss")


def proxy_options(target: URL) -> Mapping[str, object]:
    """Return the arguments of an aiohttp request for its proxy; raise ValueError if the proxy's URL is invalid."""
    if not target.host or proxy_bypass(target.host):
        return {}
    configured = getproxies().get(target.scheme)
    if configured is None:
        return {}
    proxy = URL(configured)
    if proxy.scheme in _IGNORED_SCHEMES:
        return {}
    if proxy.scheme != "http" or not proxy.host:
        raise ValueError
    return {"proxy": proxy}
