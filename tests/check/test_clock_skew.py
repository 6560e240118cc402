"""The clock is compared with an HTTP Date header, which has whole seconds."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from bridge.check.clock_skew import check_clock
from bridge.check.report import Status
from tests.check.results import Results

NOW = 1_800_000_000.0


def checked(date: str | None, sent_at: float = NOW, received_at: float = NOW + 0.2) -> Results:
    results = Results()
    check_clock(results.report, date, sent_at, received_at)
    return results


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_rounding_is_tolerated(seconds: int) -> None:
    """A difference of up to a second may be due to whole seconds."""
    checked(formatdate(NOW + seconds, usegmt=True)).expect("Clock", Status.OK, "agrees")


@pytest.mark.parametrize(
    ("seconds", "status", "words"),
    [
        (-20, Status.WARN, "19 s ahead of"),
        (20, Status.WARN, "20 s behind"),
        (-300, Status.FAIL, "5 min ahead of"),
        (300, Status.FAIL, "5 min behind"),
    ],
)
def test_a_skewed_clock(seconds: int, status: Status, words: str) -> None:
    """More than a second is a warning, more than 30 seconds a failure."""
    checked(formatdate(NOW + seconds, usegmt=True)).expect("Clock", status, words, "NTP")


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_without_a_date_the_skew_is_unknown(date: str | None) -> None:
    """Without a valid header the result says that nothing was measured."""
    checked(date).expect("Clock", Status.OK, "not measured")
