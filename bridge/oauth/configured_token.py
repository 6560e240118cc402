"""Tokens that a setting has, and that something else renews in the setting's file."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bridge.errors import TokenUnavailable
from bridge.oauth.jwt import expires_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.secrets.secret import Secret


class RenewedElsewhere:
    """The token of a setting: its file is read again for each login, as something else renews it."""

    def __init__(self, secret: Secret, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    async def access_token(self) -> str:
        """Return the present token; raises BridgeError."""
        return usable_token(self._secret, self._clock)

    def invalidate(self) -> None:
        """Do nothing: only what renews the file can replace the token."""


def usable_token(secret: Secret, clock: Callable[[], float]) -> str:
    """Return a token that is a secret; raise SecretUnreadable, or TokenUnavailable if no server would accept it."""
    token = secret.reveal().strip()
    name = f"{secret.name}_FILE ({secret.path})" if secret.path else secret.name
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise TokenUnavailable(f"{name} is not a token: it has spaces, line breaks or other characters of no token.")
    expiry = expires_at(token)
    if expiry is not None and expiry <= clock():
        fix = "Check what renews the file." if secret.path else f"Use {secret.name}_FILE, and renew the file."
        raise TokenUnavailable(f"{name} has a token that expired at {_utc(expiry)}. {fix} The bridge will retry.")
    return token


def _utc(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s since 1970"
