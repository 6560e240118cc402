"""Memory, open files and threads of a process, from the kernel (proc(5))."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """One sample of a process."""

    at_seconds: float
    rss_bytes: int
    files: int
    threads: int
    #: Whether no fault was active, and the bridge had recovered from earlier ones.
    steady: bool
    #: asyncio tasks, if ``/status`` was answered.
    tasks: int | None = None


def sample(pid: int, at_seconds: float, *, steady: bool, tasks: int | None = None) -> ResourceUsage | None:
    """Return a sample of a process, or None if it has ended."""
    process = Path("/proc") / str(pid)
    try:
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        files = len(list((process / "fd").iterdir()))
        rss_kib, threads = int(status["VmRSS"].split()[0]), int(status["Threads"])
    except (OSError, KeyError):  # it has ended, or is about to
        return None
    return ResourceUsage(at_seconds, rss_kib * 1024, files, threads, steady, tasks)
