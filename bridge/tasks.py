"""Waiting: for work that may be stopped, for all of some work, for an event or a timeout."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection


async def run_until(stop: asyncio.Event, work: Awaitable[object]) -> bool:
    """Run the work until it is done or ``stop`` is set; return whether it was done."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.wait((working, stopping))
        if not working.cancelled() and (failure := working.exception()) is not None:
            raise failure  # also if it came too late to be what ended the wait


async def run_all(works: Collection[Awaitable[None]]) -> None:
    """Run all until each is done, or one fails: then raise its error, or a group of them if others failed, too."""
    failed: BaseExceptionGroup | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            for work in works:
                tasks.create_task(awaited(work))
    except BaseExceptionGroup as group:
        failed = group
    if failed is not None:  # raised here, where it keeps its own cause and context
        raise failed.exceptions[0] if len(failed.exceptions) == 1 else failed


async def wait_until_set(event: asyncio.Event, timeout_seconds: float | None) -> bool:
    """Wait until an event is set, but not longer than that; return whether it is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
    return event.is_set()


async def awaited(work: Awaitable[None]) -> None:
    """Await the work of a task of a group; raise RuntimeError if it ends by a cancellation that was not requested.

    Some libraries raise one of their own. A task group takes it for asked for, and goes on without the task.
    """
    try:
        await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError(f"{task.get_name()} ended by a cancellation that was not requested") from error
