"""Findings are lines in a fixed order, whatever ends first."""

from __future__ import annotations

import asyncio

import pytest

from bridge.check.report import Finding, Report, Status, in_turn, span
from tests.check.findings import Findings


def test_a_line_says_status_check_finding_and_remedy() -> None:
    """Statuses are as wide as each other; a remedy follows as a sentence of its own."""
    assert str(Finding("Aries TCP", Status.OK, "reached")) == "ok    Aries TCP: reached"
    assert str(Finding("Clock", Status.WARN, "2 s behind", "Run NTP.")) == "warn  Clock: 2 s behind. Run NTP."


async def test_checks_run_together_and_are_told_in_their_order() -> None:
    """The first check can wait for the last, and is still told first."""
    last_done = asyncio.Event()
    findings = Findings()

    async def first(report: Report) -> int:
        await last_done.wait()
        report.ok("first", "done")
        return 1

    async def last(report: Report) -> int:
        report.ok("last", "done")
        last_done.set()
        return 2

    assert await in_turn(findings.report, first, last) == [1, 2]
    assert [finding.check for finding in findings.all] == ["first", "last"]


async def test_what_was_found_before_the_end_of_time_is_told() -> None:
    """A check that hangs hides nothing of the others."""
    findings = Findings()

    async def hanging(report: Report) -> None:
        report.ok("hanging", "so far")
        await asyncio.Event().wait()

    async def done(report: Report) -> None:
        report.ok("done", "all")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await in_turn(findings.report, hanging, done)
    assert [finding.check for finding in findings.all] == ["hanging", "done"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (2700, "45 min"), (7200, "2 h"), (40 * 86400, "40 days")],
)
def test_times_are_told_in_units_for_people(seconds: float, words: str) -> None:
    """Seconds, minutes, hours, days: the largest of which there are two."""
    assert span(seconds) == words
