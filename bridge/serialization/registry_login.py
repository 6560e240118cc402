"""How the bridge logs in to the schema registry: what the Authorization header of a request has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import aiohttp

if TYPE_CHECKING:
    from bridge.secrets.secret import Revealable

_LOGINS = (
    "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, SCHEMA_REGISTRY_BEARER_TOKEN, "
    "or SCHEMA_REGISTRY_OAUTH_TOKEN_URL and SCHEMA_REGISTRY_OAUTH_CLIENT_ID"
)


@dataclass(frozen=True, slots=True)
class Authorization:
    """The value of an Authorization header, and the secrets in it."""

    header: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


class Login(Protocol):
    """A way to log in; ``hint`` says what to check if the registry rejects it."""

    @property
    def hint(self) -> str: ...

    async def authorization(self) -> Authorization | None:
        """Return what to send, read or renewed for this request; raises TokenUnavailable and SecretUnreadable."""

    def invalidate(self) -> None:
        """Take note that the registry rejected what was sent."""


class NoLogin:
    """Requests without an Authorization header: the registry is open, or knows the client by its certificate."""

    hint = f"If it wants a login, set {_LOGINS}."

    async def authorization(self) -> None:
        """Return nothing to send."""

    def invalidate(self) -> None:
        """Do nothing: there is nothing to renew."""


@dataclass(frozen=True, slots=True)
class BasicLogin:
    """User name and password (RFC 7617); a password's file is read for each request."""

    username: str
    password: Revealable = field(repr=False)

    @property
    def hint(self) -> str:
        """Return the settings to check."""
        return "Check SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD."

    async def authorization(self) -> Authorization:
        """Return the credentials."""
        password = self.password.reveal()
        header = aiohttp.encode_basic_auth(self.username, password, encoding="utf-8")
        return Authorization(header, (password, header.removeprefix("Basic ")))

    def invalidate(self) -> None:
        """Do nothing: the next request reads the password again."""


class TokenSource(Protocol):
    """A source of access tokens."""

    async def access_token(self) -> str:
        """Return a token that has not expired; raises TokenUnavailable and SecretUnreadable."""

    def invalidate(self) -> None:
        """Replace the current token, if that is possible, because it was rejected."""


@dataclass(frozen=True, slots=True)
class TokenLogin:
    """A bearer token (RFC 6750) of a source; ``check`` says which settings the token is from."""

    source: TokenSource = field(repr=False)
    check: str

    @property
    def hint(self) -> str:
        """Return the settings to check."""
        return (
            f"{self.check} Confluent Cloud also needs SCHEMA_REGISTRY_LOGICAL_CLUSTER, and for an identity pool "
            "SCHEMA_REGISTRY_IDENTITY_POOL_ID."
        )

    async def authorization(self) -> Authorization:
        """Return the token."""
        token = await self.source.access_token()
        return Authorization(f"Bearer {token}", (token,))

    def invalidate(self) -> None:
        """Replace the token, if that is possible."""
        self.source.invalidate()
