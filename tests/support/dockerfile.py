"""A reader of Dockerfiles: as much of the language as ours uses, and an error for the rest."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name, its arguments, and its ``--flags``."""

    name: str
    text: str
    flags: Mapping[str, str] = field(default_factory=dict)

    def words(self, variables: Mapping[str, str] | None = None) -> list[str]:
        """Return its arguments, unquoted and with variables substituted."""
        return shlex.split(substituted(self.text, variables or {}))

    def exec_form(self) -> list[str]:
        """Return the command of the exec form; raises ValueError for the shell form."""
        command: list[str] = json.loads(self.text)
        return command

    def inner(self) -> Instruction:
        """Return the instruction inside another one, as in HEALTHCHECK."""
        return _instruction(self.text)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its base image, its name, and its instructions."""

    base: str
    name: str | None
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> list[Instruction]:
        """Return the instructions of one kind."""
        return [one for one in self.instructions if one.name == name]

    def one(self, name: str) -> Instruction:
        """Return the only instruction of its kind."""
        [found] = self.all(name)
        return found


def parse(text: str) -> tuple[dict[str, str], list[Stage]]:
    """Return the defaults of the arguments before the first stage, and the stages."""
    defaults: dict[str, str] = {}
    stages: list[tuple[str, str | None, list[Instruction]]] = []
    for instruction in _instructions(text):
        if instruction.name == "FROM":
            base, *name = instruction.words(defaults)
            stages.append((base, name[1] if name else None, []))
        elif stages:
            stages[-1][2].append(instruction)
        else:
            assert instruction.name == "ARG", f"{instruction.name} before the first FROM"
            defaults |= dict([instruction.text.split("=", 1)])
    return defaults, [Stage(base, name, tuple(instructions)) for base, name, instructions in stages]


def substituted(text: str, variables: Mapping[str, str]) -> str:
    """Substitute variables; an unknown one is an error, not an empty text."""
    return _VARIABLE.sub(lambda match: variables[match[1] or match[2]], text)


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [_instruction(line) for line in re.sub(r"\\\n", "", "\n".join(lines)).splitlines()]


def _instruction(line: str) -> Instruction:
    name, _, rest = line.strip().partition(" ")
    flags: dict[str, str] = {}
    while flag := re.match(r"\s*--([a-z-]+)=(\S+)\s+", rest):
        flags[flag[1]] = flag[2]
        rest = rest[flag.end() :]
    return Instruction(name.upper(), rest.strip(), flags)
