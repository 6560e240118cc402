"""Read the settings from an environment, and report all problems at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from bridge.errors import SettingsError, shorten
from bridge.secrets.secret import Secret
from bridge.settings.field_types import is_secret, redact_url
from bridge.settings.fields import Settings
from bridge.settings.near_misses import is_injected_port, stand_ins
from bridge.settings.surplus_characters import IN_QUOTES, is_quoted
from bridge.settings.validation import Problem, broken_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_MAX_SHOWN_CHARACTERS = 250
#: Instead of pydantic's own messages for these errors.
_MESSAGES = {
    "bool_parsing": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
}


class Environment(EnvSettingsSource):
    """A settings source for any mapping like ``os.environ``, in which a blank value counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self.env_vars = {
            name.lower(): value
            for name, value in environ.items()
            if name.isupper() and value.strip() and not is_injected_port(name, value)
        }
        if default_region := self.env_vars.get("aws_default_region"):  # a second name, as for AWS's own programs
            self.env_vars.setdefault("aws_region", default_region)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of a setting; of a secret, its text, the path of its file, or both."""
        value, key, is_complex = super().get_field_value(field, field_name)
        if not is_secret(field):
            return value and value.strip(), key, is_complex
        if file := self.env_vars.get(f"{field_name}_file"):
            path = Path(file.strip())
            return (value, path) if value else path, key, False
        return value, key, False


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment, by default the process's; raise SettingsError with all problems."""
    settings, problems = examine(environ)
    return _without_problems(settings, problems)


def secrets_in(environ: Mapping[str, str]) -> tuple[Secret, ...]:
    """Return the secrets of an environment that may be invalid in every other way."""
    names = [name.upper() for name, field in Settings.model_fields.items() if is_secret(field)]
    fixed = [Secret.fixed(name, environ[name]) for name in names if environ.get(name)]
    files = [Secret.in_file(name, Path(environ[f"{name}_FILE"])) for name in names if environ.get(f"{name}_FILE")]
    return (*fixed, *files)


def load_only(environ: Mapping[str, str], *prefixes: str) -> Settings:
    """Return the settings with these name prefixes, all others at their defaults; raise SettingsError.

    For commands that need only a part: invalid or missing settings of other parts are no problem.
    """
    settings, problems = examine({name: value for name, value in environ.items() if name.startswith(prefixes)})
    return _without_problems(settings, (problem for problem in problems if problem.concerns_only(*prefixes)))


def examine(environ: Mapping[str, str] | None = None) -> tuple[Settings, tuple[Problem, ...]]:
    """Return the settings, with defaults in place of invalid values, and all problems."""
    environ = os.environ if environ is None else environ
    settings, invalid = _validated(Environment(environ)())
    broken = [problem for problem in broken_rules(settings) if not problem.fields & invalid.keys()]
    hints = _hints(environ)
    return settings, tuple(_with_hints(problem, hints) for problem in (*invalid.values(), *broken))


def _hints(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """Return by field what is noticeable about the variables for it."""
    found: dict[str, list[str]] = {name: [] for name in Settings.model_fields}
    for variable, meant in stand_ins(environ):
        field = meant.lower() if meant.lower() in found else meant.lower().removesuffix("_file")
        found[field].append(f"{variable} is not a setting: did you mean {meant}?")
    for field, hints in found.items():
        variables = (field.upper(), f"{field.upper()}_FILE")
        hints += [f"{variable} {IN_QUOTES}" for variable in variables if is_quoted(environ.get(variable, ""))]
    return found


def _with_hints(problem: Problem, hints: dict[str, list[str]]) -> Problem:
    """Return a problem with the hints for its fields, which are then used up: one line has each."""
    about = [hint for field in sorted(problem.fields) for hint in hints.pop(field, ())]
    return Problem(" ".join((problem.text, *about)), problem.fields)


def _without_problems(settings: Settings, problems: Iterable[Problem]) -> Settings:
    if texts := tuple(map(str, problems)):
        raise SettingsError(texts)
    return settings


def _validated(values: Mapping[str, Any]) -> tuple[Settings, dict[str, Problem]]:
    """Return the settings without the invalid values, and the problem of each invalid field."""
    try:
        return Settings(**values), {}
    except ValidationError as error:
        errors = {str(details["loc"][0]): details for details in error.errors(include_url=False, include_input=False)}
    valid = Settings(**{field: value for field, value in values.items() if field not in errors})
    return valid, {field: _problem(field, values[field], details) for field, details in errors.items()}


def _problem(field: str, value: object, details: ErrorDetails) -> Problem:
    is_shown = isinstance(value, str) and not is_secret(Settings.model_fields[field])
    shown = f"={shorten(redact_url(str(value)), _MAX_SHOWN_CHARACTERS)!r}" if is_shown else ""
    message = details.get("ctx", {}).get("error") or _MESSAGES.get(details["type"])
    return Problem.of(f"{field.upper()}{shown}: {message or details['msg'].replace('Input should', 'should')}.", field)
