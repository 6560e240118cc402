"""Results of the preflight, one line each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


class Status(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARN = "warn"  # the bridge runs, but this needs attention
    FAIL = "fail"  # the bridge does not run, or not correctly


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found; ``hint`` is empty if nothing needs to be done."""

    check: str
    status: Status
    finding: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.finding}. {self.hint}" if self.hint else self.finding
        return f"{self.status:<4}  {self.check}: {text}"


class CheckReport:
    """The receiver of results: passes each one to ``on_result``."""

    def __init__(self, on_result: Callable[[CheckResult], None]) -> None:
        self.on_result = on_result

    def ok(self, check: str, finding: str) -> None:
        """Report a check that passed, or that was not possible."""
        self.on_result(CheckResult(check, Status.OK, finding))

    def warn(self, check: str, finding: str, hint: str) -> None:
        """Report something that works, but needs attention."""
        self.on_result(CheckResult(check, Status.WARN, finding.rstrip(" ."), hint))

    def fail(self, check: str, finding: str, hint: str) -> None:
        """Report something that does not work."""
        self.on_result(CheckResult(check, Status.FAIL, finding.rstrip(" ."), hint))


async def run_concurrently(report: CheckReport, *checks: Callable[[CheckReport], Awaitable[None]]) -> None:
    """Run checks concurrently and report their results in the order of the checks.

    If this is cancelled, the results so far are still reported.
    """
    queues: list[asyncio.Queue[CheckResult | None]] = [asyncio.Queue() for _ in checks]
    try:
        async with asyncio.TaskGroup() as tasks:
            for check, queue in zip(checks, queues, strict=True):
                tasks.create_task(_run(check, queue))
            for queue in queues:
                while (result := await queue.get()) is not None:
                    report.on_result(result)
    finally:
        for queue in queues:
            while not queue.empty():
                if (result := queue.get_nowait()) is not None:
                    report.on_result(result)


async def _run(check: Callable[[CheckReport], Awaitable[None]], queue: asyncio.Queue[CheckResult | None]) -> None:
    try:
        await check(CheckReport(queue.put_nowait))
    finally:
        queue.put_nowait(None)


def duration_text(seconds: float) -> str:
    """Return a duration in the largest unit of which it has at least two."""
    for unit, name in ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
