"""Attempts that overlap."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bridge.network.race import first_result

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    Attempt = Callable[[], Coroutine[object, object, str | None]]

NEVER = 3600.0


async def race(attempts: Sequence[Attempt], delay_seconds: float = NEVER) -> str | None:
    return await first_result(attempts, delay_seconds)


async def returns(result: str | None, started: list[str], name: str) -> str | None:
    started.append(name)
    return result


async def hangs(ended: list[str], name: str) -> str | None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)
    return None


async def fails() -> str | None:
    raise ValueError("broken")


async def test_the_first_result_counts_and_no_more_are_started() -> None:
    """An attempt that succeeds in time has no competitor."""
    started: list[str] = []
    attempts = [partial(returns, name, started, name) for name in ("a", "b")]
    assert await race(attempts) == "a"
    assert started == ["a"]


async def test_the_next_one_starts_at_once_when_one_fails() -> None:
    """The delay is not waited for."""
    started: list[str] = []
    attempts = [partial(returns, None, started, "a"), partial(returns, "b", started, "b")]
    assert await race(attempts) == "b"
    assert started == ["a", "b"]


async def test_one_that_hangs_is_overtaken_and_cancelled() -> None:
    """It has ended when the result is returned."""
    ended: list[str] = []
    attempts = [partial(hangs, ended, "a"), partial(returns, "b", [], "b")]
    assert await race(attempts, 0.01) == "b"
    assert ended == ["a"]


async def test_none_succeeds() -> None:
    """The result is None, also of no attempt at all."""
    assert await race([partial(returns, None, [], "a")] * 3) is None
    assert await race([]) is None


async def test_an_error_ends_all() -> None:
    """It is raised, and what runs is cancelled."""
    ended: list[str] = []
    with pytest.raises(ValueError, match="broken"):
        await race([partial(hangs, ended, "a"), fails], 0.01)
    assert ended == ["a"]


async def test_a_cancelled_race_cancels_its_attempts() -> None:
    """No attempt outlives it."""
    ended: list[str] = []
    is_started = asyncio.Event()

    async def starts_and_hangs() -> str | None:
        is_started.set()
        return await hangs(ended, "b")

    racing = asyncio.ensure_future(race([partial(hangs, ended, "a"), starts_and_hangs], 0.001))
    await is_started.wait()
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert sorted(ended) == ["a", "b"]
