"""Opening and closing the WebSocket to Aries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from websockets.asyncio import client as websockets
from websockets.frames import CloseCode

import bridge
from bridge.aries import connect_errors
from bridge.aries.protocol import close_codes
from bridge.errors import ConnectionLost, DisconnectCause, ProxyUnusable, SettingsError
from bridge.network.authorities import trusting
from bridge.network.proxies import proxy_for

if TYPE_CHECKING:
    from os import PathLike

    from websockets.exceptions import ConnectionClosed

    from bridge.network.proxies import Proxy

OPEN_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 2.0
#: A larger frame ends the connection with code 1009; the vendor documents no limit.
MAX_FRAME_BYTES = 16 * 1024 * 1024
#: Frames that the library queues before it stops reading.
MAX_QUEUED_FRAMES = 64

ConnectionT = TypeVar("ConnectionT", bound=websockets.ClientConnection)


class _Connect(websockets.connect):
    """A connection attempt that follows no redirect: the token is meant for the configured server only."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the error, so that it is raised instead of being followed."""
        return exc


class _ProxyConnection(websockets.HTTPProxyConnection):
    """A connection to a proxy that may close it: the library reports the end twice, which its own reader rejects."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end, unless ``eof_received`` did."""
        if not self.reader.eof:
            super().connection_lost(exc)


websockets.HTTPProxyConnection = _ProxyConnection  # type: ignore[misc]  # what ``websockets.connect`` creates


async def connect(
    url: str, connection: type[ConnectionT], timeout_seconds: float, cafile: PathLike[str] | None = None
) -> ConnectionT:
    """Open a WebSocket; raise ``ConnectionLost``, or ``HandshakeRefused`` if the server answered with an HTTP error.

    Trusts the authorities in ``cafile`` and those of the system, of the server and of a proxy.
    """
    proxy, is_connected = None, False

    def connected(*arguments: Any, **options: Any) -> ConnectionT:
        """Return the connection, which is created when a proxy, if there is one, has opened the tunnel."""
        nonlocal is_connected
        is_connected = True
        return connection(*arguments, **options)

    try:
        proxy = proxy_for(url)
        socket = await _Connect(
            url,
            create_connection=connected,  # type: ignore[arg-type]  # it is only called
            proxy=None if proxy is None else proxy.url,
            **_tls(url, proxy, cafile),
            compression=None,  # it takes about 4 µs a frame and saves little, as frames are small
            max_size=MAX_FRAME_BYTES,
            max_queue=MAX_QUEUED_FRAMES,
            open_timeout=timeout_seconds,
            close_timeout=CLOSE_TIMEOUT_SECONDS,
            ping_interval=None,  # see bridge.aries.protocol.keep_alive
            user_agent_header=f"aries-bridge/{bridge.__version__}",
        )
    except (ProxyUnusable, SettingsError) as error:
        raise connect_errors.not_tried(error) from None
    except connect_errors.ERRORS as error:
        if proxy is not None and not is_connected:
            raise connect_errors.proxy_failed(error, url, proxy) from error
        raise connect_errors.connect_failed(error, url, timeout_seconds) from error
    assert isinstance(socket, connection)  # create_connection
    return socket


def _tls(url: str, proxy: Proxy | None, cafile: PathLike[str] | None) -> dict[str, Any]:
    """Return the options for TLS, with files read again at each connection; raise SettingsError."""
    is_secure = {"ssl": url.startswith("wss:"), "proxy_ssl": proxy is not None and proxy.url.startswith("https:")}
    if not any(is_secure.values()):
        return {}
    context = trusting(connect_errors.AUTHORITIES_SETTING, cafile, also_system=True)
    return {option: context for option, needed in is_secure.items() if needed}


async def close(socket: websockets.ClientConnection) -> None:
    """Close the socket; abort the transport if the closing handshake takes too long."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS + 1):
            await socket.close()
    except TimeoutError:
        socket.transport.abort()


def closed(error: ConnectionClosed) -> ConnectionLost:
    """Return the loss that the end of an open connection stands for."""
    if error.sent is not None and not error.rcvd_then_sent:
        if error.sent.code == CloseCode.MESSAGE_TOO_BIG:
            return ConnectionLost(DisconnectCause.TOO_BIG, f"Aries sent a frame of more than {MAX_FRAME_BYTES} bytes")
        return ConnectionLost(DisconnectCause.NETWORK, f"Aries violated the WebSocket protocol: {error.sent.reason}")
    return close_codes.closed(error.rcvd.code, error.rcvd.reason) if error.rcvd else close_codes.closed(None, "")
