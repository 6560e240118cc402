"""Access tokens for SASL/OAUTHBEARER: where they come from, and how aiokafka gets them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from bridge.errors import BridgeError, TokenUnavailable
from bridge.oauth.current_grant import CurrentGrant
from bridge.oauth.endpoint import Grant, TokenEndpoint, TokenEndpointError, TokenRequest
from bridge.oauth.jwt import expires_at

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from bridge.secrets.secret import Secret

#: Assumed if the token endpoint returns no lifetime; short, since brokers close connections when a token expires.
ASSUMED_LIFETIME_SECONDS = 60.0
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CHECK_CLIENT = "Check KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET."
_CHECK_ASSERTION = (
    "Check KAFKA_OAUTH_CLIENT_ID, and that the server trusts issuer, subject and audience of the token in "
    "KAFKA_OAUTH_CLIENT_ASSERTION_FILE."
)


class KafkaTokenError(KafkaConnectionError):  # type: ignore[misc]  # aiokafka ships no types
    """A token that cannot be had, as an error that aiokafka treats as a failed connection and retries."""


class TokenSource(Protocol):
    """A source of access tokens for logins to Kafka."""

    async def access_token(self) -> str:
        """Return a token that has not expired; raise BridgeError if there is none at the moment."""


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types
    """What aiokafka asks at each login: a token of a source, and the SASL extensions (RFC 7628 §3.1, KIP-342).

    ``learn_secret`` is called with each token before it is used.
    """

    def __init__(
        self,
        source: TokenSource,
        extensions: Mapping[str, str] | None = None,
        learn_secret: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._extensions = dict(extensions or {})
        self._learn_secret = learn_secret

    async def token(self) -> str:
        """Return a token that has not expired; raises KafkaTokenError."""
        try:
            token = await self._source.access_token()
        except BridgeError as error:
            raise KafkaTokenError(str(error)) from error
        self._learn_secret(token)
        return token

    def extensions(self) -> dict[str, str]:
        """Return the extensions to send with each token."""
        return self._extensions


class RenewedElsewhere:
    """The token of a setting: its file is read again for each login, as something else renews it."""

    def __init__(self, secret: Secret, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    async def access_token(self) -> str:
        """Return the present token; raises BridgeError."""
        return usable_token(self._secret, self._clock)


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


class ClientCredentials:
    """Client-credentials grants (RFC 6749 §4.4), each used for 80 % of its lifetime.

    A client with a secret authenticates by HTTP Basic, which every server must support (§2.3.1) and which Kafka's own
    client uses. If the server rejects that, the request is repeated once with the secret in the form. Instead of the
    secret, the client can have an assertion (RFC 7523 §2.2), which is read for each request; a client with neither is
    a public client.
    """

    def __init__(
        self,
        *,
        url: str,
        client_id: str | None = None,
        client_secret: Secret | None = None,
        client_assertion: Secret | None = None,
        scope: str | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint = TokenEndpoint(url, "KAFKA_OAUTH_TOKEN_URL", _hints(client_assertion), tls=tls)
        self._client_id = client_id
        self._client_secret = client_secret
        self._client_assertion = client_assertion
        self._parameters = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        self._clock = clock
        self._current = CurrentGrant(self._renew, clock=clock, assumed_lifetime_seconds=ASSUMED_LIFETIME_SECONDS)

    async def access_token(self) -> str:
        """Return the token of the current grant; raises BridgeError."""
        return (await self._current.get()).access_token

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


def _hints(client_assertion: Secret | None) -> Mapping[str, str]:
    """Return for each OAuth error code how to fix it."""
    check_client = _CHECK_CLIENT if client_assertion is None else _CHECK_ASSERTION
    return MappingProxyType(
        {
            "invalid_client": check_client,
            "unauthorized_client": check_client,
            "invalid_scope": "Check KAFKA_OAUTH_SCOPE.",
        }
    )
