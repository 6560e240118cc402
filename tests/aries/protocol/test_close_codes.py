"""Causes of closes and refused handshakes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.aries.protocol.close_codes import closed, refused_handshake
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
        (1013, "try again later", DisconnectCause.THROTTLED),
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
def test_a_close_is_told_by_its_words_then_by_its_code(code: int | None, reason: str, cause: DisconnectCause) -> None:
    """What a server writes into the reason says more than the code it chose."""
    lost = closed(code, reason)
    assert lost.cause is cause
    assert reason in str(lost)


@pytest.mark.parametrize(
    ("status", "retry_after", "cause", "seconds"),
    [
        (401, None, DisconnectCause.AUTH_REFUSED, None),
        (403, None, DisconnectCause.AUTH_REFUSED, None),
        (404, None, DisconnectCause.HANDSHAKE, None),
        (429, None, DisconnectCause.THROTTLED, None),
        (429, "7", DisconnectCause.THROTTLED, 7.0),
        (429, " 7 ", DisconnectCause.THROTTLED, 7.0),
        (429, "soon", DisconnectCause.THROTTLED, None),
        (429, "-7", DisconnectCause.THROTTLED, None),
        (429, "9999999", DisconnectCause.THROTTLED, None),
        (429, "Wed, 21 Oct 2015 07:28:30 GMT", DisconnectCause.THROTTLED, 30.0),
        (429, "Wed, 21 Oct 2015 07:27:00 GMT", DisconnectCause.THROTTLED, 0.0),
        (503, None, DisconnectCause.HANDSHAKE, None),
        (503, "0", DisconnectCause.THROTTLED, 0.0),
        (503, "120", DisconnectCause.THROTTLED, 120.0),
        (500, "", DisconnectCause.HANDSHAKE, None),
        (302, None, DisconnectCause.HANDSHAKE, None),
    ],
)
def test_a_refused_handshake_is_told_by_its_status(
    status: int, retry_after: str | None, cause: DisconnectCause, seconds: float | None
) -> None:
    """The status tells the cause; Retry-After is understood as seconds or as a date."""
    lost = refused_handshake(status, "/v1/market/ws", retry_after, "Wed, 21 Oct 2015 07:28:00 GMT")
    assert (lost.cause, lost.retry_after_seconds) == (cause, seconds)
    assert f"HTTP {status}" in str(lost)
    assert not lost.blames_token


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/v1/market/ws", ["/v1/marketdata/ws"]),
        ("/v1/marketdata/ws", ["/v1/market/ws"]),
        ("/v1/market/ws/", ["/v1/marketdata/ws"]),
        ("/", ["/v1/marketdata/ws", "/v1/market/ws"]),
        ("", ["/v1/marketdata/ws", "/v1/market/ws"]),
    ],
)
def test_not_found_names_the_other_path(path: str, others: list[str]) -> None:
    """A 404 says where else a dialect lives, and which setting to mend."""
    text = str(refused_handshake(404, path, None))
    assert "ARIES_WS_URL" in text
    assert all(other in text for other in others)


@given(st.text(), st.none() | st.text())
@example("0\x1f", None)
@example("Mon, 99999999999999999999 Jan 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT")
def test_any_retry_after_is_survived(retry_after: str, date: str | None) -> None:
    """Headers are the server's to write; none of them raises."""
    lost = refused_handshake(429, "/", retry_after, date)
    assert lost.retry_after_seconds is None or lost.retry_after_seconds >= 0


@pytest.mark.parametrize("date", [None, "", "soon", "Wed, 21 Oct 2015 07:28:00 -0000"])
def test_a_date_without_another_to_compare_says_nothing(date: str | None) -> None:
    """A date alone tells no seconds: the two clocks need not agree."""
    assert refused_handshake(429, "/", "Wed, 21 Oct 2015 07:28:30 GMT", date).retry_after_seconds is None
