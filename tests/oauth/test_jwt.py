"""The claims of a token that is a JWT."""

from __future__ import annotations

import base64
import json

import pytest

from bridge.oauth.jwt import expires_at


def jwt(**claims: object) -> str:
    """Return a JWT with an invalid signature."""
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims))
    return ".".join([*parts, "signature"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "opaque",
        "a.b.c",
        "..",
        f"{'A' * 9}.{'B' * 9}.",
        jwt(),
        jwt(exp=None),
        jwt(exp="soon"),
        jwt(exp=[1]),
        "ä.ö.ü",
    ],
)
def test_only_a_jwt_has_an_expiry(text: str) -> None:
    """Any other token has no known expiry."""
    assert expires_at(text) is None


def test_a_jwt_has_an_expiry() -> None:
    """The claim is in seconds since the epoch, with or without a fraction."""
    assert expires_at(jwt(exp=1_800_000_000)) == 1_800_000_000
    assert expires_at(jwt(exp=1_800_000_000.5)) == 1_800_000_000.5
