"""The conditions of a measurement: machine, Python, libraries, revision."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.programs.bench.interpreter import python
from tests.support.paths import ROOT

LIBRARIES: Final = (
    *("aiokafka", "fastavro", "msgspec", "uvloop", "websockets"),
    *("confluent-kafka", "cramjam", "zstandard"),
)
#: The place of the time stolen in the line of all cores.
_STEAL: Final = 8


def facts() -> dict[str, str]:
    """Return them by name; call it before the runs, for the load that others make."""
    return {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": python(),
        "event_loop": "uvloop",
        **{name: version(name) for name in LIBRARIES},
        "revision": _revision(),
    }


def stolen_seconds() -> float:
    """Return the CPU time stolen by other virtual machines since boot (proc(5), /proc/stat)."""
    total = Path("/proc/stat").read_text("utf-8").partition("\n")[0].split()
    return int(total[_STEAL]) / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _revision() -> str:
    describe = ["git", "describe", "--always", "--dirty", "--tags"]
    done = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
