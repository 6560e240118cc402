"""Access tokens by the client-credentials grant (RFC 6749 §4.4), for Kafka and the schema registry."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING

from bridge.oauth.configured_token import usable_token
from bridge.oauth.current_grant import CurrentGrant
from bridge.oauth.endpoint import Grant, TokenEndpoint, TokenEndpointError, TokenRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from bridge.secrets.secret import Secret

#: Assumed if the token endpoint returns no lifetime; short, since servers reject an expired token.
ASSUMED_LIFETIME_SECONDS = 60.0
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class ClientCredentials:
    """Client-credentials grants (RFC 6749 §4.4), each used for 80 % of its lifetime.

    A client with a secret authenticates by HTTP Basic, which every server must support (§2.3.1) and which Kafka's own
    client uses. If the server rejects that, the request is repeated once with the secret in the form. Instead of the
    secret, the client can have an assertion (RFC 7523 §2.2), which is read for each request; a client with neither is
    a public client. ``settings`` is what the names of its settings begin with, like ``KAFKA_OAUTH``.
    """

    def __init__(
        self,
        *,
        settings: str,
        url: str,
        client_id: str | None = None,
        client_secret: Secret | None = None,
        client_assertion: Secret | None = None,
        scope: str | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        hints = _hints(settings, client_assertion)
        self._endpoint = TokenEndpoint(url, f"{settings}_TOKEN_URL", hints, tls=tls)
        self._client_id = client_id
        self._client_secret = client_secret
        self._client_assertion = client_assertion
        self._parameters = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        self._clock = clock
        self._current = CurrentGrant(self._renew, clock=clock, assumed_lifetime_seconds=ASSUMED_LIFETIME_SECONDS)

    async def access_token(self) -> str:
        """Return the token of the current grant; raises BridgeError."""
        return (await self._current.get()).access_token

    def invalidate(self) -> None:
        """Replace the current token as soon as that is allowed, because it was rejected."""
        self._current.invalidate()

    async def _renew(self) -> Grant:
        if self._client_assertion is not None:
            return await self._endpoint.grant(self._assertion_request(self._client_assertion))
        secret = self._client_secret.reveal() if self._client_secret is not None else ""
        if not secret:
            return await self._endpoint.grant(self._form_request())
        try:
            return await self._endpoint.grant(self._basic_request(secret))
        except TokenEndpointError as error:
            if not error.permanent:
                raise
            return await self._endpoint.grant(self._form_request(client_secret=secret))

    def _basic_request(self, secret: str) -> TokenRequest:
        basic = (self._client_id or "", secret)
        return TokenRequest(self._parameters, as_form=True, basic=basic, secrets=(secret,))

    def _assertion_request(self, assertion: Secret) -> TokenRequest:
        token = usable_token(assertion, self._clock)
        return self._form_request(client_assertion=token, client_assertion_type=_ASSERTION_TYPE)

    def _form_request(self, **credentials: str) -> TokenRequest:
        client = {"client_id": self._client_id} if self._client_id else {}
        return TokenRequest(self._parameters | client | credentials, as_form=True, secrets=tuple(credentials.values()))


def _hints(settings: str, client_assertion: Secret | None) -> Mapping[str, str]:
    """Return for each OAuth error code how to fix it."""
    check_client = f"Check {settings}_CLIENT_ID and {settings}_CLIENT_SECRET."
    if client_assertion is not None:
        check_client = (
            f"Check {settings}_CLIENT_ID, and that the server trusts issuer, subject and audience of the token in "
            f"{settings}_CLIENT_ASSERTION_FILE."
        )
    return MappingProxyType(
        {
            "invalid_client": check_client,
            "unauthorized_client": check_client,
            "invalid_scope": f"Check {settings}_SCOPE.",
        }
    )
