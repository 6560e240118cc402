"""``aries-bridge redrive``: options and output; what it does is in ``bridge.redrive``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from bridge.cli.options import BootstrapServers  # noqa: TC001 - typer reads annotations at run time
from bridge.cli.output import discard, while_output_is_open
from bridge.cli.terminal import ThrottledNotes, note, run_until_signal
from bridge.cli.times import Since, time_range_us
from bridge.kafka.client_options import CapturedKafkaLog
from bridge.network import event_loop
from bridge.redrive.reprocessing import Result
from bridge.redrive.run import Redrive, Selection
from bridge.settings.kafka_side import routing_settings


def redrive(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would become of the dead letters: nothing is written.")
    ] = False,
    reason: Annotated[
        list[str] | None, typer.Option("--reason", help="Only letters with this reason; can be repeated.")
    ] = None,
    since: Since = None,
    max_letters: Annotated[
        int | None, typer.Option("--max", metavar="N", min=1, help="End after this many letters.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Consumer group whose position says where to go on. Default: <KAFKA_TOPIC_PREFIX>.redrive."),
    ] = None,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Publish dead letters that this version of the bridge can read.

    Each line of the dead-letter topic goes through the pipeline again, from
    the position of a consumer group up to the present end. What becomes a
    record is published with seq -1 and the headers aries.redrive and
    aries.dead-letter; what fails again is shown, and not dead-lettered again.

    Connects as the service does, with the KAFKA_* and SCHEMA_REGISTRY_*
    settings. ARIES_SYMBOLS, ARIES_EVENTS and ARIES_SUBSCRIPTIONS decide on
    the topics as in the bridge; without them a line goes to each data topic
    that has its fields.

    The position is committed when Kafka has acknowledged the records. After a
    kill, run it again: what comes twice has the same aries.dead-letter. A
    letter that failed, or was passed over, is behind the position: another
    --group reads all letters from the beginning. Run one at a time in a group.
    """
    settings, plan = routing_settings(bootstrap_servers)
    since_us, _ = time_range_us(since, None)
    selection = Selection(frozenset(reason or ()), since_us, max_letters)
    run = Redrive(settings, plan, selection, group or f"{settings.kafka_topic_prefix}.redrive", dry_run=dry_run)
    try:
        with CapturedKafkaLog(ThrottledNotes().add):
            done = event_loop.run(run_until_signal(while_output_is_open(run.run())))
        _show(run, dry_run=dry_run)
    except BrokenPipeError:  # e.g. `| head`
        discard(sys.stdout, sys.stderr)
        raise typer.Exit(1) from None
    if not done:
        note("interrupted: run it again to go on; the last records may come again, with the same aries.dead-letter.")
        raise typer.Exit(1)


def _show(run: Redrive, *, dry_run: bool) -> None:
    report = run.report
    if not report.letters:
        _write("No dead letters to redrive.")
    else:
        console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 120)
        console.print(report.table())
        for line in report.lines():
            _write(line)
        for examples in report.examples.values():
            for example in examples:
                _write(f"  {example}")
    if report.passed_over:
        _write(f"passed over, not selected: {report.passed_over:,}; another --group reads them again")
    counts = ", ".join(f"{report.total(result):,} {result}" for result in Result)
    _write(f"{'dry run: nothing was written' if dry_run else f'run {run.run_id}'}; letters: {counts}.")


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
