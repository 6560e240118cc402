"""The bridges that are compared: ours, a simple one, and others by their command lines."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

#: In a command line, the file for the latencies of a run; without it they are not known of that bridge.
LATENCIES: Final = "{latencies}"


@dataclass(frozen=True, slots=True)
class Side:
    """A bridge under measurement: its name, its command, and the one that writes latencies, if another does."""

    name: str
    command: tuple[str, ...]
    command_with_latencies: tuple[str, ...] = ()
    #: Whether both of its connections are encrypted.
    tls: bool = False

    def arguments(self, latencies: Path | None = None) -> list[str]:
        """Return the command, to write latencies if there is a file for them and it can."""
        command = self.command_with_latencies if latencies and self.command_with_latencies else self.command
        return [str(latencies) if part == LATENCIES else part for part in command]


def beside(command_line: str) -> Side:
    """Return another bridge, named by its command line; at full speed the word for the latencies is left out."""
    words = tuple(shlex.split(command_line))
    plain = tuple(word for word in words if word != LATENCIES)
    return Side(" ".join(plain), plain, words if LATENCIES in words else ())


def python(*arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module of ours."""
    return (sys.executable, "-m", *arguments)


_MEASURED: Final = python("tests.programs.bench.measured_run", LATENCIES)
BRIDGE: Final = Side("bridge", python("bridge", "run"), _MEASURED)
#: The same with encrypted connections, to measure beside it.
BRIDGE_TLS: Final = Side("bridge over TLS", python("bridge", "run"), _MEASURED, tls=True)
BASELINE: Final = Side(
    "baseline", python("tests.programs.bench.baseline"), python("tests.programs.bench.baseline", LATENCIES)
)
SIDES: Final = (BRIDGE, BASELINE)
