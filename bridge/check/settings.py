"""Checks of the settings, and which sides can be checked even if some settings are invalid."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from bridge.settings import examine
from bridge.settings.warnings import warnings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.check.report import CheckReport
    from bridge.settings import Settings

SETTINGS = "Settings"
_REMEDY = "`aries-bridge settings` shows the meaning and the value of each setting."


class Side(StrEnum):
    """A side of the bridge: the prefix of its settings."""

    ARIES = "ARIES_"
    KAFKA = "KAFKA_"
    REGISTRY = "SCHEMA_REGISTRY_"


def check_settings(report: CheckReport, environ: Mapping[str, str]) -> Settings:
    """Report each problem and warning; return the settings, with defaults in place of invalid values."""
    settings, problems = examine(environ)
    for problem in problems:
        report.fail(SETTINGS, problem.text, _REMEDY)
    for warning in warnings(settings, environ):
        report.warn(SETTINGS, warning, _REMEDY)
    if not problems:
        report.ok(SETTINGS, f"{len(settings.model_fields_set)} are set, the others have their defaults")
    return settings


def is_valid(environ: Mapping[str, str], side: Side) -> bool:
    """Return whether the settings of one side are valid, whatever the others are."""
    return not any(problem.concerns_only(side) for problem in examine(environ)[1])
