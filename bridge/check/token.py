"""Checks of the access token for Aries: whether there is one, and when it expires."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bridge.aries.access_token import FixedToken
from bridge.check.report import duration_text
from bridge.errors import TokenUnavailable
from bridge.oauth.endpoint import TokenEndpointError
from bridge.oauth.jwt import expires_at
from bridge.parts import token_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.check.report import CheckReport
    from bridge.settings import Settings

TOKEN = "Aries token"  # noqa: S105 - the name of a check
_SET_TOKEN = "Set ARIES_ACCESS_TOKEN (or its file) to a valid token, or use ARIES_REFRESH_TOKEN with ARIES_CLIENT_ID."  # noqa: S105 - a hint
_USE_REFRESH = "Use ARIES_REFRESH_TOKEN with ARIES_CLIENT_ID, or ARIES_ACCESS_TOKEN_FILE and keep the file up to date."


async def check_token(report: CheckReport, settings: Settings, learn_secret: Callable[[str], None]) -> str | None:
    """Report whether there is a valid token, and return it; ``learn_secret`` gets it first."""
    replacements: list[str] = []
    source = token_source(settings, replacements.append)
    try:
        token = await source.token()
    except TokenUnavailable as error:
        _report_unavailable(report, error)
        return None
    for secret in (token, *replacements):
        learn_secret(secret)
    if isinstance(source, FixedToken):
        return token if _check_fixed(report, token, can_change=source.can_change) else None
    _report_granted(report, settings, source.expires_at, replacements)
    return token


def _check_fixed(report: CheckReport, token: str, *, can_change: bool) -> bool:
    expiry = expires_at(token)
    if expiry is None:
        report.ok(TOKEN, "a fixed token without a known expiry")
        return True
    left_seconds = expiry - time.time()
    if left_seconds <= 0:
        report.fail(TOKEN, f"it expired {duration_text(-left_seconds)} ago", _SET_TOKEN)
        return False
    if can_change:
        report.ok(TOKEN, f"expires in {duration_text(left_seconds)}; its file is read at each authentication")
    else:
        report.warn(TOKEN, f"a fixed token that expires in {duration_text(left_seconds)}", _USE_REFRESH)
    return True


def _report_granted(report: CheckReport, settings: Settings, expires_at: float | None, replacements: list[str]) -> None:
    granted = "granted" if expires_at is None else f"granted for {duration_text(expires_at - time.time())}"
    configured = settings.aries_refresh_token
    if configured is not None and any(token != configured.reveal() for token in replacements):
        report.warn(
            TOKEN,
            f"{granted}, but the server replaced the refresh token, and this check cannot save the new one",
            "Log in again and renew ARIES_REFRESH_TOKEN before the bridge starts, and check with --no-session from "
            "now on.",
        )
    else:
        report.ok(TOKEN, granted)


def _report_unavailable(report: CheckReport, error: TokenUnavailable) -> None:
    if isinstance(error, TokenEndpointError):
        finding = f"token endpoint {error.endpoint}: {error.problem}"
        report.fail(TOKEN, finding, error.hint or "Check ARIES_TOKEN_URL.")
    else:
        report.fail(TOKEN, str(error), _SET_TOKEN)
