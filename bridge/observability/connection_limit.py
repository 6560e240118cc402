"""A limit on HTTP connections that favours those with requests.

Connections without a request, or with a slow one, are closed first, and of these those of the address with the most
connections. So probes are answered however many connections another client opens.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp.web import RequestHandler, Server

#: Further ones are closed, so that clients cannot use up the file descriptors that the bridge needs.
MAX_CONNECTIONS: Final = 64
#: For this time a new connection is not closed to make room: its request may not have been read yet.
GRACE_SECONDS: Final = 1.0
#: Maximum number including new connections in their grace period.
MAX_CONNECTIONS_IN_GRACE: Final = 4 * MAX_CONNECTIONS
#: How long a client may take to send the head of its first request.
FIRST_REQUEST_SECONDS: Final = 5.0
#: How often connections are checked, while there are any.
SWEEP_SECONDS: Final = 0.5


@dataclass(slots=True, eq=False)
class _Connection:
    protocol: RequestHandler
    opened_at: float
    has_asked: bool = False
    open_requests: int = 0

    def is_open(self) -> bool:
        return self.protocol.transport is not None

    def abort(self) -> None:
        if self.protocol.transport is not None:
            self.protocol.transport.abort()


class ConnectionLimit:
    """The connections of a server, and which of them are closed to make room."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connections: dict[object, _Connection] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None

    def accept(self) -> RequestHandler:
        """Return the protocol of a new connection, after making room for it."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._make_room(1, now)
        protocol = self._server()
        self._connections[protocol] = _Connection(protocol, now)
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(SWEEP_SECONDS, self._sweep)
        return protocol

    @contextmanager
    def request(self, protocol: object) -> Iterator[None]:
        """Count the block as the response to a request of a connection."""
        if (connection := self._connections.get(protocol)) is None:
            yield
            return
        connection.has_asked = True
        connection.open_requests += 1
        try:
            yield
        finally:
            connection.open_requests -= 1

    def _sweep(self) -> None:
        """Close connections that sent no request in time or are too many; repeat while any is open."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in self._connections.values():
            if not connection.has_asked and now - connection.opened_at >= FIRST_REQUEST_SECONDS:
                connection.abort()
        self._make_room(0, now)
        self._sweep_timer = loop.call_later(SWEEP_SECONDS, self._sweep) if self._connections else None

    def _make_room(self, count: int, now: float) -> None:
        """Close connections beyond the limit, if ``count`` more are opened."""
        self._connections = {
            protocol: connection
            for protocol, connection in self._connections.items()
            if connection.is_open() or _is_about_to_open(connection, now)
        }
        held = Counter(map(_address, self._connections.values()))
        while len(self._connections) + count > MAX_CONNECTIONS:
            first = max(
                self._connections.values(),
                key=lambda one: (held[_address(one)], not one.open_requests, now - one.opened_at),
            )
            if not _is_past_grace(first, now) and len(self._connections) + count <= MAX_CONNECTIONS_IN_GRACE:
                return
            held[_address(first)] -= 1
            del self._connections[first.protocol]
            first.abort()


def _is_about_to_open(connection: _Connection, now: float) -> bool:
    return not connection.has_asked and not _is_past_grace(connection, now)


def _is_past_grace(connection: _Connection, now: float) -> bool:
    return now - connection.opened_at >= GRACE_SECONDS


def _address(connection: _Connection) -> str:
    transport = connection.protocol.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    return str(peer[0]) if peer else ""
