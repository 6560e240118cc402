"""Is this machine's clock right, as far as an HTTP answer tells."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from bridge.check.report import span

if TYPE_CHECKING:
    from bridge.check.report import Report

CHECK = "Clock"
WARN_SECONDS = 1.0
FAIL_SECONDS = 30.0
_REMEDY = (
    "Let NTP (chrony, systemd-timesyncd) set this machine's clock: the times in records, the ages in metrics and the "
    "lives of tokens are told by it."
)


def judge(report: Report, date: str | None, asked_at: float, answered_at: float) -> None:
    """Report by how much our clock is off at least, seconds since the epoch, given an answer's ``Date`` header.

    The header has whole seconds (RFC 9110 section 5.6.7), and was written some time between request and answer.
    """
    told = _seconds(date)
    if told is None:
        unknown(report, "Aries told no time in its answer")
        return
    ahead, behind = asked_at - (told + 1), told - answered_at
    off = max(ahead, behind)
    said = f"{span(off)} {'ahead of' if ahead > behind else 'behind'} that of Aries"
    if off > FAIL_SECONDS:
        report.fail(CHECK, said, _REMEDY)
    elif off > WARN_SECONDS:
        report.warn(CHECK, said, _REMEDY)
    else:
        report.ok(CHECK, f"agrees with that of Aries, as far as can be told ({answered_at - asked_at + 1:.1f} s)")


def unknown(report: Report, why: str) -> None:
    """Report that the clock could not be compared with another."""
    report.ok(CHECK, f"not measured: {why}")


def _seconds(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date or "").replace(tzinfo=UTC).timestamp()  # HTTP has no other zone
    except (ValueError, OverflowError):
        return None
