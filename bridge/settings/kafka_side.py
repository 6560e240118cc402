"""The settings of Kafka and the schema registry alone, for commands that need nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bridge.errors import SettingsError
from bridge.settings.environment import examine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.settings.environment import Settings

_KAFKA_SIDE = ("KAFKA_", "SCHEMA_REGISTRY_")
_SERVERS = "KAFKA_BOOTSTRAP_SERVERS"


def kafka_settings(bootstrap_servers: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of Kafka and the schema registry; those of Aries and the bridge stay at their defaults.

    ``bootstrap_servers`` stands above ``KAFKA_BOOTSTRAP_SERVERS``. Raise SettingsError with all problems of this
    side; what is wrong or missing on the other does not matter here.
    """
    environ = os.environ if environ is None else environ
    side = {name: value for name, value in environ.items() if name.startswith(_KAFKA_SIDE)}
    if bootstrap_servers is not None:
        side[_SERVERS] = bootstrap_servers
    loaded, problems = examine(side)
    _, of_the_other_side = examine({_SERVERS: "localhost:9092"})
    problems = tuple(problem for problem in problems if problem not in of_the_other_side)
    if problems:
        raise SettingsError(problems)
    return loaded
