"""A change of the subscriptions that cannot be applied yet waits until it can, or until a newer one replaces it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import structlog

from bridge.aries import subscriptions
from bridge.aries.subscriptions import plan_change
from bridge.aries.subscriptions.plan_change import PlanChange
from bridge.errors import BridgeError, KafkaUnreachable, TopicConfigurationError
from tests.support.background import in_background
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.aries.subscriptions import Plan

ONE = subscriptions.plan(("AAPL",), ("quotes",), None)
TWO = subscriptions.plan(("AAPL", "MSFT"), ("quotes",), None)
PENDING = "new subscriptions pending, keeping current ones meanwhile"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less between attempts."""
    monkeypatch.setattr(plan_change, "RETRY_MIN_SECONDS", 0.001)
    monkeypatch.setattr(plan_change, "RETRY_MAX_SECONDS", 0.002)


class Target:
    """What plans are applied to; each attempt fails as long as there is a problem."""

    def __init__(self) -> None:
        self.problem: BridgeError | None = None
        self.attempts: list[Plan] = []
        self.applied: list[Plan] = []

    def apply(self, plan: Plan) -> None:
        """Apply a plan, or raise the problem."""
        self.attempts.append(plan)
        if self.problem is not None:
            raise self.problem
        self.applied.append(plan)


@asynccontextmanager
async def running(change: PlanChange) -> AsyncIterator[None]:
    async with in_background(change.run()):
        yield


async def test_a_change_that_fails_is_tried_until_it_is_applied() -> None:
    """It is shown meanwhile, with the reason; each reason is logged once."""
    target = Target()
    change = PlanChange(target.apply)
    target.problem = KafkaUnreachable("gone")
    with structlog.testing.capture_logs() as logs:
        async with running(change):
            change.request(TWO)
            await eventually(lambda: len(target.attempts) > 5, "attempts")
            assert change.plan is TWO
            assert change.since_us
            assert change.problem == "gone"
            target.problem = TopicConfigurationError("no topic")
            seen = len(target.attempts)
            await eventually(lambda: len(target.attempts) > seen + 5, "attempts")
            target.problem = None
            await eventually(lambda: target.applied, "the plan is applied")
            shown: tuple[object, ...] = (change.plan, change.since_us, change.problem)
            assert shown == (None, None, "")
    assert target.applied == [TWO]
    assert [(line["event"], line["problem"]) for line in logs] == [(PENDING, "gone"), (PENDING, "no topic")]


async def test_a_newer_change_replaces_one_that_waits() -> None:
    """The older one is never applied."""
    target = Target()
    change = PlanChange(target.apply)
    target.problem = KafkaUnreachable("gone")
    async with running(change):
        change.request(TWO)
        await eventually(lambda: target.attempts, "an attempt")
        change.request(ONE)
        await eventually(lambda: ONE in target.attempts, "the newer one is tried")
        target.problem = None
        await eventually(lambda: target.applied, "a plan is applied")
        change.request(TWO)
        await eventually(lambda: len(target.applied) > 1, "the next is applied")
    assert target.applied == [ONE, TWO]


async def test_one_failed_attempt_is_not_worth_a_line() -> None:
    """A topic that was created just now is found by the second attempt."""
    target = Target()
    change = PlanChange(target.apply)
    target.problem = TopicConfigurationError("no topic")
    with structlog.testing.capture_logs() as logs:
        async with running(change):
            change.request(TWO)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert target.attempts == [TWO]
            target.problem = None
            await eventually(lambda: target.applied, "the plan is applied")
    assert logs == []
