"""Tokens for Kafka's OAUTHBEARER."""

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

#: What a Kafka token is taken to last when its server does not tell: short, since brokers cut at its end.
ASSUMED_LIFETIME_SECONDS = 60.0
_CHECK_CLIENT = "Check KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET."
REMEDIES = MappingProxyType(
    {
        "invalid_client": _CHECK_CLIENT,
        "unauthorized_client": _CHECK_CLIENT,
        "invalid_scope": "Check KAFKA_OAUTH_SCOPE.",
    }
)


class KafkaTokenError(KafkaConnectionError):  # type: ignore[misc]  # aiokafka ships no types
    """Say why Kafka gets no token, as an error that aiokafka takes for a failed connection and retries."""


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types
    """Give aiokafka tokens by the client-credentials grant (RFC 6749 §4.4), each for 80 % of its life.

    The client shows its secret by HTTP Basic, as Kafka's own client does and every server must accept it
    (§2.3.1); a server that refuses is asked once more with the secret in the form. Without a secret the
    client is a public one.
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
        self._endpoint = TokenEndpoint(url, "KAFKA_OAUTH_TOKEN_URL", REMEDIES, tls=tls)
        self._client_id = client_id
        self._client_secret = client_secret
        self._parameters = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        self._current = CurrentGrant(self._renew, clock=clock, assumed_lifetime_seconds=ASSUMED_LIFETIME_SECONDS)

    async def token(self) -> str:
        """Return a token that has not lapsed; raises KafkaTokenError."""
        try:
            return (await self._current.get()).access_token
        except BridgeError as error:
            raise KafkaTokenError(str(error)) from error

    async def _renew(self) -> Grant:
        secret = self._client_secret.reveal() if self._client_secret is not None else ""
        if not secret:
            return await self._endpoint.grant(self._in_form())
        try:
            return await self._endpoint.grant(self._in_header(secret))
        except TokenEndpointError as error:
            if not error.permanent:
                raise
            return await self._endpoint.grant(self._in_form(secret))

    def _in_header(self, secret: str) -> TokenRequest:
        return TokenRequest(self._parameters, as_form=True, basic=(self._client_id, secret), secrets=(secret,))

    def _in_form(self, secret: str = "") -> TokenRequest:
        client = {"client_id": self._client_id} | ({"client_secret": secret} if secret else {})
        return TokenRequest(self._parameters | client, as_form=True, secrets=(secret,))
