"""The newest plan that is not applied yet, and the attempts to apply it: a change is never lost, only late."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from bridge import log_events
from bridge.clock import wall_us
from bridge.errors import BridgeError
from bridge.tasks import wait_until_set

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.aries.subscriptions import Plan

log = structlog.get_logger(__name__)

#: How long to wait between attempts, doubled each time; a topic that was just created is known after the first.
RETRY_MIN_SECONDS: Final = 1.0
RETRY_MAX_SECONDS: Final = 8.0


class PlanChange:
    """A plan that waits to be applied, until it is applied or a newer one replaces it.

    ``apply`` applies a plan, or raises an error of the bridge that says why it cannot be applied now.
    """

    def __init__(self, apply: Callable[[Plan], None]) -> None:
        #: The plan that waits, since when (µs since the epoch), and why; None and an empty text if none does.
        self.plan: Plan | None = None
        self.since_us: int | None = None
        self.problem = ""
        self._apply = apply
        self._replaced = asyncio.Event()

    def request(self, plan: Plan) -> None:
        """Apply a plan as soon as that is possible, instead of one that still waits."""
        self.plan, self.since_us, self.problem = plan, wall_us(), ""
        self._replaced.set()

    async def run(self) -> None:
        """Apply each wanted plan, however many attempts that takes."""
        while True:
            await self._replaced.wait()
            self._replaced.clear()
            await self._apply_or_be_replaced()

    async def _apply_or_be_replaced(self) -> None:
        delay_seconds = RETRY_MIN_SECONDS
        logged: set[str] = set()
        while not self._is_applied():
            # The first failure refreshes Kafka's metadata, which may be all that is missing.
            if delay_seconds > RETRY_MIN_SECONDS and self.problem not in logged:
                logged.add(self.problem)
                log.warning(log_events.SUBSCRIPTIONS_PENDING, problem=self.problem)
            if await wait_until_set(self._replaced, delay_seconds):
                return
            delay_seconds = min(2 * delay_seconds, RETRY_MAX_SECONDS)

    def _is_applied(self) -> bool:
        assert self.plan is not None
        try:
            self._apply(self.plan)
        except BridgeError as error:
            self.problem = str(error)
            return False
        self.plan, self.since_us, self.problem = None, None, ""
        return True
