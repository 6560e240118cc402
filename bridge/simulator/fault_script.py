"""Scripts of timed faults: a JSON list of steps such as ``{"at": 9, "fault": "silence", "for": 20}``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import msgspec

from bridge.errors import SettingsError
from bridge.simulator.faults import FAULTS, Fault

if TYPE_CHECKING:
    from pathlib import Path


class Step(msgspec.Struct, frozen=True):
    """A fault, the time of its injection after the start, and the interval at which it repeats, if it does."""

    at_seconds: float
    fault: Fault
    every_seconds: float | None = None


def read_script(path: Path) -> tuple[Step, ...]:
    """Read a script from a file. Raise ``SettingsError`` with every problem in it."""
    try:
        document = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise SettingsError((f"script {path}: cannot be read: {error.strerror}",)) from error
    except msgspec.DecodeError as error:
        raise SettingsError((f"script {path}: not JSON: {error}",)) from error
    return parse_script(document)


def parse_script(document: object) -> tuple[Step, ...]:
    """Return a script's steps in the order of their times. Raise ``SettingsError`` with every problem."""
    if not isinstance(document, list):
        raise SettingsError(('script: must be a list of steps like {"at": 5, "fault": "drop"}',))
    parsed = [_parse_step(number, item) for number, item in enumerate(document, start=1)]
    problems = tuple(step for step in parsed if isinstance(step, str))
    if problems:
        raise SettingsError((*problems, f"the known faults are: {', '.join(sorted(FAULTS))}"))
    steps = (step for step in parsed if isinstance(step, Step))
    return tuple(sorted(steps, key=lambda step: step.at_seconds))


def _parse_step(number: int, item: object) -> Step | str:
    """Return a step, or the description of a problem."""
    if not isinstance(item, dict):
        return f"script step {number}: must be an object"
    parameters = dict(item)
    at, every, name = parameters.pop("at", None), parameters.pop("every", None), parameters.pop("fault", None)
    if not _is_seconds(at):
        return f"script step {number}: at: expected seconds since the start, 0 or more, got {at!r}"
    if every is not None and not (_is_seconds(every) and every):
        return f"script step {number}: every: expected seconds, more than 0, got {every!r}"
    if not isinstance(name, str) or name not in FAULTS:
        return f"script step {number}: unknown fault {name!r}{_suggestion(name)}"
    try:
        return Step(at, msgspec.convert(parameters, FAULTS[name]), every)
    except msgspec.ValidationError as error:
        return f"script step {number} ({name}): {error}"


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _suggestion(name: object) -> str:
    matches = difflib.get_close_matches(str(name), FAULTS, n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
