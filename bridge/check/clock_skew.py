"""How far this machine's clock is off, measured by the ``Date`` header of an HTTP response."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from bridge.check.report import duration_text

if TYPE_CHECKING:
    from bridge.check.report import CheckReport

CLOCK = "Clock"
WARN_SECONDS = 1.0
FAIL_SECONDS = 30.0
_HINT = (
    "Synchronize this machine's clock with NTP (chrony, systemd-timesyncd): it is used for the times in records, the "
    "ages in metrics and the expiry of tokens."
)


def check_clock(report: CheckReport, date: str | None, sent_at: float, received_at: float) -> None:
    """Report the smallest difference of the clocks that explains the header; times are seconds since the epoch.

    The header has whole seconds (RFC 9110 section 5.6.7), and was written between request and response.
    """
    server_time = _parse(date)
    if server_time is None:
        report.ok(CLOCK, "not measured: no response of Aries with a Date header")
        return
    ahead, behind = sent_at - (server_time + 1), server_time - received_at
    off = max(ahead, behind)
    finding = f"{duration_text(off)} {'ahead of' if ahead > behind else 'behind'} that of Aries"
    if off > FAIL_SECONDS:
        report.fail(CLOCK, finding, _HINT)
    elif off > WARN_SECONDS:
        report.warn(CLOCK, finding, _HINT)
    else:
        report.ok(CLOCK, f"agrees with that of Aries within {received_at - sent_at + 1:.1f} s")


def _parse(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date or "").replace(tzinfo=UTC).timestamp()  # HTTP dates are in UTC
    except (ValueError, OverflowError):
        return None
