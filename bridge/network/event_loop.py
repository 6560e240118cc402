"""The event loop of the bridge: uvloop's, which connects by the address of a name that answers first (RFC 8305).

uvloop and aiokafka try the addresses of a host one after the other, and one that swallows packets is given up after
two minutes. As all libraries open their connections by the event loop, this is the one place to do it better.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohappyeyeballs
import uvloop

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Coroutine, Sequence

    from aiohappyeyeballs import AddrInfoType

ResultT = TypeVar("ResultT")

#: The "Connection Attempt Delay" that RFC 8305 recommends, section 5.
ATTEMPT_DELAY_SECONDS: Final = 0.25


class EventLoop(uvloop.Loop):
    """An event loop that tries the addresses of a host side by side."""

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        *,
        ssl: bool | ssl_module.SSLContext | None = None,
        server_hostname: str | None = None,
        **options: Any,
    ) -> Any:
        """Connect to the first address that answers; other options than those for TLS are the library's own."""
        if host is not None and not options:
            addresses = await self.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            options["sock"] = await _connected_socket(addresses)
            if ssl and server_hostname is None:
                server_hostname = host
            host = port = None
        return await super().create_connection(
            protocol_factory, host, port, ssl=ssl, server_hostname=server_hostname, **options
        )


async def _connected_socket(addresses: Sequence[AddrInfoType]) -> socket.socket:
    """Return a socket that is connected to the first address that answers.

    aiohappyeyeballs swallows a cancellation that comes while it ends the other attempts: it is raised all the same.
    """
    task = asyncio.current_task()
    assert task is not None
    cancellations = task.cancelling()
    connected = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=ATTEMPT_DELAY_SECONDS)
    if task.cancelling() > cancellations:
        connected.close()
        raise asyncio.CancelledError
    return connected


def run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine in an event loop of its own, and return its result."""
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        return runner.run(work)
