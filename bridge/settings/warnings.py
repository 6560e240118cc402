"""Find what is valid in an environment, but probably not intended."""

from __future__ import annotations

import difflib
import os
import re
import stat
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.errors import SettingsError
from bridge.network.loopback import is_loopback
from bridge.settings.environment import is_injected_port
from bridge.settings.field_types import is_secret
from bridge.settings.fields import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_PREFIXES = ("ARIES_", "KAFKA_", "SCHEMA_REGISTRY_", "BRIDGE_")
#: Variables that Kubernetes sets for each Service, for example one that is called ``kafka``
#: (kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_KUBERNETES = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")

#: Permissions that a secret's file should not have, the worst first. Reading by the group is allowed: Kubernetes gives
#: secrets to processes that are not root in this way (``fsGroup``).
_LOOSE_PERMISSIONS = (
    (stat.S_IWOTH, "every user may write", "chmod o-w"),
    (stat.S_IWGRP, "its group may write", "chmod g-w"),
    (stat.S_IROTH, "every user may read", "chmod o-r; in Kubernetes defaultMode: 0440"),
)


def warnings(settings: Settings, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence for each doubtful setting, as read from ``environ``, by default the process's."""
    return [
        *_unknown(os.environ if environ is None else environ),
        *_unused_grant(settings),
        *_unencrypted(settings),
        *_loose_files(settings),
        *_doubtful_symbols(settings),
    ]


def names() -> tuple[str, ...]:
    """Return the name of every environment variable that the bridge reads."""
    fields = Settings.model_fields.items()
    files = (f"{name.upper()}_FILE" for name, field in fields if is_secret(field))
    return (*(name.upper() for name, _ in fields), *files)


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    known = names()
    for name in sorted(environ.keys() - set(known)):
        if name.startswith(_PREFIXES) and not _is_injected(name, environ[name]):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            guess = f"did you mean {near[0]}?" if near else "no setting has a similar name."
            yield f"{name} is not a setting and has no effect: {guess}"


def _is_injected(name: str, value: str) -> bool:
    return is_injected_port(name, value) or _KUBERNETES.fullmatch(name) is not None


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
    sends = settings.kafka_sasl_mechanism in {"PLAIN", "OAUTHBEARER"}
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


def _loose_files(settings: Settings) -> Iterator[str]:
    files = {f"{secret.name}_FILE": secret.path for secret in settings.secrets}
    keys = {
        "KAFKA_SSL_KEYFILE": settings.kafka_ssl_keyfile,
        "SCHEMA_REGISTRY_KEYFILE": settings.schema_registry_keyfile,
    }
    for name, path in {**files, **keys}.items():
        if path is not None and (loose := _loose_permission(path)):
            yield f"{name}: {loose}."


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
