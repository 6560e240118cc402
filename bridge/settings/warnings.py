"""Notice what in an environment is allowed, but hardly meant."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import stat
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.errors import SettingsError
from bridge.settings import Settings, examine
from bridge.settings.environment import injected
from bridge.settings.field_types import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_PREFIXES = ("ARIES_", "KAFKA_", "SCHEMA_REGISTRY_", "BRIDGE_")
#: What Kubernetes sets for each service it knows, say one called ``kafka``
#: (kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_KUBERNETES = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")

#: What a secret's file should not permit, the worst first. That a group may read is how Kubernetes gives a secret to a
#: process that is not root (``fsGroup``).
_LOOSE = (
    (stat.S_IWOTH, "everybody may write", "chmod o-w"),
    (stat.S_IWGRP, "its group may write", "chmod g-w"),
    (stat.S_IROTH, "everybody may read", "chmod o-r; in Kubernetes defaultMode: 0440"),
)


def warnings(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence about each thing in an environment, else in the process's, that is hardly meant."""
    environ = os.environ if environ is None else environ
    settings, _ = examine(environ)
    return [
        *_unknown(environ),
        *_unused_grant(settings),
        *_in_the_clear(settings),
        *_loose(settings),
        *_doubtful_symbols(settings),
    ]


def names() -> tuple[str, ...]:
    """Return the name of every environment variable that the bridge reads."""
    fields = Settings.model_fields.items()
    twins = (f"{name.upper()}_FILE" for name, field in fields if is_secret(field))
    return (*(name.upper() for name, _ in fields), *twins)


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    known = names()
    for name in sorted(environ.keys() - set(known)):
        if name.startswith(_PREFIXES) and not _injected(name, environ[name]):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            guess = f"did you mean {near[0]}?" if near else "no setting has a name like it."
            yield f"{name} is not a setting and has no effect: {guess}"


def _injected(name: str, value: str) -> bool:
    return injected(name, value) or _KUBERNETES.fullmatch(name) is not None


def _unused_grant(settings: Settings) -> Iterator[str]:
    if settings.aries_access_token and not settings.aries_refresh_token:
        for field in ("aries_client_id", "aries_client_secret"):
            if getattr(settings, field):
                yield f"{field.upper()} has no effect beside ARIES_ACCESS_TOKEN: it belongs to ARIES_REFRESH_TOKEN."


def _in_the_clear(settings: Settings) -> Iterator[str]:
    for field, schemes in (
        ("aries_ws_url", "ws and wss"),
        ("aries_token_url", "http and https"),
        ("kafka_oauth_token_url", "http and https"),
        ("schema_registry_url", "http and https"),
    ):
        plain, _, safe = schemes.partition(" and ")
        url = urlsplit(getattr(settings, field) or "")
        if url.scheme == plain and _carries_secret(settings, field) and not is_loopback(url.hostname or ""):
            yield (
                f"{field.upper()} is {plain}:// and not on this machine: "
                f"credentials go over the network in the clear; use {safe}://."
            )
    if _logs_in_openly(settings) and not all(map(is_loopback, _hosts(settings.kafka_bootstrap_servers))):
        yield ("KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT: credentials go over the network in the clear; use SASL_SSL.")


def _logs_in_openly(settings: Settings) -> bool:
    clear = settings.kafka_sasl_mechanism in {"PLAIN", "OAUTHBEARER"}
    return clear and settings.kafka_security_protocol == "SASL_PLAINTEXT"


def _hosts(servers: Iterable[str]) -> Iterator[str]:
    return (urlsplit(f"//{server}").hostname or "" for server in servers)


def _carries_secret(settings: Settings, field: str) -> bool:
    needs = {
        "aries_token_url": settings.aries_refresh_token,
        "schema_registry_url": settings.schema_registry_password,
    }
    return bool(needs.get(field, True))


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this machine's by its spelling alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _loose(settings: Settings) -> Iterator[str]:
    files = {f"{secret.name}_FILE": secret.path for secret in settings.secrets}
    for name, path in {**files, "KAFKA_SSL_KEYFILE": settings.kafka_ssl_keyfile}.items():
        if path is not None and (looseness := _looseness(path)):
            yield f"{name}: {looseness}."


def _looseness(path: Path) -> str | None:
    for bit, who_may, remedy in _LOOSE:
        if _mode(path) & bit and (bit != stat.S_IROTH or _is_within_reach(path)):
            return f"{who_may} {str(path)!r}; forbid it ({remedy})"
    return None


def _is_within_reach(path: Path) -> bool:
    """Return whether everybody may go through the directories above a file."""
    return all(_mode(above) & stat.S_IXOTH for above in path.resolve().parents)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:  # it was there a moment ago; whoever reads it next will say so
        return 0


def _doubtful_symbols(settings: Settings) -> Iterator[str]:
    try:
        yield from settings.plan().warnings
    except SettingsError:  # a problem, not a warning: `load` raises it
        return
