"""Waiting for work and for events."""

from __future__ import annotations

import asyncio

import pytest

from bridge.tasks import run_all, run_until, wait_until_set


async def fail(error: Exception) -> None:
    raise error


async def forever(cancelled: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        cancelled.append("forever")
        raise


async def test_work_that_is_done_first() -> None:
    """Its end is told, whether it returned or failed."""
    assert await run_until(asyncio.Event(), asyncio.sleep(0))
    with pytest.raises(ValueError, match="broken"):
        await run_until(asyncio.Event(), fail(ValueError("broken")))


async def test_work_that_is_stopped_is_cancelled() -> None:
    """What waits for it knows that it was not done."""
    stop, cancelled = asyncio.Event(), list[str]()
    asyncio.get_running_loop().call_soon(stop.set)
    assert not await run_until(stop, forever(cancelled))
    assert cancelled == ["forever"]


async def test_the_first_failure_ends_all() -> None:
    """It is raised itself, not in a group, as it is the only one."""
    cancelled: list[str] = []
    with pytest.raises(ValueError, match="broken"):
        await run_all([forever(cancelled), fail(ValueError("broken"))])
    assert cancelled == ["forever"]


async def test_several_failures_are_a_group() -> None:
    """None of them hides the others."""
    with pytest.raises(ExceptionGroup) as raised:
        await run_all([fail(ValueError("one")), fail(ValueError("two"))])
    assert [str(error) for error in raised.value.exceptions] == ["one", "two"]


@pytest.mark.parametrize("beside", [0, 1], ids=["alone", "beside another"])
async def test_a_cancellation_that_was_not_requested_is_an_error(beside: int) -> None:
    """Work that ends by one, as some libraries raise it, is not taken for work that was cancelled."""

    async def end() -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="a cancellation that was not requested"):
        await run_all([end(), *(asyncio.sleep(60) for _ in range(beside))])


async def test_an_event_is_waited_for_until_a_timeout() -> None:
    """It tells whether the event is set."""
    event = asyncio.Event()
    assert not await wait_until_set(event, 0)
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_until_set(event, None)
