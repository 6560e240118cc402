"""Checks of the settings, and which sides can be checked even if some settings are invalid."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from bridge.aries.subscriptions.shards import sizes
from bridge.settings import examine
from bridge.settings.warnings import warnings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.check.report import CheckReport
    from bridge.settings import Settings

SETTINGS = "Settings"
SHARDS = "Shards"
#: Beyond so many only the smallest and the largest are reported.
MAX_LISTED_SHARDS = 16
#: How much more than the average the largest shard may get.
MAX_TIMES_AVERAGE = 2
_HINT = "`aries-bridge settings` shows the meaning and the value of each setting."


class Side(StrEnum):
    """A side of the bridge: the prefix of its settings."""

    ARIES = "ARIES_"
    KAFKA = "KAFKA_"
    REGISTRY = "SCHEMA_REGISTRY_"


def check_settings(report: CheckReport, environ: Mapping[str, str]) -> Settings:
    """Report each problem and warning; return the settings, with defaults in place of invalid values."""
    settings, problems = examine(environ)
    for problem in problems:
        report.fail(SETTINGS, problem.text, _HINT)
    for warning in warnings(settings, environ):
        report.warn(SETTINGS, warning, _HINT)
    if not problems:
        report.ok(SETTINGS, f"{len(settings.model_fields_set)} are set, the others have their defaults")
        if settings.bridge_shards > 1 or settings.is_grouped:
            _check_shards(report, settings)
    return settings


def _check_shards(report: CheckReport, settings: Settings) -> None:
    """Report how many symbols each shard gets: few symbols are spread unevenly."""
    symbols, count = settings.plan(), settings.bridge_shards
    on_shards = f"on {count} shard{'' if count == 1 else 's'}"
    sharing = f"; the bridges of {settings.group} share the shards, others are standbys" if settings.is_grouped else ""
    if symbols.chains:  # their contracts are not known yet, and there are many
        contracts = f"the contracts of {len(symbols.chains)} chains"
        report.ok(SHARDS, f"{len(symbols)} symbols and {contracts} {on_shards}{sharing}")
        return
    spread = sizes(symbols, count)
    each = ", ".join(map(str, spread)) if count <= MAX_LISTED_SHARDS else f"{min(spread)} to {max(spread)} each"
    finding = f"{len(symbols)} symbol{'' if len(symbols) == 1 else 's'} {on_shards}: {each}{sharing}"
    if not min(spread) or max(spread) * count > MAX_TIMES_AVERAGE * len(symbols):
        report.warn(SHARDS, finding, "Rendezvous hashing spreads few symbols unevenly: use fewer shards.")
    else:
        report.ok(SHARDS, finding)


def is_valid(environ: Mapping[str, str], side: Side) -> bool:
    """Return whether the settings of one side are valid, whatever the others are."""
    return not any(problem.concerns_only(side) for problem in examine(environ)[1])
