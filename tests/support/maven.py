"""Maven, which fetches what tests run on Java."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FETCH_DEADLINE_SECONDS = 240


class MavenFailed(Exception):
    """Something that Maven cannot fetch on this machine; the text says why."""


def run(directory: Path, what: str, *arguments: str) -> None:
    """Run Maven in a directory, to fetch ``what``; raises MavenFailed."""
    if shutil.which("mvn") is None:
        raise MavenFailed(f"mvn is not installed, and {what} is not in the cache yet")
    command = ["mvn", "-B", "-q", *arguments]
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, check=False, timeout=FETCH_DEADLINE_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise MavenFailed(f"Maven did not fetch {what} within {FETCH_DEADLINE_SECONDS} s") from None
    if done.returncode != 0:
        raise MavenFailed(f"Maven could not fetch {what}: {(done.stdout + done.stderr)[-2000:]}")
