"""Waiting for something to become true, without sleeping."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Changes:
    """Wake those who wait whenever something happened."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def happened(self) -> None:
        """Let everyone who waits look again."""
        for waiter in self._waiting:
            waiter.set()

    async def until(self, holds: Callable[[], object], *, timeout_seconds: float, what: str) -> None:
        """Return as soon as ``holds()`` is true. Raise ``TimeoutError`` naming ``what`` after the timeout."""
        waiter = asyncio.Event()
        self._waiting.add(waiter)
        try:
            async with asyncio.timeout(timeout_seconds):
                while not holds():
                    await waiter.wait()
                    waiter.clear()
        except TimeoutError:
            raise TimeoutError(f"waited {timeout_seconds:g} s in vain for {what}") from None
        finally:
            self._waiting.discard(waiter)
