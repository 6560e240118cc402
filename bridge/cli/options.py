"""Options that several commands have."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from bridge.clock import wall_us

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

BootstrapServers = Annotated[
    str | None, typer.Option("--bootstrap-servers", "-b", help="Instead of KAFKA_BOOTSTRAP_SERVERS.")
]


def point_in_time_us(text: str | None) -> int | None:
    """Return a point of time in µs since the epoch; raise typer.BadParameter."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        return wall_us() - round(float(ago[1]) * _SECONDS[ago[2]] * 1e6)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither ISO-8601 nor a number followed by s, m, h or d") from None
    return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1e6)
