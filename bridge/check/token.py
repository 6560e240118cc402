"""Is there an access token for Aries, and for how long."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

import msgspec

from bridge.aries.access_token import FixedToken, RefreshingToken
from bridge.check.report import span
from bridge.errors import TokenUnavailable
from bridge.oauth.endpoint import TokenEndpointError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.aries.access_token import TokenSource
    from bridge.check.report import Report
    from bridge.settings import Settings

CHECK = "Aries token"
_FRESH = "Put a valid one into ARIES_ACCESS_TOKEN (or its file), or use ARIES_REFRESH_TOKEN with ARIES_CLIENT_ID."
_RENEWABLE = (
    "Use ARIES_REFRESH_TOKEN with ARIES_CLIENT_ID, or ARIES_ACCESS_TOKEN_FILE and somebody who keeps the file fresh."
)
_JWT_PARTS = 3


class _Claims(msgspec.Struct):
    exp: float | None = None


async def obtain(report: Report, settings: Settings, source: TokenSource, learn: Callable[[str], None]) -> str | None:
    """Report whether there is a token to authenticate with, and return it; ``learn`` is told it as a secret."""
    try:
        token = await source.token()
    except TokenUnavailable as error:
        report.fail(CHECK, *_told(error))
        return None
    learn(token)
    if isinstance(source, FixedToken):
        return token if _judge_fixed(report, token, can_change=source.can_change) else None
    _judge_granted(report, settings, source)
    return token


def leave(report: Report) -> None:
    """Report that a refresh token was not put to use."""
    report.ok(CHECK, "not asked for without a session: a server may take each refresh token only once")


def expires_at(token: str) -> float | None:
    """Return when a token lapses by its own words, in seconds since the epoch; None where it is no JWT with them.

    Nothing is verified: only Aries could (RFC 7519 section 4.1.4).
    """
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(claims, type=_Claims).exp
    except (ValueError, msgspec.MsgspecError):
        return None


def _judge_fixed(report: Report, token: str, *, can_change: bool) -> bool:
    lapses_at = expires_at(token)
    if lapses_at is None:
        report.ok(CHECK, "a fixed one; it does not tell when it lapses")
        return True
    left_seconds = lapses_at - time.time()
    if left_seconds <= 0:
        report.fail(CHECK, f"it lapsed {span(-left_seconds)} ago", _FRESH)
        return False
    if can_change:
        report.ok(CHECK, f"lapses in {span(left_seconds)}; its file is read anew at each authentication")
    else:
        report.warn(CHECK, f"a fixed one that lapses in {span(left_seconds)} and cannot be renewed", _RENEWABLE)
    return True


def _judge_granted(report: Report, settings: Settings, source: TokenSource) -> None:
    said = "granted" if source.expires_at is None else f"granted for {span(source.expires_at - time.time())}"
    if _replaced(settings, source):
        report.warn(
            CHECK,
            f"{said}, but the server replaced the refresh token, and this check cannot hand the new one on",
            "Log in again and renew ARIES_REFRESH_TOKEN before the bridge starts, and check with --no-session from "
            "now on.",
        )
    else:
        report.ok(CHECK, said)


def _replaced(settings: Settings, source: TokenSource) -> bool:
    configured = settings.aries_refresh_token
    if not isinstance(source, RefreshingToken) or configured is None:
        return False
    return source._refresh_token != configured.reveal()  # noqa: SLF001 - it is nobody else's business


def _told(error: TokenUnavailable) -> tuple[str, str]:
    if isinstance(error, TokenEndpointError):
        return f"token endpoint {error.endpoint}: {error.problem}", error.hint or "Check ARIES_TOKEN_URL."
    return str(error), _FRESH
