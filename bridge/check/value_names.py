"""Names by which others know the settings: in a pod of the Helm chart, those of its values."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.check.report import CheckResult

#: A JSON object of the chart: the value for each setting.
VALUE_NAMES: Final = "CHART_VALUE_NAMES"
_SETTING: Final = re.compile(r"\b(?:ARIES|KAFKA|SCHEMA_REGISTRY|BRIDGE)_[A-Z0-9_]+\b")


class ValueNames:
    """The value that sets each setting, by the setting's name; none outside of the chart's pods."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._names: dict[str, str] = {}
        with suppress(ValueError):
            found = json.loads(environ.get(VALUE_NAMES, "{}"))
            self._names = {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}

    def name_in(self, result: CheckResult) -> CheckResult:
        """Return a result that names the value beside each setting."""
        finding, hint = (_SETTING.sub(self._name, text) for text in (result.finding, result.hint))
        return replace(result, finding=finding, hint=hint)

    def _name(self, match: re.Match[str]) -> str:
        setting = match[0]
        value = self._names.get(setting) or self._names.get(f"{setting}_FILE")
        return f"{value} ({setting})" if value else setting
