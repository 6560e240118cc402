"""Access tokens for SASL/OAUTHBEARER."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from bridge.errors import BridgeError
from bridge.oauth import client_credentials

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from bridge.secrets.secret import Revealable


class KafkaTokenError(KafkaConnectionError):  # type: ignore[misc]  # aiokafka ships no types
    """A failed token request, as an error that aiokafka treats as a failed connection and retries."""


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types
    """A token provider for aiokafka: the access token of an OAuth2 client."""

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
        self._credentials = client_credentials.ClientCredentials(
            settings="KAFKA_OAUTH",
            url=url,
            client_id=client_id,
            client_secret=client_secret,
            scope=scope,
            tls=tls,
            clock=clock,
        )

    async def token(self) -> str:
        """Return a token that has not expired; raises KafkaTokenError."""
        try:
            return await self._credentials.token()
        except BridgeError as error:
            raise KafkaTokenError(str(error)) from error
