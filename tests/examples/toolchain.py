"""What an example needs, installed once and kept in the cache until the files that name it change."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

from tests.support.one_at_a_time import one_at_a_time
from tests.support.paths import ROOT, cache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXAMPLES: Final = ROOT / "avro" / "examples"
#: Set to 1 where the examples in Python and Java must be tested: what they lack is then a failure.
REQUIRE_EXAMPLES: Final = "TESTS_REQUIRE_EXAMPLES"
INSTALL_DEADLINE_SECONDS = 300


class InstallFailed(Exception):
    """A tool that could not install what an example needs; the text says why."""


def installed(
    example: Path, patterns: Sequence[str], install: Callable[[Path], None], inputs: Sequence[Path] = ()
) -> Path:
    """Return a copy of these files of an example, in which ``install`` has run once.

    It runs again after a change of these files or of ``inputs``. Raises what ``install`` raises, as InstallFailed.
    """
    files = sorted(file for pattern in patterns for file in example.glob(pattern) if file.is_file())
    contents = b"".join(file.name.encode() + b"\0" + file.read_bytes() + b"\0" for file in [*files, *inputs])
    digest = hashlib.sha256(sys.version.encode() + contents).hexdigest()
    home = cache() / "examples" / f"{example.name}-{digest[:12]}"
    with one_at_a_time(home):
        if not home.is_dir():
            _install(example, files, install, home)
    return home


def _install(example: Path, files: Sequence[Path], install: Callable[[Path], None], home: Path) -> None:
    """Install in a temporary directory and rename it, so that nothing is there in part."""
    with tempfile.TemporaryDirectory(dir=home.parent) as work:
        copy = Path(work, "copy")
        for file in files:
            target = copy / file.relative_to(example)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        install(copy)
        copy.rename(home)


def missing(what: str, reason: Exception) -> NoReturn:
    """Skip the test of an example for which something is missing, or fail where it is required."""
    if os.environ.get(REQUIRE_EXAMPLES) == "1":
        pytest.fail(f"{REQUIRE_EXAMPLES}=1, but {what} cannot be tested: {reason}")
    pytest.skip(f"NOT TESTED: {what}: {reason}")


def install_python(directory: Path) -> None:
    """Install the requirements of an example in Python into an environment of its own. Raises InstallFailed."""
    run([sys.executable, "-m", "venv", "venv"], directory)
    pip: list[str | Path] = [python_of(directory), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "-r", "requirements.txt"], directory)


def python_of(home: Path) -> Path:
    """Return the interpreter of the environment in a directory."""
    return home / "venv" / "bin" / "python"


def run(command: Sequence[str | Path], directory: Path) -> None:
    """Run a command that installs something. Raises InstallFailed."""
    if shutil.which(command[0]) is None:
        raise InstallFailed(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, check=False, timeout=INSTALL_DEADLINE_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise InstallFailed(f"{command[0]} did not end within {INSTALL_DEADLINE_SECONDS} s") from None
    if done.returncode != 0:
        raise InstallFailed(f"{' '.join(map(str, command))} failed: {(done.stdout + done.stderr)[-2000:]}")
