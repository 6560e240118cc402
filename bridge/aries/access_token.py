"""Sources of the Aries access token: a fixed token, or one renewed by the refresh-token grant."""

from __future__ import annotations

import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import structlog

from bridge import log_events
from bridge.aries import lifetimes
from bridge.errors import BridgeError, TokenUnavailable
from bridge.oauth.current_grant import CurrentGrant
from bridge.oauth.endpoint import DEADLINE_SECONDS, Grant, TokenEndpoint, TokenRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from bridge.secrets.secret import Revealable

log = structlog.get_logger(__name__)

_CHECK_CLIENT = "Check ARIES_CLIENT_ID and ARIES_CLIENT_SECRET."
HINTS = MappingProxyType(
    {
        "invalid_grant": (
            "The refresh token was used already, has expired or was revoked: log in to Aries again, and set "
            "ARIES_REFRESH_TOKEN, or the file of ARIES_REFRESH_TOKEN_FILE, to the new one."
        ),
        "invalid_client": _CHECK_CLIENT,
        "unauthorized_client": _CHECK_CLIENT,
    }
)


class TokenSource(Protocol):
    """A source of access tokens for sessions with Aries."""

    @property
    def can_change(self) -> bool:
        """Return whether a later token may be another one; if not, a rejected token is rejected for good."""

    @property
    def expires_at(self) -> float | None:
        """Return when the last token expires, in seconds since the epoch, None if unknown."""

    async def token(self, *, fresh: bool = False) -> str:
        """Return a token to authenticate with, a new one if ``fresh`` and if possible; raise TokenUnavailable."""

    def invalidate(self) -> None:
        """Discard the last token, because Aries rejected it."""


class FixedToken:
    """The token of ``ARIES_ACCESS_TOKEN``, or the current content of its file."""

    expires_at: float | None = None

    def __init__(self, secret: Revealable) -> None:
        self._secret = secret

    @property
    def can_change(self) -> bool:
        """Return whether the token is in a file, which can be replaced."""
        return self._secret.can_change

    async def token(self, *, fresh: bool = False) -> str:  # noqa: ARG002 - there is only one
        """Return the token, read again if it is in a file; raise TokenUnavailable."""
        return _revealed(self._secret, "ARIES_ACCESS_TOKEN")

    def invalidate(self) -> None:
        """Do nothing, as there is no other token."""


class RefreshingToken:
    """Access tokens from the refresh-token grant (Aries OAuth2: JSON body, grant ``refresh_token``).

    A refresh token in a response replaces the one before, since the server may accept each only once; new content of
    the secret's file replaces them all. ``learn_secret`` is called with each refresh token of a response.
    """

    can_change = True

    def __init__(
        self,
        *,
        url: str,
        client_id: str,
        refresh_token: Revealable,
        client_secret: Revealable | None = None,
        learn_secret: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        steady_clock: Callable[[], float] = time.monotonic,
        deadline_seconds: float = DEADLINE_SECONDS,
        cafile: PathLike[str] | None = None,
    ) -> None:
        self._learn_secret = learn_secret
        self._endpoint = TokenEndpoint(url, "ARIES_TOKEN_URL", HINTS, deadline_seconds=deadline_seconds, cafile=cafile)
        self._client_id = client_id
        self._client_secret = client_secret
        self._configured = refresh_token
        self._configured_value = ""
        self._refresh_token = ""
        self._ignored_life_logged = False
        self._current = CurrentGrant(self._renew, clock=clock, steady_clock=steady_clock)

    @property
    def expires_at(self) -> float | None:
        """Return when the current token expires, in seconds since the epoch, None if unknown."""
        return self._current.expires_at

    async def token(self, *, fresh: bool = False) -> str:
        """Return the current token, renewed before if that is due, or if ``fresh`` and it is not new anyway.

        A token that cannot be renewed is used until it expires; then raise TokenUnavailable.
        """
        return (await self._current.get(fresh=fresh)).access_token

    def invalidate(self) -> None:
        """Discard the current token, so that the next one is new."""
        self._current.invalidate()

    async def _renew(self) -> Grant:
        grant = await self._endpoint.grant(self._request())
        if grant.refresh_token is not None:
            self._learn_secret(grant.refresh_token)
            self._replace_refresh_token(grant.refresh_token)
        life_seconds = grant.lifetime_seconds
        if life_seconds is None or lifetimes.is_plausible(life_seconds):
            return grant
        if not self._ignored_life_logged:
            self._ignored_life_logged = True
            log.warning(log_events.LIFETIME_IGNORED, of="access token", seconds=life_seconds)
        return replace(grant, lifetime_seconds=None)

    def _request(self) -> TokenRequest:
        configured = _revealed(self._configured, "ARIES_REFRESH_TOKEN")
        if configured != self._configured_value:
            self._configured_value = self._refresh_token = configured
        parameters = {
            "grant_type": "refresh_token",
            "refresh_token": self._refresh_token,
            "client_id": self._client_id,
        }
        if self._client_secret is not None:
            parameters["client_secret"] = _revealed(self._client_secret, "ARIES_CLIENT_SECRET")
        secrets = (self._refresh_token, configured, parameters.get("client_secret", ""))
        return TokenRequest(parameters, secrets=secrets)

    def _replace_refresh_token(self, newest: str) -> None:
        if newest != self._refresh_token and self._refresh_token == self._configured_value:
            log.warning(
                log_events.REFRESH_TOKEN_ROTATED,
                hint="after a restart the one in ARIES_REFRESH_TOKEN may be rejected: replace it before",
            )
        self._refresh_token = newest


def _revealed(secret: Revealable, setting: str) -> str:
    try:
        value = secret.reveal()
    except BridgeError as error:
        raise TokenUnavailable(str(error)) from error
    if not value:
        raise TokenUnavailable(f"{setting} is empty: set it, or the file it names, to the token.")
    return value
