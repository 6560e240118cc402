"""Output whose reader is gone: every command ends without a traceback."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from bridge.cli.output import failure, while_output_is_open
from tests.support.process import process

if TYPE_CHECKING:
    from collections.abc import Callable

FULL = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
CLOSED = "import os; ends = os.pipe(); os.dup2(ends[1], 1); os.close(ends[0]); os.close(ends[1])"


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("settings",), ("schemas", "list")], ids=" ".join)
async def test_a_full_disk_is_one_sentence(arguments: tuple[str, ...]) -> None:
    """It ends with 1, whether the command flushes its output or leaves that to the end."""
    async with process({"ARIES_SYMBOLS": "AAPL"}, *arguments, sabotage=FULL) as command:
        assert await command.ended() == 1
    assert command.text == ["aries-bridge: the output cannot be written: No space left on device.\n"]


@pytest.mark.parametrize("arguments", [("--version",), ("schemas", "list")], ids=" ".join)
async def test_a_closed_pipe_is_no_error_message(arguments: tuple[str, ...]) -> None:
    """Who closes a pipe knows it."""
    async with process({}, *arguments, sabotage=CLOSED) as command:
        await command.ended()
    assert command.text == []


@pytest.mark.parametrize("pair", [socket.socketpair, os.pipe], ids=["socket", "pipe"])
async def test_work_is_cancelled_when_its_reader_is_gone(
    pair: Callable[[], tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noticed though nothing is written; work that is done before is not affected."""
    reader, writer = (end.detach() if isinstance(end, socket.socket) else end for end in pair())
    with os.fdopen(writer, "wb") as output:
        monkeypatch.setattr("sys.stdout", output)
        await while_output_is_open(asyncio.sleep(0))
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            await while_output_is_open(asyncio.sleep(3600))


async def test_an_error_of_the_work_is_raised() -> None:
    """It is not hidden by the watch."""

    async def fail() -> None:
        raise ValueError("work")

    with pytest.raises(ValueError, match="work"):
        await while_output_is_open(fail())


def test_other_errors_are_no_failed_output() -> None:
    """A file that cannot be written is another problem than the output."""
    assert failure(OSError(28, "No space", "file.txt")) is None
    assert failure(ConnectionError()) is None
    assert failure(ValueError()) is None
