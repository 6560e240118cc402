"""Find what is valid in an environment, but probably not intended."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.errors import SecretUnreadable, SettingsError
from bridge.network.loopback import is_loopback
from bridge.settings import near_misses
from bridge.settings.field_types import is_secret
from bridge.settings.fields import Settings, names
from bridge.settings.surplus_characters import IN_QUOTES, in_secret, is_quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

#: Permissions that a secret's file should not have, the worst first. Reading by the group is allowed: Kubernetes gives
#: secrets to processes that are not root in this way (``fsGroup``).
_LOOSE_PERMISSIONS = (
    (stat.S_IWOTH, "every user may write", "chmod o-w"),
    (stat.S_IWGRP, "its group may write", "chmod g-w"),
    (stat.S_IROTH, "every user may read", "chmod o-r; in Kubernetes defaultMode: 0440"),
)


def warnings(settings: Settings, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence for each doubtful setting, as read from ``environ``, by default the process's."""
    environ = os.environ if environ is None else environ
    return [
        *_unknown(environ),
        *_surplus_characters(settings, environ),
        *_unused_grant(settings),
        *_unencrypted(settings),
        *_loose_files(settings),
        *_files_to_come(settings),
        *_doubtful_symbols(settings),
    ]


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    for name, meant in near_misses.unknown(environ):
        guess = f"did you mean {meant}?" if meant else "no setting has a similar name."
        yield f"{name} is not a setting and has no effect: {guess}"


def _unused_grant(settings: Settings) -> Iterator[str]:
    if settings.aries_access_token and not settings.aries_refresh_token:
        for field in ("aries_client_id", "aries_client_secret"):
            if getattr(settings, field):
                yield f"{field.upper()} has no effect with ARIES_ACCESS_TOKEN: it belongs to ARIES_REFRESH_TOKEN."


def _unencrypted(settings: Settings) -> Iterator[str]:
    for field, plain in (
        ("aries_ws_url", "ws"),
        ("aries_token_url", "http"),
        ("kafka_oauth_token_url", "http"),
        ("schema_registry_url", "http"),
        ("schema_registry_oauth_token_url", "http"),
    ):
        urls = map(urlsplit, (getattr(settings, field) or "").split(","))
        plain_hosts = [url.hostname or "" for url in urls if url.scheme == plain]
        if _carries_secret(settings, field) and not all(map(is_loopback, plain_hosts)):
            yield (
                f"{field.upper()} is {plain}:// to another machine: credentials are sent in the clear; use {plain}s://."
            )
    if _sends_password(settings) and not all(map(is_loopback, _hosts(settings.kafka_bootstrap_servers))):
        yield "KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT: credentials are sent in the clear; use SASL_SSL."


def _sends_password(settings: Settings) -> bool:
    """Return whether credentials are sent to brokers without TLS; SCRAM sends a proof instead of the password."""
    sends = settings.kafka_sasl_mechanism in {"PLAIN", "OAUTHBEARER", "AWS_MSK_IAM"}
    return sends and settings.kafka_security_protocol == "SASL_PLAINTEXT"


def _hosts(servers: Iterable[str]) -> Iterator[str]:
    return (urlsplit(f"//{server}").hostname or "" for server in servers)


def _carries_secret(settings: Settings, field: str) -> bool:
    secrets = {
        "aries_token_url": settings.aries_refresh_token,
        "schema_registry_url": settings.schema_registry_password
        or settings.schema_registry_bearer_token
        or settings.schema_registry_oauth_token_url,
    }
    return bool(secrets.get(field, True))


def _surplus_characters(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    for secret in settings.secrets:
        name = f"{secret.name}_FILE ({secret.path})" if secret.path else secret.name
        with suppress(SecretUnreadable):
            yield from (f"{name} {surplus}" for surplus in in_secret(secret.name, secret.reveal()))
    secrets = {name.upper() for name, field in Settings.model_fields.items() if is_secret(field)}
    yield from (f"{name} {IN_QUOTES}" for name in names() if name not in secrets and is_quoted(environ.get(name, "")))


def _loose_files(settings: Settings) -> Iterator[str]:
    files = {f"{secret.name}_FILE": secret.path for secret in settings.secrets}
    keys = {
        "KAFKA_SSL_KEYFILE": settings.kafka_ssl_keyfile,
        "SCHEMA_REGISTRY_KEYFILE": settings.schema_registry_keyfile,
    }
    for name, path in {**files, **keys}.items():
        if path is not None and (loose := _loose_permission(path)):
            yield f"{name}: {loose}."


def _files_to_come(settings: Settings) -> Iterator[str]:
    """Yield the files that need not exist at the start, but do not yet."""
    for secret in settings.secrets:
        try:
            secret.reveal()
        except SecretUnreadable as error:
            yield f"{error}. The bridge retries until it is."


def _loose_permission(path: Path) -> str | None:
    for bit, who_may, fix in _LOOSE_PERMISSIONS:
        if _mode(path) & bit and (bit != stat.S_IROTH or _is_reachable(path)):
            return f"{who_may} {str(path)!r}; forbid it ({fix})"
    return None


def _is_reachable(path: Path) -> bool:
    """Return whether every user may enter all directories above a file."""
    return all(_mode(above) & stat.S_IXOTH for above in path.resolve().parents)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:  # removed meanwhile: whatever reads it next reports that
        return 0


def _doubtful_symbols(settings: Settings) -> Iterator[str]:
    try:
        yield from settings.plan().warnings
    except SettingsError:  # a problem, not a warning: `load` raises it
        return
