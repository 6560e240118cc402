"""The settings of Kafka and the schema registry, for commands that need no others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from bridge.settings.environment import load_only

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.aries.subscriptions import Plan
    from bridge.settings.fields import Settings


def kafka_settings(
    bootstrap_servers: str | None = None, environ: Mapping[str, str] | None = None, *, also: tuple[str, ...] = ()
) -> Settings:
    """Return the settings of Kafka and the schema registry; raise SettingsError with all their problems.

    ``bootstrap_servers`` takes precedence over ``KAFKA_BOOTSTRAP_SERVERS``. ``also``: prefixes of further settings.
    """
    environ = os.environ if environ is None else environ
    override = {} if bootstrap_servers is None else {"KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers}
    return load_only(
        {**environ, **override}, "KAFKA_", "SCHEMA_REGISTRY_", "AWS_", "BRIDGE_LATEST", *group_prefixes(environ), *also
    )


def group_prefixes(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the name prefixes of a group's settings, none if the bridge has a shard of its own.

    Then they decide on no topic, and ``auto`` is the host name of a bridge, not of the machine of a command.
    """
    return ("BRIDGE_SHARD", "BRIDGE_GROUP") if environ.get("BRIDGE_SHARD", "").strip() == "group" else ()


#: What decides to which topics a line goes, and what its record says.
_ROUTING: Final = ("ARIES_SYMBOLS", "ARIES_EVENTS", "ARIES_SUBSCRIPTIONS", "ARIES_LEVEL2")
_SYMBOLS: Final = ("ARIES_SYMBOLS", "ARIES_SUBSCRIPTIONS", "ARIES_SUBSCRIPTIONS_FILE")


def routing_settings(
    bootstrap_servers: str | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, Plan | None]:
    """Return the settings of Kafka and the subscriptions, with the plan if there is one; raise SettingsError."""
    environ = os.environ if environ is None else environ
    if not any(environ.get(name) for name in _SYMBOLS):
        return kafka_settings(bootstrap_servers, environ, also=("ARIES_LEVEL2",)), None
    settings = kafka_settings(bootstrap_servers, environ, also=_ROUTING)
    return settings, settings.plan()
