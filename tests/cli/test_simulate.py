from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect

from tests.simulator.plain_client import ENVELOPE_AUTH, PlainClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PROGRAM = """
import sys, typer
from bridge.errors import BridgeError
from bridge.cli.simulate import simulate
try:
    typer.run(simulate)
except BridgeError as error:
    print(error)
    sys.exit(error.exit_code)
"""


class Command:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            return (await self.process.stdout.readline()).decode().rstrip()

    async def line_with(self, part: str) -> str:
        while part not in (line := await self.line()):
            assert line or not self.process.stdout or not self.process.stdout.at_eof(), f"no line with {part!r}"
        return line

    async def url(self) -> str:
        return (await self.line_with("envelope dialect")).split()[0]


@asynccontextmanager
async def simulate(*arguments: str) -> AsyncIterator[Command]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_serves_until_a_signal(number: signal.Signals) -> None:
    """The command prints its URLs and the server's events, and exits with code 0 and a summary."""
    async with simulate("--port", "0", "--token", "good", "--rate", "0") as command:
        async with connect(await command.url(), proxy=None) as ws:
            client = PlainClient(ws)
            await client.request(ENVELOPE_AUTH.replace("good", "hunter2"), "authentication failed")
            await client.request(ENVELOPE_AUTH, "authSuccess")
            assert "connection 1: connected" in await command.line_with("connected")
            assert "rejected: authentication failed" in await command.line_with("connection 1")
            assert (await command.line_with("connection 1")).endswith("connection 1: authenticated")
            command.process.send_signal(number)
        assert await command.line_with("Sent") == "Sent 3 lines in 3 frames, skipped 0 lines."
        assert await command.process.wait() == 0


async def test_ends_after_so_many_seconds() -> None:
    """With --seconds the command stops after that time."""
    async with simulate("--port", "0", "--seconds", "0") as command:
        await command.line_with("Sent 0 lines")
        assert await command.process.wait() == 0


async def test_faults_of_the_script_are_printed(tmp_path: Path) -> None:
    """Each fault of a script is printed when it is injected."""
    script = tmp_path / "script.json"
    script.write_text('[{"at": 0, "fault": "drop"}]')
    async with simulate("--port", "0", "--script", str(script)) as command:
        assert (await command.line_with("fault")).endswith("simulator: fault: drop")


async def test_bad_script_ends_with_exit_code_2(tmp_path: Path) -> None:
    """An invalid script is rejected before anything starts."""
    script = tmp_path / "script.json"
    script.write_text('[{"at": 0, "fault": "dorp"}]')
    async with simulate("--port", "0", "--script", str(script)) as command:
        await command.line_with("unknown fault 'dorp' (did you mean 'drop'?)")
        assert await command.process.wait() == 2


async def test_port_in_use() -> None:
    """A port in use is one error message with the fix."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with simulate("--port", str(taken.getsockname()[1])) as command:
            assert "Choose another port" in await command.line_with("cannot listen there")
            assert await command.process.wait() == 2
