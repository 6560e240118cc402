"""What commands in a terminal share: notes on standard error, and Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Coroutine

#: The Kafka client logs several messages a second while a broker is unreachable.
NOTE_INTERVAL_SECONDS = 10.0


def note(text: str) -> None:
    """Print a message to standard error, beside the output of the command."""
    typer.echo(f"aries-bridge: {text}", err=True)


class ThrottledNotes:
    """Notes about errors that are retried, at most one per interval."""

    def __init__(self) -> None:
        self._next_note_at = 0.0

    def add(self, message: str) -> None:
        """Print a message, unless another one was printed within the interval."""
        now = time.monotonic()
        if now >= self._next_note_at:
            self._next_note_at = now + NOTE_INTERVAL_SECONDS
            note(f"{message.rstrip('.')}; retrying.")


async def run_until_signal(work: Coroutine[Any, Any, None]) -> bool:
    """Run until the work is done, or SIGINT or SIGTERM cancels it; return whether it was done."""
    working = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, working.cancel)
    await asyncio.wait([working])
    if working.cancelled():
        return False
    working.result()
    return True
