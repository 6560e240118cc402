"""Access tokens for SASL/OAUTHBEARER: how aiokafka gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
