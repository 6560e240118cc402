"""The causes of closed connections, by close code and reason."""

from __future__ import annotations

import pytest

from bridge.aries.protocol.close_codes import closed
from bridge.errors import DisconnectCause


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        (None, "", DisconnectCause.NETWORK),
        (1006, "", DisconnectCause.NETWORK),
        (1000, "", DisconnectCause.CLOSED),
        (1001, "going away", DisconnectCause.CLOSED),
        (1008, "policy", DisconnectCause.EVICTED),
        (1009, "", DisconnectCause.TOO_BIG),
        (1012, "restart", DisconnectCause.CLOSED),
        (1013, "", DisconnectCause.THROTTLED),
        (1013, "try again later", DisconnectCause.MAINTENANCE),
        (1008, "maximum connections reached", DisconnectCause.CONNECTION_LIMIT),
        (1008, "too many sessions", DisconnectCause.CONNECTION_LIMIT),
        (1000, "scheduled maintenance", DisconnectCause.MAINTENANCE),
        (1011, "internal error", DisconnectCause.SERVER_ERROR),
        (1001, "idle timeout", DisconnectCause.CLOSED),
        (1001, "Ping timed out", DisconnectCause.CLOSED),
        (1001, "session timed out", DisconnectCause.CLOSED),
        (3000, "", DisconnectCause.AUTH_REFUSED),
        (4001, "", DisconnectCause.AUTH_REFUSED),
        (4409, "", DisconnectCause.EVICTED),
        (4429, "", DisconnectCause.THROTTLED),
        (4999, "", DisconnectCause.CLOSED),
        (1000, "Replaced by another connection", DisconnectCause.EVICTED),
        (1008, "rate limit exceeded", DisconnectCause.THROTTLED),
        (1008, "Unauthorized", DisconnectCause.AUTH_REFUSED),
        (1008, "token is expired", DisconnectCause.AUTH_REFUSED),
        (1000, "invalid token", DisconnectCause.AUTH_REFUSED),
        (1001, "session expired", DisconnectCause.CLOSED),
        (1008, "Session has expired", DisconnectCause.CLOSED),
    ],
)
def test_a_close_is_classified_by_its_reason_then_by_its_code(
    code: int | None, reason: str, cause: DisconnectCause
) -> None:
    """The reason is more specific than the code."""
    lost = closed(code, reason)
    assert lost.cause is cause
    assert reason in str(lost)
