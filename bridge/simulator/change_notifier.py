"""Waiting for a condition without polling."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ChangeNotifier:
    """A condition variable for one event loop: waiters check their predicates after each notification."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Event] = set()

    def notify(self) -> None:
        """Let every waiter check its predicate again."""
        for waiter in self._waiters:
            waiter.set()

    async def wait_for(self, predicate: Callable[[], object], *, timeout_seconds: float, what: str) -> None:
        """Return once the predicate is true. Raise ``TimeoutError`` naming ``what`` after the timeout."""
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_seconds):
                while not predicate():
                    await waiter.wait()
                    waiter.clear()
        except TimeoutError:
            raise TimeoutError(f"timed out after {timeout_seconds:g} s waiting for {what}") from None
        finally:
            self._waiters.discard(waiter)
