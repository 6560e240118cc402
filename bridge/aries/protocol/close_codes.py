"""Why a connection ended: closes and refused handshakes, told apart by what is known of them.

No close code of the Aries market-data socket is documented, so ``CODES`` and ``WORDS`` are assumptions, to be
corrected here.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import MappingProxyType

from bridge.errors import ConnectionLost, DisconnectCause, HandshakeRefused

#: Close codes that say more than "closed" (RFC 6455 section 7.4 and IANA's registry; 4000 and above are the
#: server's own).
CODES = {
    1008: DisconnectCause.EVICTED,  # policy violation: what a server has to say to one session too many
    1009: DisconnectCause.TOO_BIG,
    1013: DisconnectCause.THROTTLED,  # try again later
    3000: DisconnectCause.AUTH_REFUSED,  # unauthorized
    3003: DisconnectCause.AUTH_REFUSED,  # forbidden
    4001: DisconnectCause.AUTH_REFUSED,
    4401: DisconnectCause.AUTH_REFUSED,
    4403: DisconnectCause.AUTH_REFUSED,
    4409: DisconnectCause.EVICTED,
    4429: DisconnectCause.THROTTLED,
}
#: Words of a close reason that say more than its code.
WORDS = {
    DisconnectCause.CLOSED: re.compile(r"session (is |has |was )?(expired|lapsed|timed out)", re.IGNORECASE),
    DisconnectCause.EVICTED: re.compile(
        r"evict|another (session|connection)|duplicate|replaced|too many (session|connection)", re.IGNORECASE
    ),
    DisconnectCause.THROTTLED: re.compile(r"rate limit|too many requests|throttl", re.IGNORECASE),
    DisconnectCause.AUTH_REFUSED: re.compile(
        r"unauthori[sz]ed|forbidden|not authenticated|authentication failed"
        r"|(invalid|expired) token|token (is )?(invalid|expired|required)",
        re.IGNORECASE,
    ),
}
#: Where each dialect lives [D].
OTHER_PATHS = {"/v1/market/ws": "/v1/marketdata/ws", "/v1/marketdata/ws": "/v1/market/ws"}
#: What people can do about a cause.
REMEDIES = MappingProxyType(
    {
        DisconnectCause.AUTH_REFUSED: (
            "Put a valid token into ARIES_ACCESS_TOKEN, or mend ARIES_REFRESH_TOKEN; if the token is right, see "
            "whether ARIES_DIALECT fits the URL and whether the account needs ARIES_API_KEY."
        ),
        DisconnectCause.AUTH_TIMEOUT: "See whether ARIES_DIALECT fits the server at ARIES_WS_URL.",
        DisconnectCause.EVICTED: "Another session of this account took over: see which other clients use it.",
        DisconnectCause.THROTTLED: "See whether other clients use this account.",
    }
)


def closed(code: int | None, reason: str) -> ConnectionLost:
    """Return what a close says; no code means that the connection broke off."""
    if code is None or code == 1006:  # noqa: PLR2004 - RFC 6455 section 7.1.5: no closing handshake
        return ConnectionLost(DisconnectCause.NETWORK, "the connection broke off without a closing handshake")
    said = f"Aries closed the connection ({code}{f': {reason}' if reason else ''})"
    for cause, words in WORDS.items():
        if words.search(reason):
            return ConnectionLost(cause, said)
    return ConnectionLost(CODES.get(code, DisconnectCause.CLOSED), said)


def refused_handshake(status: int, path: str, retry_after: str | None, date: str | None = None) -> HandshakeRefused:
    """Return what an HTTP answer other than the upgrade says; ``date`` is when it was sent, by its own header."""
    seconds = _retry_after_seconds(retry_after, date) if retry_after else None
    return HandshakeRefused(
        _refusal_cause(status, seconds),
        f"Aries answered with HTTP {status} for {path or '/'} instead of a WebSocket",
        remedy=_refusal_remedy(status, path),
        retry_after_seconds=seconds,
        date=date,
    )


def _refusal_cause(status: int, retry_after_seconds: float | None) -> DisconnectCause:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return DisconnectCause.AUTH_REFUSED
    if status == HTTPStatus.TOO_MANY_REQUESTS or retry_after_seconds is not None:
        return DisconnectCause.THROTTLED
    return DisconnectCause.HANDSHAKE


def _refusal_remedy(status: int, path: str) -> str:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "No token was shown yet, so we are refused by our address: ask Aries, or see what stands between."
    if status == HTTPStatus.NOT_FOUND:
        return _elsewhere(path)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return REMEDIES[DisconnectCause.THROTTLED]
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return "Check ARIES_WS_URL: the token is shown at no other place than it names, so no redirect is followed."
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "That is the server's trouble, and a matter to try again later; if it lasts, check ARIES_WS_URL."
    return "Check ARIES_WS_URL."


def _elsewhere(path: str) -> str:
    other = OTHER_PATHS.get(path.rstrip("/"))
    if other is None:
        return f"Check ARIES_WS_URL: the dialects live at {' and '.join(OTHER_PATHS)}."
    return f"Check ARIES_WS_URL: the other dialect lives at {other}."


def _retry_after_seconds(retry_after: str, date: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` (RFC 9110 section 10.2.3), a number or a date to compare with another."""
    if seconds := re.fullmatch(r"\s*([0-9]{1,6})\s*", retry_after):
        return float(seconds[1])
    try:
        until, sent = parsedate_to_datetime(retry_after), parsedate_to_datetime(date or "")
        return max(0.0, (until - sent).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, or one of the two without its zone
        return None
