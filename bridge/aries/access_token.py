"""Where the Aries access token comes from: a fixed one, or one renewed by the refresh-token grant."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import structlog

from bridge.errors import BridgeError, TokenUnavailable
from bridge.oauth.current_grant import CurrentGrant
from bridge.oauth.endpoint import DEADLINE_SECONDS, Grant, TokenEndpoint, TokenRequest
from bridge.observability import log_events

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from bridge.secrets.secret import Revealable

log = structlog.get_logger(__name__)

_CHECK_CLIENT = "Check ARIES_CLIENT_ID and ARIES_CLIENT_SECRET."
REMEDIES = MappingProxyType(
    {
        "invalid_grant": (
            "The refresh token is used up, expired or revoked: a person must log in to Aries again, and the "
            "new refresh token go into ARIES_REFRESH_TOKEN or the file of ARIES_REFRESH_TOKEN_FILE."
        ),
        "invalid_client": _CHECK_CLIENT,
        "unauthorized_client": _CHECK_CLIENT,
    }
)


class TokenSource(Protocol):
    """Give the access token for a session with Aries."""

    @property
    def can_change(self) -> bool:
        """Tell whether waiting can bring another token; if not, a refused one is refused for good."""

    @property
    def expires_at(self) -> float | None:
        """Return when the token last given lapses, in seconds since the epoch, where that is known."""

    async def token(self, *, fresh: bool = False) -> str:
        """Return a token to authenticate with now; ``fresh`` asks for a new one where new ones are to be had.

        Raises TokenUnavailable.
        """

    def refused(self) -> None:
        """Learn that Aries did not accept the token last given."""


class FixedToken:
    """Give the token of ``ARIES_ACCESS_TOKEN``, or what its file holds at that moment."""

    expires_at: float | None = None

    def __init__(self, secret: Revealable) -> None:
        self._secret = secret

    @property
    def can_change(self) -> bool:
        """Tell whether the token stands in a file, which somebody may replace."""
        return self._secret.can_change

    async def token(self, *, fresh: bool = False) -> str:  # noqa: ARG002 - there is but the one
        """Return the token, read anew from its file if it has one; raises TokenUnavailable."""
        return _revealed(self._secret, "ARIES_ACCESS_TOKEN")

    def refused(self) -> None:
        """Do nothing: there is no other token to turn to."""


class RefreshingToken:
    """Give tokens granted for a refresh token (Aries OAuth2: JSON body, grant ``refresh_token``).

    A refresh token in an answer replaces the one before, since the server may accept each only once; one that
    a person puts into the secret's file replaces them all. ``learn_secret`` is told each that an answer brings.
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
        deadline_seconds: float = DEADLINE_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._learn_secret = learn_secret
        self._endpoint = TokenEndpoint(url, "ARIES_TOKEN_URL", REMEDIES, deadline_seconds=deadline_seconds, tls=tls)
        self._client_id = client_id
        self._client_secret = client_secret
        self._configured = refresh_token
        self._configured_value = ""
        self._refresh_token = ""
        self._current = CurrentGrant(self._renew, clock=clock)

    @property
    def expires_at(self) -> float | None:
        """Return when the held token lapses, in seconds since the epoch, where the server told."""
        return self._current.expires_at

    async def token(self, *, fresh: bool = False) -> str:
        """Return the held token, renewed first if it is due or if a ``fresh`` one is asked for.

        Raises TokenUnavailable; a token that has not lapsed serves on while it cannot be renewed.
        """
        return (await self._current.get(fresh=fresh)).access_token

    def refused(self) -> None:
        """Forget the held token, so that the next one is new."""
        self._current.drop()

    async def _renew(self) -> Grant:
        grant = await self._endpoint.grant(self._request())
        if grant.refresh_token is not None:
            self._learn_secret(grant.refresh_token)
            self._replace_refresh_token(grant.refresh_token)
        return grant

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
                remedy="after a restart the one in ARIES_REFRESH_TOKEN may be refused: renew it before then",
            )
        self._refresh_token = newest


def _revealed(secret: Revealable, setting: str) -> str:
    try:
        value = secret.reveal()
    except BridgeError as error:
        raise TokenUnavailable(str(error)) from error
    if not value:
        raise TokenUnavailable(f"{setting} is empty: put the token into it, or into the file it names.")
    return value
