"""``aries-bridge replay`` as a command: its options, output and exit codes."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.cli.commands import app
from bridge.errors import CaptureUnreadable
from tests.capture.captured import frames
from tests.programs import golden_captures as golden
from tests.support.process import process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CAPTURE = str(golden.capture("envelope"))


@asynccontextmanager
async def replay(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the command until the block ends; yield it and the URL that it prints."""
    command = (sys.executable, "-m", "bridge", "replay", "--port", "0", *arguments)
    started = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert started.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = (await started.stdout.readline()).decode()
        yield started, line.split()[-1]
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def test_all_frames_are_sent_and_the_command_ends() -> None:
    """To a client that sends a token, byte for byte; exit code 0, and a summary."""
    async with replay("--speed", "max", CAPTURE) as (command, url):
        assert url.endswith("/v1/market/ws")
        received = []
        async with connect(url, proxy=None) as client:
            await client.send('{"type":"request"}')
            with suppress(ConnectionClosed):
                while True:
                    received.append(await client.recv(decode=False))
        async with asyncio.timeout(30):
            output, errors = await command.communicate()
    assert received == frames(golden.capture("envelope"))
    assert output.decode().splitlines()[-1] == f"Sent {len(received)} frames in 1 connection."
    assert (command.returncode, errors) == (0, b"")


async def test_ctrl_c_ends_it() -> None:
    """While it waits for a client: exit code 0."""
    async with replay(CAPTURE) as (command, _):
        command.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            output, _ = await command.communicate()
    assert command.returncode == 0
    assert output.decode().splitlines()[-1] == "Sent 0 frames in 0 connections."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none",), "cannot read 'none' (No such file or directory)."),
        ((__file__,), "is no capture, or damaged"),
        ((CAPTURE, str(golden.capture("action"))), "one server speaks one dialect"),
    ],
)
def test_what_is_no_capture_is_a_clear_error(arguments: tuple[str, ...], message: str) -> None:
    """Before anything is served, with exit code 1."""
    done = CliRunner().invoke(app, ["replay", *arguments])
    assert done.exit_code == 1
    assert isinstance(done.exception, CaptureUnreadable)
    assert message in str(done.exception)


@pytest.mark.parametrize("arguments", [(), *(("--speed", speed, CAPTURE) for speed in ("fast", "0", "nan", "inf"))])
def test_wrong_options_are_usage_errors(arguments: tuple[str, ...]) -> None:
    """With exit code 2."""
    assert CliRunner().invoke(app, ["replay", *arguments]).exit_code == 2


async def test_a_port_in_use_is_an_error_that_names_the_options() -> None:
    """Exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with process({}, "replay", "--port", str(taken.getsockname()[1]), CAPTURE) as command:
            assert await command.ended() == 2
    assert "--host, --port: cannot listen there" in "".join(command.text)
