"""Security arguments of aiokafka clients, built from the ``KAFKA_*`` security settings."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bridge.errors import SettingsError
from bridge.kafka.sasl_oauth import ClientCredentials
from bridge.network.authorities import trusting

if TYPE_CHECKING:
    import os

    from bridge.secrets.secret import Revealable


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
    def kafka_ssl_check_hostname(self) -> bool: ...
    @property
    def kafka_oauth_token_url(self) -> str | None: ...
    @property
    def kafka_oauth_client_id(self) -> str | None: ...
    @property
    def kafka_oauth_client_secret(self) -> Revealable | None: ...
    @property
    def kafka_oauth_scope(self) -> str | None: ...


def security_options(settings: KafkaSecuritySettings) -> dict[str, object]:
    """Return the security arguments for one new aiokafka client.

    Files and secrets are read at each call. Raises SettingsError for invalid certificate files, and what
    ``reveal()`` raises.
    """
    authentication, _, transport = str(settings.kafka_security_protocol).rpartition("_")
    options: dict[str, object] = {"security_protocol": str(settings.kafka_security_protocol)}
    if transport == "SSL":
        options["ssl_context"] = _tls(settings)
    if authentication == "SASL":
        options |= _sasl(settings)
    return options


def _sasl(settings: KafkaSecuritySettings) -> dict[str, object]:
    mechanism = _require("KAFKA_SASL_MECHANISM", settings.kafka_sasl_mechanism)
    if mechanism == "OAUTHBEARER":
        return {"sasl_mechanism": mechanism, "sasl_oauth_token_provider": _token_provider(settings)}
    password = settings.kafka_sasl_password
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": _require("KAFKA_SASL_USERNAME", settings.kafka_sasl_username),
        "sasl_plain_password": _require("KAFKA_SASL_PASSWORD", None if password is None else password.reveal()),
    }


def _token_provider(settings: KafkaSecuritySettings) -> ClientCredentials:
    """Return a token provider that trusts the system's CAs and those of ``KAFKA_SSL_CAFILE``."""
    tls = trusting("KAFKA_SSL_CAFILE", settings.kafka_ssl_cafile, also_system=True)
    return ClientCredentials(
        url=_require("KAFKA_OAUTH_TOKEN_URL", settings.kafka_oauth_token_url),
        client_id=_require("KAFKA_OAUTH_CLIENT_ID", settings.kafka_oauth_client_id),
        client_secret=settings.kafka_oauth_client_secret,
        scope=settings.kafka_oauth_scope,
        tls=tls,
    )


def _tls(settings: KafkaSecuritySettings) -> ssl.SSLContext:
    context = trusting("KAFKA_SSL_CAFILE", settings.kafka_ssl_cafile)
    context.check_hostname = settings.kafka_ssl_check_hostname
    if settings.kafka_ssl_certfile is not None:
        _load_client_certificate(context, settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    elif settings.kafka_ssl_keyfile is not None:
        raise _settings_error("KAFKA_SSL_KEYFILE is set without KAFKA_SSL_CERTFILE: set both or neither")
    return context


def _load_client_certificate(
    context: ssl.SSLContext, certfile: str | os.PathLike[str], keyfile: str | os.PathLike[str] | None
) -> None:
    """Load a client certificate; its key may be in the same file."""
    _require_readable("KAFKA_SSL_CERTFILE", certfile)
    if keyfile is not None:
        _require_readable("KAFKA_SSL_KEYFILE", keyfile)
    try:
        context.load_cert_chain(certfile, keyfile, password=_reject_encrypted_key)
    except ssl.SSLError as error:
        raise _settings_error(
            f"KAFKA_SSL_CERTFILE, KAFKA_SSL_KEYFILE: {Path(certfile)} and {Path(keyfile or certfile)} "
            f"are not a PEM certificate and its private key ({_reason(error)})"
        ) from None


def _reject_encrypted_key() -> str:
    """Raise SettingsError: OpenSSL would ask for the passphrase on the terminal."""
    raise _settings_error("KAFKA_SSL_KEYFILE is encrypted: remove the passphrase from the key")


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
