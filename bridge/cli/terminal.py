"""Commands in front of a person: notes beside the output, seldom complaints, Ctrl-C, and a pipe that closes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Coroutine

#: Complaints of the Kafka client come many a second while a broker is away.
COMPLAIN_EVERY_SECONDS = 10.0


def note(text: str) -> None:
    """Say something that is no output of the command."""
    typer.echo(f"aries-bridge: {text}", err=True)


class Complaints:
    """Pass on what the Kafka client says, but seldom."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def tell(self, words: str) -> None:
        """Note the words, unless others were noted a moment ago."""
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + COMPLAIN_EVERY_SECONDS
            note(f"{words.rstrip('.')}; trying on.")


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it is done, or SIGINT or SIGTERM ends it."""
    working = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, working.cancel)
    await asyncio.wait([working])
    if not working.cancelled():
        working.result()


def let_go_of_the_pipe() -> None:
    """Keep the interpreter from writing to it once more at exit (docs.python.org, "Note on SIGPIPE")."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
