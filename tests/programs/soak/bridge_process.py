"""One process of the bridge from start to end: its log, its use of resources, and its exit."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from tests.programs.soak.resource_usage import ResourceUsage, sample
from tests.support.process import Process, process

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

SAMPLE_SECONDS = 1.0
STATUS_TIMEOUT_SECONDS = 2.0


class BridgeProcess:
    """A process of ``aries-bridge run``; ``exit_code`` is set once it has ended."""

    def __init__(self, number: int, environ: Mapping[str, str], sabotage: str = "") -> None:
        """``sabotage`` is Python that runs first in the process."""
        self.number = number
        self.environ = dict(environ)
        self.began_us = time.time_ns() // 1000
        self.usage: list[ResourceUsage] = []
        self.steady = False
        #: The names of the signals sent to it.
        self.signals: list[str] = []
        self.exit_code: int | None = None
        #: The time from the first signal to the end.
        self.shutdown_seconds = 0.0
        self._tasks: int | None = None
        self._stack = AsyncExitStack()
        self._sabotage = sabotage
        self._process: Process | None = None
        self._sampling: asyncio.Task[None] | None = None

    async def begin(self) -> Self:
        """Start the process."""
        self._process = await self._stack.enter_async_context(process(self.environ, "run", sabotage=self._sabotage))
        self._sampling = asyncio.create_task(self._sample())
        return self

    async def end(self, *signals: signal.Signals, within_seconds: float) -> int | None:
        """Send signals, wait for the end, and return the exit code; None: it had to be killed after the timeout."""
        began = time.monotonic()
        for number in signals:
            self.signal(number)
        try:
            async with asyncio.timeout(within_seconds):
                self.exit_code = await self.process._subprocess.wait()
        except TimeoutError:
            self.exit_code = None
        self.shutdown_seconds = time.monotonic() - began
        await self.close()
        return self.exit_code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.signals.append(number.name)
        if not self.ended:
            self.process.signal(number)

    async def close(self) -> None:
        """Kill the process if it still runs."""
        if self._sampling is not None:
            self._sampling.cancel()
        await self._stack.aclose()

    @property
    def process(self) -> Process:
        """Return the process."""
        assert self._process is not None, "begin comes first"
        return self._process

    @property
    def ended(self) -> bool:
        """Return whether it has ended."""
        return self.returned is not None

    @property
    def returned(self) -> int | None:
        """Return its exit code, if it has ended."""
        return self.process._subprocess.returncode

    @property
    def sessions(self) -> list[int]:
        """Return the ids of its sessions in order."""
        return [line["session_id"] for line in self.process.all("session started")]

    @property
    def stopped(self) -> dict[str, int] | None:
        """Return its accounts as logged at its end."""
        logged = self.process.all("stopped")
        return dict(logged[-1]["accounts"]) if logged else None

    async def status(self) -> dict[str, Any] | None:
        """Return the document of ``/status``, or None if it does not answer."""
        served = self.process.all("HTTP server listening")
        if not served or self.ended:
            return None
        timeout = aiohttp.ClientTimeout(total=STATUS_TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.get(f"http://127.0.0.1:{served[-1]['port']}/status") as answer,
            ):
                status: dict[str, Any] = await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            return None
        self._tasks = status.get("tasks")
        return status

    async def _sample(self) -> None:
        while True:
            seen = sample(self.process.pid, time.time(), steady=self.steady, tasks=self._tasks)
            if seen is not None:
                self.usage.append(seen)
            await asyncio.sleep(SAMPLE_SECONDS)
