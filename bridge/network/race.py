"""Attempts that overlap: the next one begins when the last one fails, or takes too long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

ResultT = TypeVar("ResultT")


async def first_result(
    attempts: Iterable[Callable[[], Coroutine[object, object, ResultT | None]]], delay_seconds: float
) -> ResultT | None:
    """Return the first result that is not None, or None if all attempts end without one.

    Each attempt begins ``delay_seconds`` after the one before, or when that ends. What one raises ends all.
    """
    tasks: list[asyncio.Task[ResultT | None]] = []
    running: set[asyncio.Task[ResultT | None]] = set()
    waiting = iter(attempts)
    try:
        while True:
            attempt = next(waiting, None)
            if attempt is not None:
                tasks.append(asyncio.create_task(attempt()))
                running.add(tasks[-1])
            elif not running:
                return None
            timeout_seconds = None if attempt is None else delay_seconds
            done, running = await asyncio.wait(running, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (result := task.result()) is not None:
                    return result
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
