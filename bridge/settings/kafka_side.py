"""The settings of Kafka and the schema registry, for commands that need no others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bridge.settings.environment import load_only

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.settings.fields import Settings


def kafka_settings(bootstrap_servers: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of Kafka and the schema registry; raise SettingsError with all their problems.

    ``bootstrap_servers`` takes precedence over ``KAFKA_BOOTSTRAP_SERVERS``.
    """
    environ = os.environ if environ is None else environ
    override = {} if bootstrap_servers is None else {"KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers}
    return load_only({**environ, **override}, "KAFKA_", "SCHEMA_REGISTRY_", "AWS_")
