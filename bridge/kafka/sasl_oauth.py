"""Access tokens for SASL/OAUTHBEARER."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from bridge.errors import BridgeError
from bridge.oauth.current_grant import CurrentGrant
from bridge.oauth.endpoint import Grant, TokenEndpoint, TokenEndpointError, TokenRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from bridge.secrets.secret import Revealable

#: Assumed if the token endpoint returns no lifetime; short, since brokers close connections when a token expires.
ASSUMED_LIFETIME_SECONDS = 60.0
_CHECK_CLIENT = "Check KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET."
_HINTS = MappingProxyType(
    {
        "invalid_client": _CHECK_CLIENT,
        "unauthorized_client": _CHECK_CLIENT,
        "invalid_scope": "Check KAFKA_OAUTH_SCOPE.",
    }
)


class KafkaTokenError(KafkaConnectionError):  # type: ignore[misc]  # aiokafka ships no types
    """A failed token request, as an error that aiokafka treats as a failed connection and retries."""


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types
    """A token provider for aiokafka: client-credentials grants (RFC 6749 §4.4), each used for 80 % of its lifetime.

    The client authenticates by HTTP Basic, which every server must support (§2.3.1) and which Kafka's own client
    uses. If the server rejects that, the request is repeated once with the secret in the form. A client without a
    secret is a public client.
    """

    def __init__(
        self,
        *,
        url: str,
        client_id: str,
        client_secret: Revealable | None = None,
        scope: str | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint = TokenEndpoint(url, "KAFKA_OAUTH_TOKEN_URL", _HINTS, tls=tls)
        self._client_id = client_id
        self._client_secret = client_secret
        self._parameters = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        self._current = CurrentGrant(self._renew, clock=clock, assumed_lifetime_seconds=ASSUMED_LIFETIME_SECONDS)

    async def token(self) -> str:
        """Return a token that has not expired; raises KafkaTokenError."""
        try:
            return (await self._current.get()).access_token
        except BridgeError as error:
            raise KafkaTokenError(str(error)) from error

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
