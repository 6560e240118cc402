"""What a preflight finds: one line for each check."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


class Status(StrEnum):
    """Say what a finding means for running the bridge."""

    OK = "ok"
    WARN = "warn"  # it runs, but somebody should look at this
    FAIL = "fail"  # it does not run, or not as it should


@dataclass(frozen=True, slots=True)
class Finding:
    """Say what was looked at and what was found there; ``remedy`` is empty where all is well."""

    check: str
    status: Status
    finding: str
    remedy: str = ""

    def __str__(self) -> str:
        said = f"{self.finding}. {self.remedy}" if self.remedy else self.finding
        return f"{self.status:<4}  {self.check}: {said}"


class Report:
    """Take the findings of checks and pass each on."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.tell = tell

    def ok(self, check: str, finding: str) -> None:
        """Report that all is well, or that nothing can be said against it."""
        self.tell(Finding(check, Status.OK, finding))

    def warn(self, check: str, finding: str, remedy: str) -> None:
        """Report what works, but should be looked at."""
        self.tell(Finding(check, Status.WARN, finding.rstrip(" ."), remedy))

    def fail(self, check: str, finding: str, remedy: str) -> None:
        """Report what does not work."""
        self.tell(Finding(check, Status.FAIL, finding.rstrip(" ."), remedy))


async def in_turn(report: Report, *checks: Callable[[Report], Awaitable[T]]) -> list[T]:
    """Do checks at the same time and report in their order; return what they return.

    When cancelled, what they have found so far is still reported.
    """
    queues: list[asyncio.Queue[Finding | None]] = [asyncio.Queue() for _ in checks]
    try:
        async with asyncio.TaskGroup() as tasks:
            doing = [tasks.create_task(_done(check, queue)) for check, queue in zip(checks, queues, strict=True)]
            for queue in queues:
                while (finding := await queue.get()) is not None:
                    report.tell(finding)
    finally:
        for queue in queues:
            _tell_rest(report, queue)
    return [task.result() for task in doing]


async def _done(check: Callable[[Report], Awaitable[T]], queue: asyncio.Queue[Finding | None]) -> T:
    try:
        return await check(Report(queue.put_nowait))
    finally:
        queue.put_nowait(None)


def _tell_rest(report: Report, queue: asyncio.Queue[Finding | None]) -> None:
    while not queue.empty():
        if (finding := queue.get_nowait()) is not None:
            report.tell(finding)


def span(seconds: float) -> str:
    """Return a length of time in the unit that people would choose."""
    for unit, word in ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {word}"
    return f"{seconds:.0f} s"
