"""What flows as a live table that has the terminal to itself, so that it may be resized at any time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.layout import Layout
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bridge.dev.glance import printable
from bridge.dev.ledger import equation
from bridge.dev.plain import age

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import ConsoleOptions, RenderResult

    from bridge.dev.log_lines import LogLines
    from bridge.dev.snapshot import Aries, Kafka, Row, Snapshot

#: Where the time of day stands in a log line for people; the day is known.
_DATE = re.compile(r"^((?:\x1b\[[\d;]*m)*)\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\.\d+Z")
_STATES: Final = {"streaming": "bold green", "waiting": "bold red"}


class LiveView:
    """Draw the screen anew twice a second."""

    interval_seconds: Final = 0.5

    def __init__(self, console: Console, log_lines: LogLines) -> None:
        self._log_lines = log_lines
        # Redrawn by nobody but `show`; and what is logged must not be drawn over the table.
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> None:
        self._log_lines.hold()
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        self._live.console.line()  # behind the terminal's own ^C
        self._log_lines.release()

    def show(self, snapshot: Snapshot) -> None:
        """Draw the screen; raises OSError where the terminal is gone."""
        self._live.update(screen(snapshot, self._log_lines.lines), refresh=True)


def screen(snapshot: Snapshot, log_lines: tuple[str, ...]) -> Layout:
    """Return the whole screen: connections, topics, accounts, and the newest log lines in what room is left."""
    head = list(_head(snapshot))
    whole = Layout()
    whole.split_column(
        Layout(Group(*head), size=len(head)),
        Layout(_topics(snapshot.rows), size=len(snapshot.rows) + 2),
        Layout(_Accounts(snapshot), size=3),
        Layout(_Log(log_lines)),
    )
    return whole


def _head(snapshot: Snapshot) -> Iterator[Text]:
    limit = "" if snapshot.limit_seconds is None else f" of {_clock(snapshot.limit_seconds)}"
    time = f"{_clock(snapshot.elapsed_seconds)}{limit}"
    page = "" if snapshot.page is None else f"  {snapshot.page}"
    yield _line(("aries-bridge dev  ", "bold"), (time, ""), (page, ""), ("  Ctrl-C drains and ends", "dim"))
    yield from _aries(snapshot.aries)
    yield from _kafka(snapshot.kafka)


def _aries(aries: Aries) -> Iterator[Text]:
    who = "" if aries.sent_lines is None else "simulator "
    session = "no session yet" if aries.session_id is None else f"session {aries.session_id}"
    yield _line(("Aries  ", "bold"), (aries.state, _STATES.get(aries.state, "yellow")), (f"  {who}{aries.url}", ""))
    yield _line((f"       {aries.dialect} dialect, {session}", "dim"))
    if aries.last_loss is not None:
        lost = f"       lost {aries.reconnects}x, lately by {printable(aries.last_loss)}"
        yield _line((lost, "yellow"))


def _kafka(kafka: Kafka) -> Iterator[Text]:
    who = "embedded broker " if kafka.embedded else ""
    state = ("connected", "bold green") if kafka.connected else ("not connected", "bold red")
    yield _line(("Kafka  ", "bold"), state, (f"  {who}{kafka.servers}", ""))
    if kafka.problem is not None:
        yield _line((f"       {printable(kafka.problem)}", "red"))
    else:
        yield _line((f"       look closer: aries-bridge tail -b {kafka.servers}", "dim"))


def _line(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes}:{second:02}"


def _topics(rows: tuple[Row, ...]) -> Table:
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), header_style="dim", title=None)
    table.add_column("topic", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("per s", justify="right", no_wrap=True)
    table.add_column("newest, as read back from Kafka", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("age", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> tuple[Text, ...]:
    if row.total is None:
        return tuple(Text(text, style="dim") for text in (row.topic, "-", "", "", ""))
    when = age(row.age_seconds) if row.newest else ""
    return (
        Text(row.topic, style="bold cyan"),
        Text(f"{row.total:,}"),
        Text(f"{row.per_second:,.0f}" if row.per_second >= 1 or not row.per_second else f"{row.per_second:.1f}"),
        Text(row.newest),
        Text(when, style="dim"),
    )


class _Accounts:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        good = "adds up" if options.ascii_only else "✓ adds up"
        verdict = (good, "bold green") if self._snapshot.balanced else ("DOES NOT ADD UP", "bold red")
        sent = self._snapshot.aries.sent_lines
        said = "" if sent is None else f"; the simulator sent {sent:,}"
        yield Text.assemble(equation(self._snapshot.totals), "  ", verdict, (said, "dim"))


class _Log:
    """Show the last lines that fit, whole."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.height or console.height
        text = Text("\n").join(Text.from_ansi(_DATE.sub(r"\1\2", line)) for line in self._lines[-room:])
        rendered = console.render_lines(text, options.update(height=None), pad=False)
        for line in rendered[-room:]:
            yield from line
            yield Text("")
