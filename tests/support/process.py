"""``aries-bridge`` as a process, with an environment, logs and an exit code."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import signal
    from asyncio.subprocess import Process as Subprocess
    from collections.abc import AsyncIterator, Mapping

DEADLINE_SECONDS = 30.0


class Process:
    """One running command; its JSON log lines are read as they come."""

    def __init__(self, subprocess: Subprocess) -> None:
        self.logs: list[dict[str, Any]] = []
        self.text: list[str] = []
        self.output = ""
        #: How long anything that should happen may take; only a failing test waits so long.
        self.deadline_seconds = DEADLINE_SECONDS
        self._subprocess = subprocess
        self._changed = asyncio.Condition()
        self._reading = [asyncio.create_task(self._read_logs()), asyncio.create_task(self._read_output())]

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._subprocess.pid

    def close_output(self) -> None:
        """Close the pipe that it writes its output to, as ``head`` does."""
        assert self._subprocess.stdout is not None
        self._reading[1].cancel()
        self._subprocess.stdout._transport.close()  # type: ignore[attr-defined] # asyncio has no public way to it

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._subprocess.send_signal(number)

    async def logged(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait for the n-th log line of an event and return it."""
        try:
            async with asyncio.timeout(self.deadline_seconds), self._changed:
                await self._changed.wait_for(lambda: len(self.all(event)) >= count)
        except TimeoutError:
            raise AssertionError(f"no {event!r} within {self.deadline_seconds:g} s; there was {self.text}") from None
        return self.all(event)[count - 1]

    def all(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event so far."""
        return [line for line in self.logs if line["event"] == event]

    async def ended(self) -> int:
        """Wait for the end and return the exit code."""
        async with asyncio.timeout(self.deadline_seconds):
            code = await self._subprocess.wait()
            await asyncio.gather(*self._reading, return_exceptions=True)
        return code

    async def kill(self) -> None:
        """Kill the process."""
        with suppress(ProcessLookupError):
            self._subprocess.kill()
        await self._subprocess.wait()
        await asyncio.gather(*self._reading, return_exceptions=True)

    async def _read_logs(self) -> None:
        assert self._subprocess.stderr is not None
        async for line in self._subprocess.stderr:
            text = line.decode()
            async with self._changed:
                self.text.append(text)
                if text.startswith("{"):
                    self.logs.append(json.loads(text))
                self._changed.notify_all()

    async def _read_output(self) -> None:
        assert self._subprocess.stdout is not None
        self.output = (await self._subprocess.stdout.read()).decode()


@asynccontextmanager
async def process(environ: Mapping[str, str], *arguments: str, sabotage: str = "") -> AsyncIterator[Process]:
    """Start ``aries-bridge`` with these arguments, and with only these variables of ours in its environment.

    ``sabotage`` is Python that runs first, to make a call of a library fail.
    """
    program = ("-c", f"{sabotage}\nfrom bridge.cli.main import main\nmain()") if sabotage else ("-m", "bridge")
    subprocess = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", *program, *arguments),
        env={"PATH": os.environ["PATH"], **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 22,
    )
    started = Process(subprocess)
    try:
        yield started
    finally:
        await started.kill()
