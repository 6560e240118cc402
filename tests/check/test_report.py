"""Results are lines in a fixed order, whichever check ends first."""

from __future__ import annotations

import asyncio

import pytest

from bridge.check.report import CheckReport, CheckResult, Status, duration_text, run_concurrently
from tests.check.results import Results


def test_a_line_has_status_check_finding_and_hint() -> None:
    """Statuses are aligned; a hint is a separate sentence."""
    assert str(CheckResult("Aries TCP", Status.OK, "reached")) == "ok    Aries TCP: reached"
    assert str(CheckResult("Clock", Status.WARN, "2 s behind", "Run NTP.")) == "warn  Clock: 2 s behind. Run NTP."


async def test_checks_run_concurrently_and_are_reported_in_order() -> None:
    """The first check can wait for the last, and is still reported first."""
    last_done = asyncio.Event()
    results = Results()

    async def first(report: CheckReport) -> None:
        await last_done.wait()
        report.ok("first", "done")

    async def last(report: CheckReport) -> None:
        report.ok("last", "done")
        last_done.set()

    await run_concurrently(results.report, first, last)
    assert [result.check for result in results.all] == ["first", "last"]


async def test_results_before_a_timeout_are_reported() -> None:
    """A check that hangs does not hide the results of the others."""
    results = Results()

    async def hanging(report: CheckReport) -> None:
        report.ok("hanging", "so far")
        await asyncio.Event().wait()

    async def done(report: CheckReport) -> None:
        report.ok("done", "all")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await run_concurrently(results.report, hanging, done)
    assert [result.check for result in results.all] == ["hanging", "done"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (2700, "45 min"), (7200, "2 h"), (40 * 86400, "40 days")],
)
def test_durations_have_a_suitable_unit(seconds: float, words: str) -> None:
    """The unit is the largest of which there are at least two."""
    assert duration_text(seconds) == words
