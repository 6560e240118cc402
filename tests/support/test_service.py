"""What tests wait for, and what runs beside them."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.background import in_background
from tests.support.service import eventually


async def test_eventually_says_what_it_waited_for() -> None:
    """If the deadline passes, the error names the condition and the deadline."""
    with pytest.raises(AssertionError, match=r"^not within 0\.01 s: the moon$"):
        await eventually(lambda: False, "the moon", deadline_seconds=0.01)


async def test_eventually_raises_the_error_of_its_condition() -> None:
    """An error of the condition itself is not taken for one of time."""

    def fails() -> bool:
        raise TimeoutError("of the condition")

    with pytest.raises(TimeoutError, match="of the condition"):
        await eventually(fails, "anything")


async def test_background_work_is_cancelled_when_the_block_ends() -> None:
    """The work runs beside the block, and not longer."""
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with in_background(work()):
        await asyncio.sleep(0)
        assert not ended.is_set()
    assert ended.is_set()


async def test_an_error_of_background_work_is_raised() -> None:
    """A task that fails beside a test fails the test."""

    async def work() -> None:
        raise ValueError("beside the test")

    with pytest.raises(ValueError, match="beside the test"):
        async with in_background(work()):
            await asyncio.sleep(0)


async def test_background_work_that_ends_early_is_an_error() -> None:
    """Work that should run as long as the block must not end before, even without an error."""

    async def work() -> None:
        pass

    with pytest.raises(AssertionError, match="it ended before it was cancelled"):
        async with in_background(work()):
            await asyncio.sleep(0)
