"""Access tokens by the client-credentials grant (RFC 6749 §4.4), for Kafka and the schema registry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bridge.oauth.current_grant import CurrentGrant
from bridge.oauth.endpoint import Grant, TokenEndpoint, TokenEndpointError, TokenRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from bridge.secrets.secret import Revealable

#: Assumed if the token endpoint returns no lifetime; short, since servers reject an expired token.
ASSUMED_LIFETIME_SECONDS = 60.0


class ClientCredentials:
    """The access token of an OAuth2 client, renewed after 80 % of its lifetime.

    The client authenticates by HTTP Basic, which every server must support (§2.3.1) and which Kafka's own client
    uses. If the server rejects that, the request is repeated once with the secret in the form. A client without a
    secret is a public client. ``settings`` is what the names of the settings begin with, like ``KAFKA_OAUTH``.
    """

    def __init__(
        self,
        *,
        settings: str,
        url: str,
        client_id: str,
        client_secret: Revealable | None = None,
        scope: str | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint = TokenEndpoint(url, f"{settings}_TOKEN_URL", _hints(settings), tls=tls)
        self._client_id = client_id
        self._client_secret = client_secret
        self._parameters = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        self._current = CurrentGrant(self._renew, clock=clock, assumed_lifetime_seconds=ASSUMED_LIFETIME_SECONDS)

    async def token(self) -> str:
        """Return a token that has not expired; raises TokenUnavailable and SecretUnreadable."""
        return (await self._current.get()).access_token

    def invalidate(self) -> None:
        """Replace the current token as soon as that is allowed, because it was rejected."""
        self._current.invalidate()

    async def _renew(self) -> Grant:
        secret = self._client_secret.reveal() if self._client_secret is not None else ""
        if not secret:
            return await self._endpoint.grant(self._form_request())
        try:
            return await self._endpoint.grant(self._basic_request(secret))
        except TokenEndpointError as error:
            if not error.permanent:
                raise
            return await self._endpoint.grant(self._form_request(secret))

    def _basic_request(self, secret: str) -> TokenRequest:
        return TokenRequest(self._parameters, as_form=True, basic=(self._client_id, secret), secrets=(secret,))

    def _form_request(self, secret: str = "") -> TokenRequest:
        client = {"client_id": self._client_id} | ({"client_secret": secret} if secret else {})
        return TokenRequest(self._parameters | client, as_form=True, secrets=(secret,))


def _hints(settings: str) -> dict[str, str]:
    check_client = f"Check {settings}_CLIENT_ID and {settings}_CLIENT_SECRET."
    return {
        "invalid_client": check_client,
        "unauthorized_client": check_client,
        "invalid_scope": f"Check {settings}_SCOPE.",
    }
