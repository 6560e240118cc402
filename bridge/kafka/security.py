"""Security arguments of aiokafka clients, built from the ``KAFKA_*`` security settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bridge.errors import SettingsError
from bridge.kafka import msk_iam
from bridge.kafka.sasl_oauth import TokenProvider, TokenSource
from bridge.network.authorities import trusting
from bridge.oauth.client_credentials import ClientCredentials
from bridge.oauth.configured_token import RenewedElsewhere
from bridge.secrets import client_certificate

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Callable, Sequence

    from bridge.secrets.secret import Revealable, Secret


class KafkaSecuritySettings(Protocol):
    """The settings that say how to authenticate and encrypt connections to Kafka."""

    @property
    def kafka_security_protocol(self) -> str: ...
    @property
    def kafka_sasl_mechanism(self) -> str | None: ...
    @property
    def kafka_sasl_username(self) -> str | None: ...
    @property
    def kafka_sasl_password(self) -> Revealable | None: ...
    @property
    def kafka_ssl_cafile(self) -> str | os.PathLike[str] | None: ...
    @property
    def kafka_ssl_certfile(self) -> str | os.PathLike[str] | None: ...
    @property
    def kafka_ssl_keyfile(self) -> str | os.PathLike[str] | None: ...
    @property
    def kafka_ssl_key_password(self) -> Revealable | None: ...
    @property
    def kafka_ssl_check_hostname(self) -> bool: ...
    @property
    def kafka_oauth_token_url(self) -> str | None: ...
    @property
    def kafka_oauth_client_id(self) -> str | None: ...
    @property
    def kafka_oauth_client_secret(self) -> Secret | None: ...
    @property
    def kafka_oauth_client_assertion(self) -> Secret | None: ...
    @property
    def kafka_oauth_scope(self) -> str | None: ...
    @property
    def kafka_oauth_token(self) -> Secret | None: ...
    @property
    def kafka_oauth_extensions(self) -> Sequence[str]: ...
    @property
    def aws_region(self) -> str | None: ...


def security_options(
    settings: KafkaSecuritySettings, learn_secret: Callable[[str], None] = lambda _: None
) -> dict[str, object]:
    """Return the security arguments for one new aiokafka client.

    ``learn_secret`` is called with each access token before it is used. Files and secrets are read at each call.
    Raises SettingsError for invalid certificate files, and what ``reveal()`` raises.
    """
    authentication, _, transport = str(settings.kafka_security_protocol).rpartition("_")
    options: dict[str, object] = {"security_protocol": str(settings.kafka_security_protocol)}
    if transport == "SSL":
        options["ssl_context"] = _tls(settings)
    if authentication == "SASL":
        options |= _sasl(settings, learn_secret)
    return options


def _sasl(settings: KafkaSecuritySettings, learn_secret: Callable[[str], None]) -> dict[str, object]:
    mechanism = _require("KAFKA_SASL_MECHANISM", settings.kafka_sasl_mechanism)
    if mechanism in ("OAUTHBEARER", msk_iam.MECHANISM):
        extensions = dict(item.split("=", 1) for item in settings.kafka_oauth_extensions)
        provider = TokenProvider(_token_source(settings), extensions, learn_secret)
        return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": provider}
    password = settings.kafka_sasl_password
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": _require("KAFKA_SASL_USERNAME", settings.kafka_sasl_username),
        "sasl_plain_password": _require("KAFKA_SASL_PASSWORD", None if password is None else password.reveal()),
    }


def _token_source(settings: KafkaSecuritySettings) -> TokenSource:
    if settings.kafka_sasl_mechanism == msk_iam.MECHANISM:
        return msk_iam.SignedTokens(_require("AWS_REGION", settings.aws_region))
    if settings.kafka_oauth_token is not None:
        return RenewedElsewhere(settings.kafka_oauth_token)
    return _client_credentials(settings)


def _client_credentials(settings: KafkaSecuritySettings) -> ClientCredentials:
    """Return a client of the token endpoint that trusts the system's CAs and those of ``KAFKA_SSL_CAFILE``."""
    tls = trusting("KAFKA_SSL_CAFILE", settings.kafka_ssl_cafile, also_system=True)
    client_id = settings.kafka_oauth_client_id
    if settings.kafka_oauth_client_assertion is None:  # which names the client itself
        client_id = _require("KAFKA_OAUTH_CLIENT_ID", client_id)
    return ClientCredentials(
        settings="KAFKA_OAUTH",
        url=_require("KAFKA_OAUTH_TOKEN_URL", settings.kafka_oauth_token_url),
        client_id=client_id,
        client_secret=settings.kafka_oauth_client_secret,
        client_assertion=settings.kafka_oauth_client_assertion,
        scope=settings.kafka_oauth_scope,
        tls=tls,
    )


def _tls(settings: KafkaSecuritySettings) -> ssl.SSLContext:
    context = trusting("KAFKA_SSL_CAFILE", settings.kafka_ssl_cafile)
    context.check_hostname = settings.kafka_ssl_check_hostname
    if settings.kafka_ssl_certfile is not None:
        _load_client_certificate(context, settings.kafka_ssl_certfile, settings)
    elif settings.kafka_ssl_keyfile is not None:
        raise _settings_error("KAFKA_SSL_KEYFILE is set without KAFKA_SSL_CERTFILE: set both or neither")
    return context


def _load_client_certificate(
    context: ssl.SSLContext, certfile: str | os.PathLike[str], settings: KafkaSecuritySettings
) -> None:
    """Load a client certificate; its key may be in the same file."""
    _require_readable("KAFKA_SSL_CERTFILE", certfile)
    if settings.kafka_ssl_keyfile is not None:
        _require_readable("KAFKA_SSL_KEYFILE", settings.kafka_ssl_keyfile)
    client_certificate.load(context, certfile, settings.kafka_ssl_keyfile, settings.kafka_ssl_key_password)


def _require_readable(setting: str, file: str | os.PathLike[str]) -> None:
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise _settings_error(f"{setting}: {Path(file)} cannot be read ({error.strerror})") from None


def _require(setting: str, value: str | None) -> str:
    if not value:
        raise _settings_error(f"{setting} is not set, but the chosen authentication requires it")
    return value


def _settings_error(text: str) -> SettingsError:
    return SettingsError((text,))


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "not PEM").lower().replace("_", " ")
