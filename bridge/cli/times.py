"""Points of time on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

import typer

from bridge.clock import wall_us

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])(?: ago)?")
_UNIT_US: Final = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
#: Shorter numbers may be dates, like 20260131.
_EPOCH: Final = re.compile(r"\d{9,}(?:\.\d+)?")
#: Numbers below these are seconds, milliseconds, or microseconds since 1970: each until the year 5138.
_EPOCH_UNITS: Final = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
_FORMS: Final = "like 2026-01-31T14:30:00-05:00, 1769887800 (since 1970), or 90s, 15m, 2h, 1d (ago)"

Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help=f"Records from then on, by Kafka's timestamp: {_FORMS}.")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Records before then, and end: a time as for --since.")
]


def time_range_us(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Return both points of time in µs since 1970; raise typer.BadParameter, also if nothing is between them."""
    now_us = wall_us()
    since_us, until_us = _point_us("--since", since, now_us), _point_us("--until", until, now_us)
    if since_us is not None and until_us is not None and until_us <= since_us:
        raise typer.BadParameter(f"--until {until} is not after --since {since}")
    return since_us, until_us


def utc_text(time_us: int) -> str:
    """Return a point of time for a message."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _point_us(option: str, text: str | None, now_us: int) -> int | None:
    if text is None:
        return None
    point_us = _parse_us(text, now_us)
    if point_us is None:
        raise typer.BadParameter(f"{option} {text!r} is not a time {_FORMS}")
    if point_us < 0:
        raise typer.BadParameter(f"{option} {text!r} is before 1970")
    return point_us


def _parse_us(text: str, now_us: int) -> int | None:
    """Return a point of time; None if the text is none."""
    if ago := _AGO.fullmatch(text):
        return now_us - round(float(ago[1]) * _UNIT_US[ago[2]])
    if _EPOCH.fullmatch(text):
        return next((round(Decimal(text) * unit) for below, unit in _EPOCH_UNITS if Decimal(text) < below), None)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    try:
        return round(moment.timestamp() * 1e6)
    except (ValueError, OverflowError):  # the first day of the years of datetime, elsewhere
        return None
