"""The clock is compared with an HTTP Date, which has whole seconds."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from bridge.check import clock
from bridge.check.report import Status
from tests.check.findings import Findings

NOW = 1_800_000_000.0


def judged(date: str | None, asked_at: float = NOW, answered_at: float = NOW + 0.2) -> Findings:
    findings = Findings()
    clock.judge(findings.report, date, asked_at, answered_at)
    return findings


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_what_whole_seconds_may_explain_is_right(seconds: int) -> None:
    """A second more or less may be the header's rounding."""
    judged(formatdate(NOW + seconds, usegmt=True)).must("Clock", Status.OK, "agrees")


@pytest.mark.parametrize(
    ("seconds", "status", "words"),
    [
        (-20, Status.WARN, "19 s ahead of"),
        (20, Status.WARN, "20 s behind"),
        (-300, Status.FAIL, "5 min ahead of"),
        (300, Status.FAIL, "5 min behind"),
    ],
)
def test_a_clock_that_is_off(seconds: int, status: Status, words: str) -> None:
    """More than a second is a warning, more than half a minute a failure; the remedy is NTP."""
    judged(formatdate(NOW + seconds, usegmt=True)).must("Clock", status, words, "NTP")


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_without_a_date_nothing_is_measured(date: str | None) -> None:
    """A server that tells no time leaves the question open, and says so."""
    judged(date).must("Clock", Status.OK, "not measured")
