"""``aries-bridge verify``: what consumers are promised, proven from the topics."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bridge.cli.terminal import ThrottledNotes, discard_output, note, run_until_signal
from bridge.clock import wall_us
from bridge.errors import KafkaUnreachable
from bridge.kafka.client_options import CapturedKafkaLog
from bridge.kafka.consumer import open_consumer, open_deserializer
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import MARKET_DATA
from bridge.verify.reading import PARTITION_FETCH_BYTES, Reading, Selection
from bridge.verify.report import MOST_SHOWN, Report, report, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.settings import Settings
    from bridge.verify.checker import Checker
    from bridge.verify.findings import Finding

    Tell = Callable[[Finding], None]

#: How long ``--follow`` waits before it looks for more.
FOLLOW_SECONDS: Final = 1.0
_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Verification:
    """One run of the command: what it found stays here, also when it is interrupted."""

    def __init__(self, settings: Settings, selection: Selection, *, follow: bool, tell: Tell) -> None:
        self.checker: Checker | None = None
        self._settings = settings
        self._selection = selection
        self._follow = follow
        self._tell = tell
        self._amid_round = True

    async def run(self) -> None:
        """Check what is there, and what comes if that is to be followed; until cancelled then."""
        async with (
            open_deserializer(self._settings) as decoder,
            open_consumer(self._settings, "verify", partition_fetch_bytes=PARTITION_FETCH_BYTES) as consumer,
        ):
            reading = Reading(self._settings, self._selection, consumer, decoder)
            notes = ThrottledNotes()
            with CapturedKafkaLog(notes.add):
                await reading.prepare()
                with _progress(reading):
                    await self._round(reading)
                if self._follow:
                    note(f"{report(reading.checker).records:,} records checked, going on with what comes; Ctrl-C ends.")
                while self._follow:
                    await asyncio.sleep(FOLLOW_SECONDS)
                    try:
                        await self._round(reading)
                    except KafkaUnreachable as error:
                        notes.add(str(error))

    def close(self) -> Report | None:
        """Judge as final what waits for more; return the report, or None where the first round was not done."""
        if self.checker is None:
            return None
        if self._follow and not self._amid_round:  # amid a round it is half known what explains what
            self.checker.settle(wall_us())
            self._tell_new(self.checker)
        return report(self.checker)

    async def _round(self, reading: Reading) -> None:
        began_us = wall_us()
        self._amid_round = True
        await reading.round()
        reading.checker.settle(began_us, final=not self._follow)
        self._amid_round = False
        self.checker = reading.checker
        self._tell_new(reading.checker)

    def _tell_new(self, checker: Checker) -> None:
        for finding in checker.findings.take_new():
            self._tell(finding)


def verify(
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOPIC",
            help=f"Short names ({', '.join(MARKET_DATA)}) or full ones. Default: all of these that exist.",
            show_default=False,
        ),
    ] = None,
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Records from then on: 2026-01-31T14:30:00Z, or 90s, 15m, 2h, 1d ago."),
    ] = None,
    session: Annotated[int | None, typer.Option(metavar="ID", help="Records of this session_id only.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Any repeat is a finding, also where a rebuilt producer explains it.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, and tell findings at once, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="The report as one JSON object; with --follow before it each finding on a line."),
    ] = False,
    bootstrap_servers: Annotated[
        str | None, typer.Option("--bootstrap-servers", "-b", help="Instead of KAFKA_BOOTSTRAP_SERVERS.")
    ] = None,
) -> None:
    """Prove from the topics that nothing is missing in silence.

    Reads the data topics with control and dead letters beside them, and proves
    of each symbol: seq without a hole, every jump explained by after_gap, the
    accounts or a dead letter; no record overtaken; none repeated but by a
    rebuilt producer. And of each record: key, partition, timestamp; and that
    the accounts add up and fit what the topics hold.

    Memory grows with symbols and sessions, not with records. Exit code: 0 all
    proven, 1 a finding, 2 wrong settings.
    """
    settings = kafka_settings(bootstrap_servers)
    selection = Selection(tuple(topics or ()), _since_us(since), session, strict)
    tell = _tell_json if as_json and follow else _tell_nothing if as_json else _Teller()
    verification = Verification(settings, selection, follow=follow, tell=tell)
    try:
        asyncio.run(run_until_signal(verification.run()))
        found = verification.close()
        if found is None:
            note("interrupted before the end: nothing is proven.")
            raise typer.Exit(1)
        _show(found, as_json=as_json)
    except BrokenPipeError:  # `| head` has seen enough
        discard_output()
        raise typer.Exit(1) from None
    if not found.proven:
        raise typer.Exit(1)


def _since_us(text: str | None) -> int | None:
    """Return a point of time in µs since the epoch; raise typer.BadParameter."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return wall_us() - round(float(ago[1]) * _SECONDS[ago[2]] * 1e6)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither ISO-8601 nor a number with s, m, h or d behind it") from None
    return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1e6)


# -- the terminal -------------------------------------------------------------------------------------------------


class _Teller:
    """Write findings for people: the first of them."""

    def __init__(self) -> None:
        self._told = 0

    def __call__(self, finding: Finding) -> None:
        self._told += 1
        if self._told <= MOST_SHOWN:
            _write(str(finding))
        elif self._told == MOST_SHOWN + 1:
            _write("… more are counted below; --json has up to 100 of each kind and topic.")


def _tell_json(finding: Finding) -> None:
    _write(json.dumps({"finding": finding.to_json()}))


def _tell_nothing(finding: Finding) -> None:
    """Leave it to the report."""


def _show(found: Report, *, as_json: bool) -> None:
    if as_json:
        _write(json.dumps(found.to_json()))
        return
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table(found))
    _write(f"control: {found.control_records:,} records of {found.processes:,} processes; dlq: {found.dead_letters:,}")
    _write(found.verdict)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextmanager
def _progress(reading: Reading) -> Iterator[None]:
    """Show a bar on standard error while the block lasts, on a terminal only."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("records"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("verifying", total=None)

        def show(count: int) -> None:
            progress.update(task, advance=count, total=progress.tasks[0].completed + count + reading.left)

        reading.on_progress = show
        yield
