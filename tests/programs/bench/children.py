"""The processes of the benchmark: pinned to cores, measured from outside, always stopped."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

#: A process that takes longer hangs.
DEADLINE_SECONDS: Final = 60.0
#: The clock of a process that counts the time for which it was scheduled (CPUCLOCK_SCHED of Linux).
_SCHEDULED: Final = 2


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the bridge under test, and those of everything else."""

    subject: frozenset[int]
    others: frozenset[int]

    @classmethod
    def of_machine(cls) -> Self:
        """Return the last core for the subject; on a machine of one core it is shared."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(frozenset(cores[-1:]), frozenset(cores[:-1] or cores))


class Child:
    """One process: it writes JSON documents, one a line, and reads commands from standard input."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], cores: frozenset[int], log: Path) -> None:
        self._log = log
        with log.open("wb") as errors, pinned(cores):
            self._process = subprocess.Popen(
                command,
                env={"PATH": os.environ["PATH"], **environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.pid = self._process.pid
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self._output, selectors.EVENT_READ)

    def hear(self, deadline_seconds: float = DEADLINE_SECONDS) -> dict[str, Any]:
        """Wait for its next document."""
        if not self.has_spoken(deadline_seconds):
            raise TimeoutError(f"{self} said nothing for {deadline_seconds:g} s: {self.log_tail()}")
        line = self._output.readline()
        if not line:
            raise ChildProcessError(f"{self} has ended: {self.log_tail()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def has_spoken(self, seconds: float) -> bool:
        """Return whether there is a document to hear, or its end, within this time."""
        return bool(self._waiting.select(seconds))

    def tell(self, word: str) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()

    def stop(self) -> int:
        """Stop it by SIGTERM, and return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(DEADLINE_SECONDS)

    @property
    def running(self) -> bool:
        """Return whether it runs."""
        return self._process.poll() is None

    def cpu_seconds(self) -> float:
        """Return its user and system time, of all threads, to the nanosecond (clock_getcpuclockid(3))."""
        return time.clock_gettime(~self.pid << 3 | _SCHEDULED)

    def wake_ups(self) -> int:
        """Return how often its threads have waited for something and were woken (proc(5), /proc/pid/status)."""
        return sum(
            int(line.split()[1])
            for status in Path(f"/proc/{self.pid}/task").glob("*/status")
            for line in status.read_text("ascii").splitlines()
            if line.startswith("voluntary_ctxt_switches:")
        )

    def memory_bytes(self, what: str = "VmRSS") -> int:
        """Return its resident memory, or with ``VmHWM`` the peak."""
        for line in Path(f"/proc/{self.pid}/status").read_text("ascii").splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError(f"{self} tells no {what}")

    def log_tail(self, characters: int = 2000) -> str:
        """Return the end of what it wrote to standard error."""
        return self._log.read_text("utf-8", "replace")[-characters:]

    def __str__(self) -> str:
        command = self._process.args
        assert isinstance(command, list | tuple)
        return " ".join(map(str, command))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._waiting.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Pin this process, and those that it starts meanwhile, to these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def wait_until(
    holds: Callable[[], bool], what: str, *, every_seconds: float = 0.01, deadline_seconds: float = DEADLINE_SECONDS
) -> float:
    """Wait for a condition, and return when it became true (monotonic seconds)."""
    deadline = time.monotonic() + deadline_seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {deadline_seconds:g} s in vain for {what}")
        time.sleep(every_seconds)
    return time.monotonic()
