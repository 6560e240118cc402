"""A socket that listens on all addresses of this machine, of IPv4 and IPv6."""

from __future__ import annotations

import socket
from typing import Final

#: Stands for all addresses of both families, as in Linux and Go; asyncio would take it for those of IPv6 alone.
ALL_ADDRESSES: Final = "::"


def listen_on_all_addresses(port: int) -> socket.socket:
    """Return a listening socket for both families, or for IPv4 where there is no IPv6; raise OSError."""
    if socket.has_dualstack_ipv6():
        return socket.create_server((ALL_ADDRESSES, port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
