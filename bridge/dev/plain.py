"""What flows as plain lines, for logs and for terminals that are none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from bridge.dev.glance import printable
from bridge.dev.ledger import equation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.dev.snapshot import Aries, Kafka, Row, Snapshot

_MINUTE_SECONDS, _HOUR_SECONDS = 60, 3600


class PlainView:
    """Print a block of lines each second."""

    interval_seconds: Final = 1.0

    def __init__(self) -> None:
        self._page: str | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, snapshot: Snapshot) -> None:
        """Print the block; raises OSError where standard output is gone."""
        lines = [*block(snapshot)]
        if self._page is None and snapshot.page is not None:
            self._page = snapshot.page
            lines.insert(1, f"   Status page: {self._page}")
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


def block(snapshot: Snapshot) -> Iterator[str]:
    """Yield the lines of one moment."""
    yield f"-- {snapshot.elapsed_seconds:.1f} s  {aries(snapshot.aries)}; {kafka(snapshot.kafka)}"
    if all(row.total is None for row in snapshot.rows):
        yield f"   To look closer, in another terminal: aries-bridge tail -b {snapshot.kafka.servers}"
        return
    width = max(len(row.name) for row in snapshot.rows)
    for row in snapshot.rows:
        yield f"   {row.name:<{width}}  {_row(row)}".rstrip()
    yield f"   {equation(snapshot.totals)} {'(adds up)' if snapshot.balanced else '(DOES NOT ADD UP)'}"


def aries(state: Aries) -> str:
    """Return the connection to the feed in words."""
    who = "Aries" if state.sent_lines is None else "simulator"
    session = "" if state.session_id is None else f", session {state.session_id}"
    losses = f", {state.reconnects} lost (last: {printable(state.last_loss or '')})" if state.reconnects else ""
    return f"{state.state}: {who} {state.url}, {state.dialect} dialect{session}{losses}"


def kafka(state: Kafka) -> str:
    """Return the connection to Kafka in words."""
    who = "embedded broker" if state.embedded else "Kafka"
    connected = "" if state.connected else " (not connected)"
    problem = f" ({printable(state.problem)})" if state.problem else ""
    return f"{who} {state.servers}{connected}{problem}"


def age(seconds: float) -> str:
    """Return how long ago something was, in a few characters."""
    if seconds < _MINUTE_SECONDS:
        return f"{seconds:.1f} s"
    if seconds < _HOUR_SECONDS:
        return f"{seconds / _MINUTE_SECONDS:.0f} min"
    return f"{seconds / _HOUR_SECONDS:.0f} h"


def _row(row: Row) -> str:
    if row.total is None:
        return f"{'-':>10}"
    newest = f"  {row.newest} ({age(row.age_seconds)} ago)" if row.newest else ""
    return f"{row.total:>10,}  {row.per_second:>8,.1f}/s{newest}"
