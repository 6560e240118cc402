"""What an access token says of itself, if it is a JWT (RFC 7519). Nothing is verified: only its receiver could."""

from __future__ import annotations

import base64

import msgspec

_PARTS = 3


class _Claims(msgspec.Struct):
    exp: float | None = None


def expires_at(token: str) -> float | None:
    """Return the expiry claim in seconds since the epoch (§4.1.4), None for anything that is not a JWT with one."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(claims, type=_Claims).exp
    except (ValueError, msgspec.MsgspecError):
        return None
