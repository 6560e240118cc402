"""The settings of the schema registry, and what its client needs of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from bridge.network.authorities import trusting
from bridge.oauth.client_credentials import ClientCredentials
from bridge.oauth.configured_token import RenewedElsewhere
from bridge.secrets import client_certificate
from bridge.serialization.registry_login import BasicLogin, Login, NoLogin, TokenLogin

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Mapping

    from bridge.secrets.secret import Revealable, Secret

_AUTHORITIES: Final = "SCHEMA_REGISTRY_CAFILE"


class RegistrySettings(Protocol):
    """The settings of the client of a schema registry."""

    @property
    def schema_registry_username(self) -> str | None: ...
    @property
    def schema_registry_password(self) -> Revealable | None: ...
    @property
    def schema_registry_bearer_token(self) -> Secret | None: ...
    @property
    def schema_registry_oauth_token_url(self) -> str | None: ...
    @property
    def schema_registry_oauth_client_id(self) -> str | None: ...
    @property
    def schema_registry_oauth_client_secret(self) -> Secret | None: ...
    @property
    def schema_registry_oauth_scope(self) -> str | None: ...
    @property
    def schema_registry_logical_cluster(self) -> str | None: ...
    @property
    def schema_registry_identity_pool_id(self) -> str | None: ...
    @property
    def schema_registry_cafile(self) -> str | os.PathLike[str] | None: ...
    @property
    def schema_registry_certfile(self) -> str | os.PathLike[str] | None: ...
    @property
    def schema_registry_keyfile(self) -> str | os.PathLike[str] | None: ...
    @property
    def schema_registry_key_password(self) -> Revealable | None: ...
    @property
    def schema_registry_context(self) -> str | None: ...


def login(settings: RegistrySettings) -> Login:
    """Return the login; raises SettingsError for an invalid authorities' file."""
    if settings.schema_registry_username is not None and settings.schema_registry_password is not None:
        return BasicLogin(settings.schema_registry_username, settings.schema_registry_password)
    if settings.schema_registry_bearer_token is not None:
        check = "Set SCHEMA_REGISTRY_BEARER_TOKEN, or the content of its file, to a valid token."
        return TokenLogin(RenewedElsewhere(settings.schema_registry_bearer_token), check)
    if settings.schema_registry_oauth_token_url is not None:
        credentials = _client_credentials(settings, settings.schema_registry_oauth_token_url)
        return TokenLogin(credentials, "Check SCHEMA_REGISTRY_OAUTH_CLIENT_ID and SCHEMA_REGISTRY_OAUTH_SCOPE.")
    return NoLogin()


def _client_credentials(settings: RegistrySettings, token_url: str) -> ClientCredentials:
    """Return the credentials of an OAuth2 client, which trusts the system's CAs and those of the registry."""
    return ClientCredentials(
        settings="SCHEMA_REGISTRY_OAUTH",
        url=token_url,
        client_id=settings.schema_registry_oauth_client_id,
        client_secret=settings.schema_registry_oauth_client_secret,
        scope=settings.schema_registry_oauth_scope,
        tls=trusting(_AUTHORITIES, settings.schema_registry_cafile, also_system=True),
    )


def cloud_headers(settings: RegistrySettings) -> Mapping[str, str]:
    """Return the headers that tell Confluent Cloud which registry and which identity a token is for."""
    headers = {
        "target-sr-cluster": settings.schema_registry_logical_cluster,
        "Confluent-Identity-Pool-Id": settings.schema_registry_identity_pool_id,
    }
    return {name: value for name, value in headers.items() if value is not None}


def tls(settings: RegistrySettings) -> ssl.SSLContext:
    """Return the TLS context for https; raises SettingsError for invalid files, and what ``reveal()`` raises."""
    context = trusting(_AUTHORITIES, settings.schema_registry_cafile)
    if settings.schema_registry_certfile is not None:
        client_certificate.load(
            context,
            settings.schema_registry_certfile,
            settings.schema_registry_keyfile,
            settings.schema_registry_key_password,
            prefix="SCHEMA_REGISTRY_",
        )
    return context


class DecodingSettings(RegistrySettings, Protocol):
    """The settings by which values are decoded."""

    @property
    def schema_registry_url(self) -> str | None: ...
