"""Find the setting that a variable with another name is meant for."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from bridge.settings.fields import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PREFIXES: Final = ("ARIES_", "KAFKA_", "SCHEMA_REGISTRY_", "BRIDGE_")
#: Variables that Kubernetes sets for each Service, for example one that is called ``kafka``: ``KAFKA_PORT`` is its
#: address (kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_KUBERNETES: Final = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_KUBERNETES_PORT: Final = re.compile(r"(tcp|udp|sctp)://\S+")
#: What other programs call the settings, or people do, if the names are not similar.
_OTHER_NAMES: Final = {
    **dict.fromkeys(
        (
            *("KAFKA_BROKERS", "KAFKA_BROKER", "KAFKA_BROKER_LIST", "KAFKA_BROKER_URL", "KAFKA_BOOTSTRAP"),
            *("KAFKA_SERVERS", "KAFKA_SERVER", "KAFKA_HOSTS", "KAFKA_HOST", "KAFKA_URL", "BOOTSTRAP_SERVERS"),
        ),
        "KAFKA_BOOTSTRAP_SERVERS",
    ),
    **dict.fromkeys(("ARIES_TICKERS", "ARIES_INSTRUMENTS", "ARIES_WATCHLIST", "SYMBOLS"), "ARIES_SYMBOLS"),
    **dict.fromkeys(("ARIES_TOKEN", "ARIES_BEARER_TOKEN", "ACCESS_TOKEN"), "ARIES_ACCESS_TOKEN"),
    "ARIES_TOKEN_FILE": "ARIES_ACCESS_TOKEN_FILE",
    **dict.fromkeys(("KAFKA_GROUP_ID", "KAFKA_GROUP", "KAFKA_CONSUMER_GROUP"), "BRIDGE_GROUP"),
    "KAFKA_USER": "KAFKA_SASL_USERNAME",
    "KAFKA_MECHANISM": "KAFKA_SASL_MECHANISM",
    "KAFKA_PROTOCOL": "KAFKA_SECURITY_PROTOCOL",
}
_MIN_SIMILARITY: Final = 0.75


def is_injected_port(name: str, value: str) -> bool:
    """Return whether a variable is one that Kubernetes sets for a Service, and not a setting.

    For one that is called ``bridge-http``, ``BRIDGE_HTTP_PORT`` is its address.
    """
    return name.endswith("_PORT") and _KUBERNETES_PORT.fullmatch(value.strip()) is not None


def unknown(environ: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yield the variables that look like settings and are none, each with the setting that is probably meant."""
    known = names()
    for name in _others(environ, known):
        meant = _meant(name, known)
        if name.startswith(_PREFIXES) or (meant and _usual(name) == meant):
            yield name, meant


def stand_ins(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the variables that may be meant for settings that are not set, those of other programs included."""
    known = names()
    for name in _others(environ, known):
        meant = _meant(name, known)
        if meant and not environ.get(meant, "").strip():
            yield name, meant


def _others(environ: Mapping[str, str], known: tuple[str, ...]) -> list[str]:
    """Return the names that are no settings, without what Kubernetes sets."""
    names = sorted(environ.keys() - set(known))
    return [name for name in names if not (_KUBERNETES.fullmatch(name) or is_injected_port(name, environ[name]))]


def _usual(name: str) -> str:
    return re.sub(r"\W", "_", name.upper())


def _meant(name: str, known: tuple[str, ...]) -> str | None:
    if _usual(name) in known:
        return _usual(name)
    if name in _OTHER_NAMES or not name.startswith(_PREFIXES):
        return _OTHER_NAMES.get(name)
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=_MIN_SIMILARITY)), None)
