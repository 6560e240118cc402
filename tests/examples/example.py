"""An example as a process: the JSON lines that it prints, until there are as many as expected."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Line = dict[str, Any]
Command = list[str | Path]
#: Time for a JVM on a busy machine to start and read a few hundred records.
DEADLINE_SECONDS = 90.0


def lines(command: Command, count: int, directory: Path, environ: Mapping[str, str] | None = None) -> list[Line]:
    """Run an example, which runs until it is ended, and return its first lines; there must be so many."""
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
        ) as process:
            try:
                return [json.loads(line) for line in _read(process, count)]
            except TooFew as few:
                errors.seek(0)
                raise AssertionError(
                    f"{few}; its standard error ends with:\n{errors.read().decode()[-4000:]}"
                ) from None
            finally:
                process.kill()


class TooFew(Exception):
    """An example that ended, or printed nothing more, before it had printed all lines."""


def _read(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    assert process.stdout is not None
    output, found = process.stdout.fileno(), b""
    deadline = time.monotonic() + DEADLINE_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while (printed := found.count(b"\n")) < count:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TooFew(f"only {printed} of {count} lines within {DEADLINE_SECONDS:g} s")
            more = os.read(output, 65536)
            if not more:
                raise TooFew(f"it ended after {printed} of {count} lines")
            found += more
    return found.splitlines()[:count]
