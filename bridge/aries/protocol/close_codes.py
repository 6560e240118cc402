"""Close codes: why the server closed a connection, and what the operator can do about it.

No close code of the Aries market-data socket is documented, so ``CAUSES`` and ``REASONS`` are assumptions [A], to be
corrected here; words that an answer may have as well are in ``bridge.aries.protocol.refusals``.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from bridge.aries.protocol import refusals
from bridge.errors import ConnectionLost, DisconnectCause

#: Close codes that say more than "closed" (RFC 6455 section 7.4 and IANA's registry; from 4000 on they are the
#: server's own).
CAUSES = {
    1008: DisconnectCause.EVICTED,  # policy violation: what a server sends to one session too many
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
#: Close reasons that say more than their code.
REASONS = {
    DisconnectCause.CLOSED: re.compile(
        r"session (is |has |was )?(expired|lapsed|timed out)|\b(idle|inactiv|ping|pong|heartbeat|keep.?alive)",
        re.IGNORECASE,
    ),
    DisconnectCause.EVICTED: re.compile(r"evict|another (session|connection)|duplicate|replaced", re.IGNORECASE),
    **refusals.CAUSES,
    DisconnectCause.AUTH_REFUSED: re.compile(
        r"unauthori[sz]ed|forbidden|not authenticated|authentication failed"
        r"|(invalid|expired) token|token (is )?(invalid|expired|required)",
        re.IGNORECASE,
    ),
}
#: What the operator can do about a cause.
HINTS = MappingProxyType(
    {
        DisconnectCause.AUTH_REFUSED: (
            "Put a valid token into ARIES_ACCESS_TOKEN, or a valid ARIES_REFRESH_TOKEN; if the token is valid, check "
            "that ARIES_DIALECT matches the URL, and whether the account needs ARIES_API_KEY."
        ),
        DisconnectCause.AUTH_TIMEOUT: "Check that ARIES_DIALECT matches the server at ARIES_WS_URL.",
        DisconnectCause.EVICTED: (
            "Another session of this account replaced this one: check which other clients use the account."
        ),
        DisconnectCause.CONNECTION_LIMIT: (
            "The account has no free connection: stop another client that uses it, or ask Aries for more. The token is "
            "not at fault."
        ),
        DisconnectCause.THROTTLED: (
            "Check whether other clients use this account; lower ARIES_MAX_FRAMES_PER_SECOND if this is the only one."
        ),
        DisconnectCause.MAINTENANCE: "Aries is not available for now: the bridge retries until it is.",
        DisconnectCause.SERVER_ERROR: "The server failed: the bridge retries; if this lasts, ask Aries.",
    }
)


def closed(code: int | None, reason: str) -> ConnectionLost:
    """Return the loss that a close code and reason stand for; without a code the connection broke off."""
    if code is None or code == 1006:  # noqa: PLR2004 - RFC 6455 section 7.1.5: no closing handshake
        return ConnectionLost(DisconnectCause.NETWORK, "the connection broke off without a closing handshake")
    text = f"Aries closed the connection ({code}{f': {reason}' if reason else ''})"
    words = refusals.plain(reason)
    for cause, pattern in REASONS.items():
        if pattern.search(words):
            return ConnectionLost(cause, text)
    return ConnectionLost(CAUSES.get(code, DisconnectCause.CLOSED), text)
