"""Are the settings right, and which of the three sides can be looked at if they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import settings
from bridge.settings.warnings import warnings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.check.report import Report
    from bridge.settings import Settings

CHECK = "Settings"
ARIES, KAFKA, REGISTRY = "ARIES_", "KAFKA_", "SCHEMA_REGISTRY_"
_REMEDY = "`aries-bridge settings` shows each with its meaning and value."
#: Stand for the sides that are not looked at.
_ENOUGH = {"ARIES_ACCESS_TOKEN": "unused", "ARIES_SYMBOLS": "UNUSED", "KAFKA_BOOTSTRAP_SERVERS": "unused:9092"}


def check(report: Report, environ: Mapping[str, str]) -> Settings:
    """Report each problem and warning of an environment; return its settings, with defaults where they are wrong."""
    loaded, problems = settings.examine(environ)
    for problem in problems:
        report.fail(CHECK, problem, _REMEDY)
    for warning in warnings(environ):
        report.warn(CHECK, warning, _REMEDY)
    if not problems:
        report.ok(CHECK, f"{len(loaded.model_fields_set)} are set, the others have their defaults")
    return loaded


def is_sound(environ: Mapping[str, str], side: str) -> bool:
    """Return whether the settings of one side, told by their prefix, are right by themselves."""
    of_others = {name: value for name, value in _ENOUGH.items() if not name.startswith(side)}
    own = {name: value for name, value in environ.items() if name.startswith(side)}
    return not settings.examine(of_others | own)[1]
