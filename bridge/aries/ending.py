"""Why a connection ended: closes and refused handshakes, told apart by what is known of them.

No close code of the Aries market-data socket is documented, so ``CODES`` and ``WORDS`` are assumptions, to be
corrected here.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from bridge.errors import Cause, ConnectionLost

#: Close codes that say more than "closed" (RFC 6455 section 7.4 and IANA's registry; 4000 and above are the
#: server's own).
CODES = {
    1008: Cause.EVICTED,  # policy violation: what a server has to say to one session too many
    1009: Cause.TOO_BIG,
    1013: Cause.THROTTLED,  # try again later
    3000: Cause.AUTH_REFUSED,  # unauthorized
    3003: Cause.AUTH_REFUSED,  # forbidden
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
    Cause.AUTH_REFUSED: re.compile(
        r"unauthori[sz]ed|forbidden|not authenticated|authentication failed"
        r"|(invalid|expired) token|token (is )?(invalid|expired|required)",
        re.IGNORECASE,
    ),
}
#: Where each dialect lives [D].
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


def refused_handshake(status: int, path: str, retry_after: str | None, date: str | None = None) -> ConnectionLost:
    """Return what an HTTP answer other than the upgrade says; ``date`` is when it was sent, by its own header."""
    said = f"Aries answered the WebSocket handshake with HTTP {status}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return ConnectionLost(Cause.AUTH_REFUSED, said)
    if status == HTTPStatus.NOT_FOUND:
        return ConnectionLost(Cause.HANDSHAKE, f"{said} for {path or '/'}; {_elsewhere(path)}")
    seconds = _retry_after_seconds(retry_after, date) if retry_after else None
    if status == HTTPStatus.TOO_MANY_REQUESTS or seconds is not None:
        return ConnectionLost(Cause.THROTTLED, said, retry_after_seconds=seconds)
    return ConnectionLost(Cause.HANDSHAKE, said)


def _elsewhere(path: str) -> str:
    other = OTHER_PATHS.get(path.rstrip("/"))
    if other is None:
        return f"check ARIES_WS_URL: the dialects live at {' and '.join(OTHER_PATHS)}"
    return f"check ARIES_WS_URL: the other dialect lives at {other}"


def _retry_after_seconds(retry_after: str, date: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` (RFC 9110 section 10.2.3), a number or a date to compare with another."""
    if seconds := re.fullmatch(r"\s*([0-9]{1,6})\s*", retry_after):
        return float(seconds[1])
    try:
        until, sent = parsedate_to_datetime(retry_after), parsedate_to_datetime(date or "")
        return max(0.0, (until - sent).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, or one of the two without its zone
        return None
