"""Why a connection ended: closes and refused handshakes, told apart by what is known of them.

No close code of the Aries market-data socket is documented, so ``CODES`` and ``WORDS`` are assumptions, to be
corrected here.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from bridge.errors import Cause, ConnectionLost

#: Close codes that say more than "closed" (RFC 6455 section 7.4; 4000 and above are the server's own).
CODES = {
    1008: Cause.EVICTED,  # policy violation: what a server has to say to one session too many
    1009: Cause.TOO_BIG,
    4001: Cause.AUTH_REFUSED,
    4401: Cause.AUTH_REFUSED,
    4403: Cause.AUTH_REFUSED,
    4409: Cause.EVICTED,
    4429: Cause.THROTTLED,
}
#: Words of a close reason that say more than its code.
WORDS = {
    Cause.EVICTED: re.compile(
        r"evict|another (session|connection)|duplicate|replaced|too many (session|connection)", re.IGNORECASE
    ),
    Cause.THROTTLED: re.compile(r"rate limit|too many requests|throttl", re.IGNORECASE),
    Cause.AUTH_REFUSED: re.compile(r"unauthori[sz]ed|forbidden|invalid token|authentication failed", re.IGNORECASE),
}
OTHER_PATHS = {"/v1/market/ws": "/v1/marketdata/ws", "/v1/marketdata/ws": "/v1/market/ws"}


def closed(code: int | None, reason: str) -> ConnectionLost:
    """Return what a close says; no code means that the connection broke off."""
    if code is None or code == 1006:  # noqa: PLR2004 - RFC 6455 section 7.1.5: no closing handshake
        return ConnectionLost(Cause.NETWORK, "the connection broke off without a closing handshake")
    said = f"Aries closed the connection ({code}{f': {reason}' if reason else ''})"
    for cause, words in WORDS.items():
        if words.search(reason):
            return ConnectionLost(cause, said)
    return ConnectionLost(CODES.get(code, Cause.CLOSED), said)


def refused_handshake(status: int, path: str, retry_after: str | None) -> ConnectionLost:
    """Return what an HTTP answer other than the upgrade says."""
    said = f"Aries answered the WebSocket handshake with HTTP {status}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return ConnectionLost(Cause.AUTH_REFUSED, said)
    if status == HTTPStatus.NOT_FOUND and path in OTHER_PATHS:
        return ConnectionLost(Cause.HANDSHAKE, f"{said} for {path}; the other dialect lives at {OTHER_PATHS[path]}")
    seconds = float(retry_after) if retry_after and re.fullmatch(r"\d{1,6}", retry_after.strip()) else None
    if status == HTTPStatus.TOO_MANY_REQUESTS or seconds is not None:
        return ConnectionLost(Cause.THROTTLED, said, retry_after_seconds=seconds)
    return ConnectionLost(Cause.HANDSHAKE, said)
