"""Open the socket to Aries and close it again: how, and what it means where that fails."""

from __future__ import annotations

import asyncio
import ssl
from typing import TypeVar
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, ProxyError
from websockets.frames import CloseCode

import bridge
from bridge.aries.certificates import certificate_remedy
from bridge.aries.protocol import close_codes as ending
from bridge.errors import ConnectionLost, DisconnectCause

OPEN_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 2.0
#: A larger frame ends the connection with code 1009; the vendor names no limit.
MAX_FRAME_BYTES = 16 * 1024 * 1024
#: Frames the library holds for us; with more it stops reading until we have taken some.
MAX_QUEUED_FRAMES = 64
#: The connection that the caller wants.
Opened = TypeVar("Opened", bound=ClientConnection)
_CHECK_URL = "Check ARIES_WS_URL."


class _Connect(connect):
    """Connect to where the URL says, and to no other place: the token is meant for that one alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow no redirect."""
        return exc


async def dial(url: str, connection: type[Opened], patience_seconds: float | None = None) -> Opened:
    """Open a WebSocket; raises ``ConnectionLost`` (``HandshakeRefused`` where HTTP said no).

    ``patience_seconds`` is the longest wait, by default ``OPEN_TIMEOUT_SECONDS``.
    """
    patience_seconds = OPEN_TIMEOUT_SECONDS if patience_seconds is None else patience_seconds
    try:
        socket = await _Connect(
            url,
            create_connection=connection,
            compression=None,  # about 4 µs a frame for little: frames are small
            max_size=MAX_FRAME_BYTES,
            max_queue=MAX_QUEUED_FRAMES,
            open_timeout=patience_seconds,
            close_timeout=CLOSE_TIMEOUT_SECONDS,
            ping_interval=None,  # keep-alive is the session's business
            user_agent_header=f"aries-bridge/{bridge.__version__}",
        )
    except (InvalidHandshake, InvalidURI, ConnectionClosed, OSError, EOFError, UnicodeError, TimeoutError) as error:
        raise _not_connected(error, url, patience_seconds) from error
    assert isinstance(socket, connection)  # it made it
    return socket


async def hang_up(socket: ClientConnection) -> None:
    """Close the socket; where the closing handshake takes too long, break it off."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS + 1):
            await socket.close()
    except TimeoutError:
        socket.transport.abort()


def closed(error: ConnectionClosed) -> ConnectionLost:
    """Return what the end of a connection means."""
    if error.sent is not None and not error.rcvd_then_sent:
        if error.sent.code == CloseCode.MESSAGE_TOO_BIG:
            return ConnectionLost(DisconnectCause.TOO_BIG, f"Aries sent a frame of more than {MAX_FRAME_BYTES} bytes")
        return ConnectionLost(DisconnectCause.NETWORK, f"Aries broke the WebSocket protocol: {error.sent.reason}")
    return ending.closed(error.rcvd.code, error.rcvd.reason) if error.rcvd else ending.closed(None, "")


def _not_connected(error: Exception, url: str, patience_seconds: float) -> ConnectionLost:
    """Return why a connection did not come about, and what to do where we know."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    match error:
        case InvalidStatus(response=answer):
            headers = answer.headers
            return ending.refused_handshake(
                answer.status_code, parts.path, headers.get("Retry-After"), headers.get("Date")
            )
        case ssl.SSLCertVerificationError(verify_message=reason, verify_code=code):
            remedy = certificate_remedy(code, host, named_by="ARIES_WS_URL", trusted_by="SSL_CERT_FILE")
            said = f"the certificate of {host} is not accepted: {reason.rstrip('. ')}"
            return ConnectionLost(DisconnectCause.NETWORK, said, remedy=remedy)
        case TimeoutError():
            return ConnectionLost(DisconnectCause.NETWORK, f"{host} gave no answer within {patience_seconds:g} s")
        case ProxyError():
            remedy = "Check HTTPS_PROXY, or exempt the host with NO_PROXY."
            return ConnectionLost(DisconnectCause.NETWORK, f"the proxy does not let us through: {error}", remedy=remedy)
        case InvalidHandshake() | InvalidURI():
            return ConnectionLost(DisconnectCause.HANDSHAKE, f"{host} speaks no WebSocket: {error}", remedy=_CHECK_URL)
        case ConnectionClosed():  # so early that not even our request was sent
            return ConnectionLost(DisconnectCause.NETWORK, f"{host} closed the connection at once")
    said = f"{host} cannot be reached: {str(error) or type(error).__name__}"
    return ConnectionLost(DisconnectCause.NETWORK, said)
