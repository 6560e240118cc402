"""Work that runs beside a test."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

#: How long what was cancelled may take to clean up.
END_SECONDS = 60.0


@asynccontextmanager
async def in_background(work: Coroutine[object, object, object]) -> AsyncIterator[None]:
    """Run endless work until the block ends, then cancel it; raise its error if it failed."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=END_SECONDS)
        if not task.done():
            raise AssertionError(f"it goes on though it was cancelled: {task.get_stack()}")
        if not task.cancelled():
            raise AssertionError(f"it ended before it was cancelled: {task.result()}")


async def cancel_after(task: asyncio.Task[Any], steps: int) -> None:
    """Let a task run for some turns of the loop, then cancel it: it ends as cancelled, unless it was done before."""
    for _ in range(steps):
        await asyncio.sleep(0)
    in_time = task.cancel()
    await asyncio.wait([task], timeout=END_SECONDS)
    assert task.cancelled() == in_time
