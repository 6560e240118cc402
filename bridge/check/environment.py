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


def check(report: Report, environ: Mapping[str, str]) -> Settings:
    """Report each problem and warning of an environment; return its settings, with defaults where they are wrong."""
    loaded, problems = settings.examine(environ)
    for problem in problems:
        report.fail(CHECK, problem.text, _REMEDY)
    for warning in warnings(loaded, environ):
        report.warn(CHECK, warning, _REMEDY)
    if not problems:
        report.ok(CHECK, f"{len(loaded.model_fields_set)} are set, the others have their defaults")
    return loaded


def is_sound(environ: Mapping[str, str], side: str) -> bool:
    """Return whether the settings with this name prefix are valid."""
    return not any(problem.concerns_only(side) for problem in settings.examine(environ)[1])
