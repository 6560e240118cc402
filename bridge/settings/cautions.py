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

    from bridge.settings.secret import Secret

_PREFIXES = ("ARIES_", "KAFKA_", "SCHEMA_REGISTRY_", "BRIDGE_")
#: What Kubernetes sets for each service it knows, say one called ``kafka``
#: (kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_KUBERNETES = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")


def warnings(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence about each thing in an environment, else in the process's, that is hardly meant."""
    environ = os.environ if environ is None else environ
    settings, _ = examine(environ)
    return [
        *_unknown(environ),
        *_unused_grant(settings),
        *_in_the_clear(settings),
        *_writable(settings),
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


def _writable(settings: Settings) -> Iterator[str]:
    for secret in settings.secrets:
        if secret.path is not None and _mode(secret) & stat.S_IWOTH:
            yield f"{secret.name}_FILE: everybody may write {str(secret.path)!r}; forbid it (chmod o-w)."


def _mode(secret: Secret) -> int:
    assert secret.path is not None
    try:
        return secret.path.stat().st_mode
    except OSError:  # it was there a moment ago; whoever reads it next will say so
        return 0


def _doubtful_symbols(settings: Settings) -> Iterator[str]:
    try:
        yield from settings.plan().warnings
    except SettingsError:  # a problem, not a warning: `load` raises it
        return
