"""``aries-bridge verify``: options and output; what it does is in ``bridge.verify``."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bridge.cli.options import BootstrapServers  # noqa: TC001 - typer reads annotations at run time
from bridge.cli.output import discard, while_output_is_open
from bridge.cli.terminal import ThrottledNotes, note, run_until_signal
from bridge.cli.times import Since, Until, time_range_us
from bridge.network import event_loop
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import MARKET_DATA
from bridge.verify.topic_reader import Selection
from bridge.verify.verification import Verification

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.verify.report import Report
    from bridge.verify.topic_reader import TopicReader
    from bridge.verify.violations import Violation


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
    since: Since = None,
    until: Until = None,
    session: Annotated[int | None, typer.Option(metavar="ID", help="Records of this session_id only.")] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Every repeat is a violation, also after a producer was replaced, and every late record of an owner "
            "whose lease had expired.",
        ),
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Continue with new records, and report at once, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="The report as a JSON object; with --follow each violation before it, on a line."),
    ] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Prove from the topics that no record is missing silently.

    Reads the data topics, control and dead letters, and proves of each symbol:
    seq without a hole, every jump explained by after_gap, the accounts or a
    dead letter; no record out of order; repeats only after a producer was
    replaced. Of each record: key, partition, timestamp. And that the accounts
    add up and match what the topics hold.

    Where processes hand shards to each other: that no owner published what it
    read after it had released the shard or another had claimed it, and that
    late are at most the records of one batch for each partition, of an owner
    whose lease had expired; these are counted.

    Memory grows with symbols and sessions, not with records. Exit code: 0 all
    proven, 1 a violation, 2 wrong settings.
    """
    settings = kafka_settings(bootstrap_servers)
    since_us, until_us = time_range_us(since, until)
    if follow and until is not None:
        raise typer.BadParameter("--follow goes on, --until ends: leave one out")
    verification = Verification(
        settings,
        Selection(tuple(topics or ()), since_us, session, strict, until_us),
        follow=follow,
        on_violation=_write_text if not as_json else _write_json if follow else lambda _: None,
        on_kafka_error=ThrottledNotes().add,
        on_caught_up=_note_following if follow else lambda _: None,
        progress=_progress,
    )
    try:
        event_loop.run(run_until_signal(while_output_is_open(verification.run())))
        report = verification.close()
        if report is None:
            note("interrupted before the end: nothing is proven.")
            raise typer.Exit(1)
        _write(json.dumps(report.to_json())) if as_json else _show(report)
    except BrokenPipeError:  # e.g. `| head`
        discard(sys.stdout, sys.stderr)
        raise typer.Exit(1) from None
    if not report.proven:
        raise typer.Exit(1)


def _write_text(violation: Violation) -> None:
    _write(str(violation))


def _write_json(violation: Violation) -> None:
    _write(json.dumps({"finding": violation.to_json()}))


def _show(report: Report) -> None:
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 120)
    with console.capture() as table:  # rich handles a closed pipe in its own way
        console.print(report.table())
    _write(table.get().rstrip("\n"))
    processes = f"{report.processes:,} process{'' if report.processes == 1 else 'es'}"
    _write(f"control: {report.control_records:,} records of {processes}; dlq: {report.dead_letters:,}")
    if report.handovers.released or report.handovers.expired:
        _write(f"hand-overs of shards: {report.handovers}")
    _write(report.verdict)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _note_following(report: Report) -> None:
    note(f"{report.records:,} records checked, following new records; Ctrl-C ends.")


@contextmanager
def _progress(reader: TopicReader) -> Iterator[None]:
    """Show a bar on standard error while the block lasts, on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("records"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("verifying", total=None)

        def show(count: int) -> None:
            progress.update(task, advance=count, total=progress.tasks[0].completed + count + reader.left)

        reader.on_progress = show
        yield
